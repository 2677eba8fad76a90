// Package processes tests the commands as an operator meets them: real processes on loopback
// sockets and real disks, which are stopped, killed, frozen, robbed of their disk, made to lie,
// and bothered by strangers. What is promised for one faulty node of four must hold, and what a
// client was told must stay true.
//
// The commands are built once per run. Everything that was started is ended, and everything that
// was written is removed, also when a test fails. By default the tests are a short slice; flags
// make them long (see docs/TESTING.md):
//
//	go test ./tests/processes -args -duration=60s -freeze=60s -idle=60s
//
// A test and the cluster it has made have one owner; the goroutines of writers share nothing with
// it but what their mutex guards. The tests need Linux: they read /proc and mount file systems.
package processes
