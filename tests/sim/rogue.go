package sim

import (
	"fmt"

	dishonest "tangaroa/adversary/rogue"
	"tangaroa/bftraft"
	"tangaroa/bftraft/kv"
)

// rogue is a dishonest client: enrolled like the others, with a key of its own.
type rogue struct {
	w     *World
	index int
	name  string
	key   clientKey
	sent  int
	mind  *dishonest.Rogue
}

// rogueTickMillis is how often a rogue does something.
const rogueTickMillis = 40

// rogueCalmMillis is how long rogues go on after the healing.
const rogueCalmMillis = 5000

// rogueNames lists what a dishonest client may do.
func rogueNames() []string { return dishonest.Names() }

func newRogue(w *World, i int, name string, key clientKey) *rogue {
	return &rogue{w: w, index: i, name: name, key: key}
}

// wake gives the rogue its mind, once the cluster has its name.
func (r *rogue) wake() {
	must := func(b []byte, err error) []byte {
		if err != nil {
			panic(err)
		}
		return b
	}
	var err error
	r.mind, err = dishonest.New(r.name, dishonest.Options{
		Key: r.key, Cluster: r.w.cluster, Seed: r.w.opt.Seed, Rate: 2,
		Voters: r.w.verifier.Configurations().Latest().Members(),
		Op: func(k uint64) []byte {
			return must(kv.EncodeOp(kv.Put{Key: []byte(r.name), Value: fmt.Append(nil, k)}))
		},
		Query: func(uint64) []byte {
			return must(kv.EncodeQuery(kv.Range{Span: kv.One([]byte(r.name))}))
		},
	})
	if err != nil {
		panic(err)
	}
}

func (r *rogue) tick() {
	if r.mind == nil {
		r.wake()
	}
	w := r.w
	if r.stopped() {
		return // else there would be no end at which all have executed all
	}
	w.at(rogueTickMillis, event{kind: eventRogueTick, node: r.index})
	end := len(w.clients) + r.index
	for _, f := range r.mind.Tick(r.leader()) {
		r.sent++
		w.fromEnd(endOfClient(end), end, int(f.To)-1, f.Frame)
	}
}

// stopped says whether the rogue is at its end: it goes on for a while after the healing.
func (r *rogue) stopped() bool { return r.w.calm && r.w.now >= r.w.opt.Chaos+rogueCalmMillis }

// leader returns who leads, as a client may find out.
func (r *rogue) leader() bftraft.NodeID {
	for _, m := range r.w.nodes {
		if m.proc != nil && !m.liar {
			return m.proc.Core().Leader
		}
	}
	return 0
}
