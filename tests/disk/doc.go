// Package disk holds the simulator's virtual disk to the real one: one seeded history of Saves,
// crashes, reopenings and damage is applied to store.Memory and to Badger, and whatever Badger
// shows must be something that Memory can show, and the other way round where it is one state
// only. What the simulator proves about crashes is worth no more than that.
//
// By default a few seeds run; a flag makes it many, another says where they begin:
//
//	go test ./tests/disk -args -seeds=500 -first=1
//
// Disks that fail under a whole node are in package processes.
package disk
