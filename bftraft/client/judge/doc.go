// Package judge turns what nodes say into what a client may believe. Its one job is the arithmetic
// of docs/PROTOCOL.md, C2 and C3, apart from connections and time, so that the client library and
// the simulator judge by the same code.
//
// # Contract
//
// Replies and Reads verify what one node says, each statement once. A Tally settles what came of a
// request when f+1 voters have said the same; a Question does so for a read that writes nothing to
// the log. A Receipt hands on what was settled to others, who need nothing but the genesis.
//
// # Threads
//
// All are plain values of one owner: no clock, no goroutine, no lock. What one node says is judged
// apart from what others say, so that several goroutines can verify at once.
package judge
