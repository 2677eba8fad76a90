// Package contestant has the replicated stores that are compared, each as its users run it. Its one
// job is to start all nodes of one in this process, on loopback and on a real disk, and to hand out
// a load.Store that talks to them.
//
// # Contract
//
// Every contestant makes an operation durable on a quorum before it acknowledges it: what decides
// on that is set in this package and not left to a default. Close stops all that Start started.
// Sound says whether every node that should be alive is, and has executed the same.
package contestant
