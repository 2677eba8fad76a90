// Package sim is the deterministic simulator: the real replicas, down to the socket and the disk,
// in virtual time, with a network that loses, repeats and reorders, disks that forget what was not
// synced, crashes, partitions, and at most f liars. An omniscient observer checks the invariants
// of docs/TESTING.md all the while. One seed is one run, bit for bit.
//
// Thread rule: a World has one owner; worlds do not share anything.
package sim
