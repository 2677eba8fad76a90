package sim

import (
	"slices"

	"tangaroa/quorumcert"
)

// Kind names a class of faults.
type Kind string

// The faults that a schedule may hold. What Node, Mask, For and Arg mean is said with each.
const (
	KindCrash     Kind = "crash"      // Node, down For ms; Arg permille of what was not flushed stays
	KindCrashAll  Kind = "crash-all"  // all nodes, each down up to For ms; Arg as above
	KindAtSave    Kind = "at-save"    // Node, at the Arg/3-th save from now: before, after, mid-send
	KindStorm     Kind = "storm"      // nodes of Mask, again and again for For ms, down Arg ms
	KindStop      Kind = "stop"       // Node resigns, then stops in order, and is down For ms
	KindPartition Kind = "partition"  // nodes of Mask from the rest, for For ms
	KindOneWay    Kind = "one-way"    // the link from Node to node Arg, for For ms
	KindIsolate   Kind = "isolate"    // Node, or the leader if 0, for For ms
	KindBridge    Kind = "bridge"     // nodes of Mask reach the rest through Node only, for For ms
	KindFlap      Kind = "flap"       // Node's links go and come every Arg ms, for For ms
	KindSwizzle   Kind = "swizzle"    // nodes of Mask cut off one by one, healed in another order
	KindSlowLink  Kind = "slow-link"  // the link from Node carries Arg bytes a ms, for For ms
	KindMisroute  Kind = "misroute"   // what is for Node reaches node Arg too, for For ms
	KindStrange   Kind = "strange"    // Node's link carries a frame that no version here knows
	KindStall     Kind = "stall"      // Node's process stands still for For ms
	KindLate      Kind = "late"       // Node's clock stands still for For ms, then hurries
	KindLockdown  Kind = "lockdown"   // the next to lock first is cut off for For ms, the rest lost
	KindSyncFail  Kind = "sync-fail"  // Node's next flush fails, Arg=1: after writing; down For ms
	KindReadFail  Kind = "read-fail"  // Node's disk fails to read; down For ms
	KindSlowFlush Kind = "slow-flush" // Node's flushes take Arg ms, for For ms
	KindGuardSlot Kind = "guard-slot" // Node crashes, one slot of its guard is damaged; down For ms
	KindLoss      Kind = "loss"       // Node crashes and its disk is damaged as Arg says, for good
)

// Fault is one thing that goes wrong, At milliseconds from the start. It is all there is to know
// about it: taking one fault out of a schedule changes no other.
type Fault struct {
	At   int
	Kind Kind
	Node int    `json:",omitempty"` // from 1
	Mask uint64 `json:",omitempty"` // bit i stands for node i+1
	For  int    `json:",omitempty"`
	Arg  int    `json:",omitempty"`
}

// class says how often a kind of fault is on, and the mean times between two that are drawn.
type class struct {
	kind        Kind
	permille    int
	least, most int
}

var classes = []class{
	{KindCrash, 350, 300, 5000}, {KindCrashAll, 150, 3000, 12000}, {KindAtSave, 250, 300, 4000},
	{KindStorm, 60, 4000, 12000}, {KindStop, 100, 1500, 6000},
	{KindPartition, 350, 300, 5000}, {KindOneWay, 150, 300, 3000}, {KindIsolate, 150, 500, 5000},
	{KindBridge, 60, 1500, 6000}, {KindFlap, 60, 2000, 8000}, {KindSwizzle, 80, 2000, 10000},
	{KindSlowLink, 80, 1000, 5000}, {KindMisroute, 50, 1000, 5000}, {KindStrange, 50, 500, 4000},
	{KindStall, 200, 500, 5000}, {KindLate, 100, 500, 5000}, {KindLockdown, 350, 100, 2000},
	{KindSyncFail, 80, 1500, 8000}, {KindReadFail, 250, 800, 4000},
	{KindSlowFlush, 60, 1500, 8000}, {KindGuardSlot, 50, 1500, 8000}, {KindLoss, 400, 1500, 6000},
}

// Plan draws the faults of the chaos phase of o, in order of time.
func Plan(o Options) []Fault {
	var plan []Fault
	doomed := newDoomed(o)
	for _, c := range classes {
		mean := o.Weights[c.kind]
		if mean == 0 {
			continue
		}
		r := newStream(o.Seed, "plan "+string(c.kind))
		for at := r.between(1, 2*mean); at < o.Chaos; at += r.between(1, 2*mean) {
			f := Fault{At: at, Kind: c.kind, Node: r.between(1, o.Nodes+o.Spare)}
			f.draw(r, o)
			if c.kind == KindLoss && !doomed.take(f.Node) {
				continue
			}
			plan = append(plan, f)
		}
	}
	slices.SortStableFunc(plan, func(a, b Fault) int { return a.At - b.At })
	return plan
}

// draw fills in what a fault of its kind needs.
func (f *Fault) draw(r *stream, o Options) {
	f.For = r.between(100, 4000)
	switch f.Kind {
	case KindCrash:
		f.For, f.Arg = r.between(1, 3000), r.below(1001)
	case KindCrashAll:
		f.Node, f.For, f.Arg = 0, r.between(1, 3000), r.below(1001)
	case KindAtSave:
		f.For, f.Arg = r.between(1, 3000), r.below(90)
		if r.chance(300) {
			f.Arg = r.below(9) // soon: if the node has just been started, while it recovers
		}
	case KindStorm:
		size := quorumcert.ForNodes(o.Nodes)
		f.Node, f.Mask, f.Arg = 0, some(r, o.Nodes, size.F), r.between(20, 300)
	case KindPartition:
		f.Node, f.Mask = 0, r.next()%(1<<(o.Nodes+o.Spare)-2)+1
	case KindOneWay, KindMisroute:
		f.Arg = r.between(1, o.Nodes+o.Spare)
	case KindIsolate:
		if r.chance(500) {
			f.Node = 0 // whoever leads then
		}
	case KindBridge:
		f.Mask = r.next() % (1 << (o.Nodes + o.Spare))
	case KindFlap:
		f.Arg = r.between(20, 1500)
	case KindSwizzle:
		f.Node, f.Mask = 0, r.next()%(1<<(o.Nodes+o.Spare))
	case KindSlowLink:
		f.Arg = r.between(1, 30)
	case KindStall:
		if r.chance(100) {
			f.For = r.between(4000, 12000)
		}
	case KindSyncFail:
		f.Arg = r.below(2)
	case KindSlowFlush:
		f.Arg = r.between(20, 2000)
	case KindGuardSlot:
		f.Arg = r.below(2)
	case KindLoss:
		f.Arg = r.below(len(losses))
	}
}

// some draws a set of k nodes.
func some(r *stream, n, k int) uint64 {
	var mask uint64
	for k > 0 {
		if i := r.below(n); mask>>i&1 == 0 {
			mask |= 1 << i
			k--
		}
	}
	return mask
}

// doomed keeps the damage within what the cluster must stand: at most f nodes lie or are lost for
// good.
type doomed struct {
	left  int
	nodes map[int]bool
}

func newDoomed(o Options) *doomed {
	d := &doomed{quorumcert.ForNodes(o.Nodes).F, make(map[int]bool)}
	for _, l := range o.Liars {
		d.nodes[l.Node] = true
		if l.Node <= o.Nodes {
			d.left-- // who joins counts once it votes: see someMoves
		}
	}
	return d
}

// take says whether a node may be lost; each can be lost once.
func (d *doomed) take(node int) bool {
	if d.left <= 0 || d.nodes[node] {
		return false
	}
	d.nodes[node] = true
	d.left--
	return true
}
