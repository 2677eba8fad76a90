// Package plan says what is compared with what. Its one job is to name workloads, and to put runs
// in an order in which drift of the machine cancels: of each workload all contestants one after
// the other, as often as there are rounds.
package plan
