// Command bench compares this store with others that people use, side by side in one run, and says
// what tolerating liars costs. Its one job is to be fair: each contestant runs as its users run it,
// durably, with all nodes and the client in one process of its own, under the same load.
//
// # Contract
//
// "go run ." compares everything, "--quick" the heart of it, and flags compare what they say. A run
// in which an operation failed, a node fell over, nodes disagree or durability was off is void: it
// is named and its figures are not. An interrupt leaves neither process nor file behind.
package main
