// Package replica is one member of the cluster less its threads, clock, disk and socket: it does
// what a Core's Ready asks for in the one right order (persist, send, apply), executes requests at
// most once each, answers clients, and keeps an eye on the leader on the clients' behalf (E5).
//
// Contract: deterministic. The same calls in the same order do the same. After the first storage
// failure nothing more is signed, sent or applied, and Flush says why for ever.
//
// Thread rule: one goroutine owns a Replica.
package replica
