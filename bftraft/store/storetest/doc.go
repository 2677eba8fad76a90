// Package storetest is the suite that every store passes, on disk or in memory: what was saved is
// read back, a crash leaves some moment between the last synced Save and the last Save, and a
// store that lost or changed anything refuses to let its node sign.
//
// A store stands on a Disk, on which a test opens it, lets it crash, and does damage. Every random
// test prints its seed; STORE_SEED=n repeats it.
package storetest
