// Package client lets a program use a cluster without trusting any single node of it. Its one job
// is to turn signed answers into results that f+1 voters vouch for, so that at least one honest
// node does.
//
// # Contract
//
// A write is accepted once f+1 voters signed the same reply about its block and the block's
// results tree leads to its result (C2). Together these make a Receipt, which others
// can check with nothing but the genesis. A linearizable read writes nothing to the log (C3). A
// node whose answer differs from the accepted one is counted and reported, and has no influence.
//
// Operations are executed at most once and in the order in which they were submitted. Those that
// wait while the window of requests is full travel together under one signature. What was sent is
// repeated until it is answered: first to the leader, then to all. When a caller gives up on an
// operation that was sent, its outcome is unknown and the error says so; sending it again under
// its RequestID is safe.
//
// The nodes that a client talks to are those that are members now (J1): it follows each change,
// which proves itself, with new links and without those to nodes that are gone. Who has the genesis
// of long ago needs one honest member that it can find.
//
// The package does not know the state machine: operations, queries and results are bytes.
//
// # Threads
//
// What is believed is decided in package judge, without clock and goroutine. A Client may be used
// by any number of goroutines. It has one goroutine of its own, which signs and sends, and those of
// its link, which verify and count. Close ends them all.
package client
