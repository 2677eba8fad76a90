package sim

import (
	"encoding/json"
	"fmt"

	"tangaroa/quorumcert"
)

// Options are what a seed expands to, besides its faults. Each class of faults is on in some of
// the seeds only, then its strength is drawn: leaving faults out finds more than always having
// them all.
type Options struct {
	Seed     uint64
	Nodes    int
	Clients  int
	Keys     int
	RealKeys bool `json:",omitempty"` // Ed25519 instead of the fake scheme

	DropPermille int `json:",omitempty"` // messages lost
	CopyPermille int `json:",omitempty"` // messages delivered again later
	MaxDelay     int // milliseconds; each message takes 1 to MaxDelay, some ten times that
	TailPermille int `json:",omitempty"` // messages that take up to a hundred times MaxDelay
	SlowDisk     int `json:",omitempty"` // milliseconds that each flush takes at one node

	// Checkpoints is the number of entries from one checkpoint to the next, Keep how many before
	// the newest one stay in the log, and ChunkBytes the size of a chunk.
	Checkpoints int `json:",omitempty"`
	Keep        int `json:",omitempty"`
	ChunkBytes  int `json:",omitempty"`

	// Changes is the mean number of milliseconds between two changes of who may do what, and Late how
	// many clients there are besides Clients that are not enrolled in the beginning.
	Changes int `json:",omitempty"`
	Late    int `json:",omitempty"`

	// Moves is the mean number of milliseconds between two changes of the members, and Spare how many
	// nodes there are that may join.
	Moves int `json:",omitempty"`
	Spare int `json:",omitempty"`
	// Heir is the mean number of milliseconds between two forgeries of who has the keys of the nodes
	// that were taken out.
	Heir int `json:",omitempty"`

	// Drift is by how many permille the clock of each node is off, by position.
	Drift []int `json:",omitempty"`
	// Liars are the faulty voters. There are at most f, but for runs that show that more break
	// the cluster.
	Liars []Liar `json:",omitempty"`
	// Rogues are the dishonest clients, each with a key of its own.
	Rogues []string `json:",omitempty"`
	// Weights are how many faults of each class there are, as a mean number of milliseconds
	// between two of them.
	Weights map[Kind]int `json:",omitempty"`

	Chaos   int  // milliseconds of faults
	Calm    int  // milliseconds after the network has healed; the liars go on lying
	Again   bool `json:",omitempty"` // in the end all nodes are restarted and must serve again
	Settled int  `json:",omitempty"` // milliseconds to watch on after all is at rest
}

// Liar is a faulty voter: where it stands in the configuration, and what it does, in order.
type Liar struct {
	Node    int // from 1
	Attacks []string
}

// Expand draws the options of a seed.
func Expand(seed uint64) Options {
	r := newStream(seed, "options")
	o := Options{
		Seed: seed, Nodes: 4, Clients: r.between(1, 4), Keys: r.between(1, 4),
		RealKeys: r.chance(50), MaxDelay: r.between(2, 40), Chaos: r.between(4, 16) * 1000,
		Calm: 60_000, Again: r.chance(500), Weights: make(map[Kind]int),
	}
	switch {
	case r.chance(100):
		o.Nodes = 7
	case r.chance(80):
		o.Nodes = r.between(5, 6)
	case r.chance(50):
		o.Nodes = r.between(8, 10)
	}
	if r.chance(50) {
		o.Clients = r.between(5, 12)
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
	if r.chance(100) {
		o.SlowDisk = r.between(5, 1500)
	}
	if r.chance(300) {
		for range o.Nodes {
			o.Drift = append(o.Drift, r.between(-100, 100))
		}
	}
	if r.chance(100) {
		o.Settled = 60_000
	}
	o.drawFaults(r)
	o.drawLiars(r)
	o.drawRogues(r)
	if r := newStream(seed, "checkpoints"); r.chance(400) {
		o.drawCheckpoints(r)
	}
	if r := newStream(seed, "changes"); r.chance(300) {
		o.drawChanges(r)
	}
	if r := newStream(seed, "members"); r.chance(300) {
		o.drawMembers(r)
		if r := newStream(seed, "lying members"); r.chance(700) {
			o.drawLyingMembers(r)
		}
		if r := newStream(seed, "heir"); r.chance(700) {
			o.drawHeir(r)
		}
	}
	return o
}

// drawCheckpoints decides how often checkpoints are taken and how much log stays: in some seeds
// all, in some so little that whoever is away for a second or two finds it gone.
func (o *Options) drawCheckpoints(r *stream) {
	o.Checkpoints, o.Keep, o.ChunkBytes = r.between(5, 60), 1<<30, 1<<r.between(5, 12)
	if r.chance(250) {
		return
	}
	o.Keep = r.below(60)
	if r.chance(600) {
		o.Checkpoints, o.Keep, o.ChunkBytes = r.between(2, 12), r.below(8), 1<<r.between(7, 12)
	}
	if len(o.Liars) > 0 && r.chance(400) {
		l := &o.Liars[r.below(len(o.Liars))]
		l.Attacks = append(l.Attacks, drawVariant(r, poison))
	}
	if r := newStream(o.Seed, "false checkpoints"); len(o.Liars) > 0 && r.chance(300) {
		l := &o.Liars[r.below(len(o.Liars))]
		l.Attacks = append(l.Attacks, falseState)
	}
}

// drawFaults decides which classes of faults there are, and how many of each.
func (o *Options) drawFaults(r *stream) {
	for _, c := range classes {
		if r.chance(c.permille) {
			o.Weights[c.kind] = r.between(c.least, c.most)
		}
	}
}

func (o *Options) drawLiars(r *stream) {
	f := quorumcert.ForNodes(o.Nodes).F
	if f == 0 || r.chance(250) {
		return
	}
	at := r.below(o.Nodes)
	for range r.between(1, f) {
		l := Liar{Node: at%o.Nodes + 1, Attacks: []string{drawAttack(r)}}
		for r.chance(600) && len(l.Attacks) < 5 {
			l.Attacks = append(l.Attacks, drawAttack(r))
		}
		o.Liars = append(o.Liars, l)
		at += r.between(1, 2)
	}
	if o.lies(amnesiac) || o.lies(lyingDisk) {
		o.Weights[KindCrash] = r.between(300, 2000)
	}
}

func (o *Options) drawRogues(r *stream) {
	names := rogueNames()
	for r.chance(150) && len(o.Rogues) < 3 {
		o.Rogues = append(o.Rogues, names[r.below(len(names))])
	}
}

// lies says whether a liar of an attack is there.
func (o *Options) lies(attack string) bool {
	for _, l := range o.Liars {
		for _, a := range l.Attacks {
			if a == attack {
				return true
			}
		}
	}
	return false
}

// String prints the options so that a failure can be read without the code.
func (o Options) String() string {
	b, err := json.Marshal(o)
	if err != nil {
		return fmt.Sprint(err)
	}
	return string(b)
}
