// Twins runs a second honest core under the same key, with a log and votes of its own: what comes
// of one key on two machines. Both speak to all, or each to one half of the cluster. A protocol
// in which a voter's honest software is taken for an honest voter is split by it. What the two say
// of one place is two acks, or two votes, of one signer: evidence (Drop conflict).

package adversary

import (
	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

var twins = Attack{
	Name: "twins", Does: "runs two members under one key",
	Caught: "their statements contradict each other, which is evidence",
	Drops: []bftraft.Drop{
		bftraft.Conflict, bftraft.FaultySender, bftraft.AlreadyVoted, bftraft.Duplicate,
	},
	Proven:  true,
	Options: []Option{word("meet", "whom each of them hears and speaks to", "all", "half")},
	make:    func(v *values) Behaviour { return &twin{apart: v.word("meet") == "half"} },
}

type twin struct {
	Honest
	apart  bool
	shadow *shadow
}

// half is the part of the cluster that hears and is heard by the second twin alone.
func (t *twin) half(e *Env) bftraft.Set {
	if !t.apart {
		return 0
	}
	members := e.Others().Members()
	return quorumcert.SetOf(members[len(members)/2:]...)
}

func (t *twin) second(e *Env) *shadow {
	if t.shadow == nil {
		t.shadow = newShadow(e, nil)
	}
	return t.shadow
}

func (t *twin) Inbound(e *Env, v bftraft.Verified) bool {
	half := t.half(e)
	if !t.apart || half.Has(v.From()) {
		t.second(e).core.Step(v)
	}
	return !half.Has(v.From())
}

func (t *twin) Outbound(e *Env, honest []bftraft.Outbound) []bftraft.Outbound {
	half := t.half(e)
	var out []bftraft.Outbound
	for _, m := range honest {
		m.To &^= half
		out = append(out, m)
	}
	for _, m := range t.second(e).drain() {
		if t.apart {
			m.To &= half
		}
		out = append(out, m)
	}
	return out
}

// Propose gives the second twin, if it leads as well, other entries.
func (t *twin) Propose(e *Env, entries []bftraft.Entry) []bftraft.Entry {
	if s := t.second(e); s.core.Room() {
		s.core.Propose(different(entries))
	}
	return entries
}

func (t *twin) Tick(e *Env) { t.second(e).core.Tick() }
