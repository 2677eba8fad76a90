package sim

import "fmt"

// Options are what a seed expands to. Each class of faults is on in half of the seeds, then its
// strength is drawn: leaving faults out finds more than always having them all.
type Options struct {
	Seed     uint64
	Nodes    int
	Clients  int
	Keys     int
	RealKeys bool // Ed25519 instead of the fake scheme

	DropPermille int // messages lost
	CopyPermille int // messages delivered again later
	MaxDelay     int // milliseconds; each message takes 1 to MaxDelay, some ten times that
	TailPermille int // messages that take up to ten times MaxDelay

	CrashEvery     int // mean milliseconds between crashes, 0 for none
	PartitionEvery int // likewise
	StallEvery     int // likewise: a node's process stands still, then gets all at once
	// LockdownPermille is how often, when a node is the first to lock a position, all that is
	// under way is lost and the node is cut off for a while: it alone knows of the certificate.
	LockdownPermille int
	Liar             string

	Chaos int // milliseconds of faults
	Calm  int // milliseconds after the network has healed; the liar goes on lying
}

// Expand draws the options of a seed.
func Expand(seed uint64) Options {
	r := newStream(seed, "options")
	o := Options{
		Seed: seed, Nodes: 4, Clients: r.between(1, 4), Keys: r.between(1, 4),
		RealKeys: r.chance(50), MaxDelay: r.between(2, 40), Chaos: r.between(4, 20) * 1000,
		Calm: 60_000,
	}
	switch {
	case r.chance(60):
		o.Nodes = 7
	case r.chance(60):
		o.Nodes = r.between(5, 6)
	}
	if r.chance(500) {
		o.DropPermille = r.between(1, 250)
	}
	if r.chance(500) {
		o.CopyPermille = r.between(1, 300)
	}
	if r.chance(500) {
		o.TailPermille = r.between(1, 100)
	}
	if r.chance(500) {
		o.CrashEvery = r.between(300, 5000)
	}
	if r.chance(500) {
		o.PartitionEvery = r.between(300, 5000)
	}
	if r.chance(300) {
		o.StallEvery = r.between(500, 5000)
	}
	if r.chance(400) {
		o.LockdownPermille = r.between(5, 100)
	}
	if r.chance(700) {
		o.Liar = liarNames[r.below(len(liarNames))]
	}
	if o.Liar == "amnesiac" {
		o.CrashEvery = r.between(300, 2000)
	}
	return o
}

// String prints the options so that a failure can be read without the code.
func (o Options) String() string {
	type plain Options // without this method
	return fmt.Sprintf("%+v", plain(o))
}
