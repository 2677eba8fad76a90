// Package run makes measurements, each in a process of its own. Its one job is that no run sees
// what another left behind: not its heap, its files or its threads.
//
// # Contract
//
// Child is the whole life of the process that measures. It reads a Job, writes an Outcome, and
// ends, also when its parent has: the job's pipe stays open for as long as the parent lives. Start
// is the parent's side. The directory of a run is gone when either has returned.
package run
