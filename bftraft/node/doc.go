// Package node runs one member of the cluster: it gives a replica.Replica goroutines, a clock, a
// network, metrics and a status page. Other programs embed it with a state machine of their own;
// see the example.
//
// # Contract
//
// Bytes from other nodes and clients are verified off the goroutine that owns the replica, and
// reach it verified or not at all. Frames of one class from one peer stay in order. Every queue is
// bounded; what does not fit is dropped and counted, because the protocol sends again. After a
// storage failure the node signs nothing more and Run says why. Run returns nil once its context
// has ended; a leader then hands over first, if it can do so within Config.Grace.
//
// # Members
//
// Changes decide who is a member, and a node follows them as they are committed: with whom it is
// linked, whom it listens to, which clients it admits, and what it counts. What it is told of them
// at its start only has to lead to its own joining; it learns the rest. A node that was taken out
// stops once the others have gone on without it; Run then returns a LeftError.
//
// # Processors
//
// A goroutine that waits for the disk keeps what the Go runtime calls a processor until the runtime
// takes it away, and nodes wait for the disk much of the time. A program should have more of them
// than the machine has: see TuneProcess.
//
// # Threads
//
// One goroutine, in Run, owns the replica and with it storage and state machine. Each (peer,
// class) has a goroutine that verifies, and a few more verify for all clients together. They pass
// what they verified on by channels. All methods of Node may be called from any goroutine.
package node
