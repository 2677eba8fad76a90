// Package chaos is what tests need to trouble real processes and to judge them afterwards: a TCP
// proxy for every ordered pair of nodes, with weather that can be changed while it runs (Net); a
// plan of faults that a seed decides (NewPlan); and an oracle that replays the certified log of a
// data directory without asking the node (Replay).
//
// It starts no process: tests/processes has them, and drives all this. A Net may be used by any
// number of goroutines, and ends all of its own at Close. Everything else only computes.
package chaos
