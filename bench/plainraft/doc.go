// Package plainraft is Raft as it is without liars in mind, in the same shoes as ours: the raft
// library of etcd over our p2p, with our journal and our settings of Badger, driving our key-value
// store, under a client that bundles like ours. Its one job is to be what the price of tolerating
// liars is measured against, so it does whatever makes it fast and is right without liars: nothing
// is signed or hashed, and a leader sends its entries before its own disk has them.
//
// # Contract
//
// An operation is answered once a majority has it on disk. A node keeps its log in memory too, and
// is not made to start again from its disk. An operation whose answer was lost may be executed
// twice: there are no sessions.
//
// # Threads
//
// One goroutine owns a Node. A Client may be used by any number of goroutines.
package plainraft
