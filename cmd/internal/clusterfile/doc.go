// Package clusterfile reads and writes the files that people keep about a cluster: the genesis
// (JSON), which says who is in it, and the settings of one node or client (YAML).
//
// # Contract
//
// Reading is strict: a field that nobody knows is refused by name, because a misspelt setting that
// is silently ignored is worse than none. Only what bftraft.Genesis has is hashed into the
// cluster's id; addresses are hints that may differ from machine to machine. Relative paths in a
// file are relative to the folder of that file, so that a folder can be moved as a whole. Files
// are written as a whole or not at all, and nothing is ever written over.
//
// # Threads
//
// The functions share no state.
package clusterfile
