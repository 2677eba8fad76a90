// Replay sends again what it said before, however long ago. A protocol without terms, indexes and
// a cluster in what is signed acts on it twice. Whatever is old is dropped as such (Drops stale,
// duplicate), and nothing changes by it.

package adversary

import "tangaroa/bftraft"

var replay = Attack{
	Name: "replay", Does: "sends again and again what it said before",
	Caught: "what is signed names its term and place, so it counts once",
	Drops:  []bftraft.Drop{bftraft.Stale, bftraft.Duplicate},
	Options: []Option{
		number("rate", "messages said again in each tick", 2, 1, 1000),
	},
	make: func(v *values) Behaviour { return &replaying{rate: v.number("rate")} },
}

// kept is how many old messages are remembered, evenly from all that was said.
const kept = 512

type replaying struct {
	Honest
	rate int
	seen uint64
	old  []bftraft.Outbound
}

func (r *replaying) Outbound(e *Env, honest []bftraft.Outbound) []bftraft.Outbound {
	for _, m := range honest {
		r.seen++
		switch {
		case len(r.old) < kept:
			r.old = append(r.old, m)
		case e.Random.Next()%r.seen < kept:
			r.old[e.Random.Below(kept)] = m
		}
	}
	return honest
}

func (r *replaying) Tick(e *Env) {
	for range r.rate {
		if len(r.old) == 0 {
			return
		}
		m := r.old[e.Random.Below(len(r.old))]
		e.Raw(e.Others(), m.Class, bftraft.Encode(m.Msg))
	}
}
