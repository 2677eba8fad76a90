// Clinging, once it leads, does not hear of suspicions, votes and later terms, and goes on as
// leader of its term for ever. A protocol whose nodes follow whoever sends heartbeats has two
// leaders. The others have moved on by certificate and drop what it says (Drop stale).

package adversary

import "tangaroa/bftraft"

var clinging = Attack{
	Name: "clinging", Does: "once leader, refuses to step down",
	Caught:  "the others are in a later term, by certificate, and drop what it says",
	Deposed: true,
	make:    func(*values) Behaviour { return &cling{} },
}

type cling struct{ Honest }

// Propose keeps it idle, so that the others have a reason to be rid of it.
func (*cling) Propose(*Env, []bftraft.Entry) []bftraft.Entry { return nil }

func (*cling) Inbound(e *Env, v bftraft.Verified) bool {
	if !e.leading() {
		return true
	}
	switch v.Message().(type) {
	case *bftraft.Suspect, *bftraft.RequestVote, *bftraft.RequestVoteResponse, *bftraft.Proof,
		*bftraft.AppendEntries, *bftraft.Committed, *bftraft.Resign:
		return false
	}
	return true
}

// Outbound keeps back its own suspicions.
func (*cling) Outbound(e *Env, honest []bftraft.Outbound) []bftraft.Outbound {
	if !e.leading() {
		return honest
	}
	return without(honest, func(m bftraft.Message) bool {
		_, suspects := m.(*bftraft.Suspect)
		return suspects
	})
}

// without returns the messages but those of a kind.
func without(all []bftraft.Outbound, of func(bftraft.Message) bool) []bftraft.Outbound {
	var out []bftraft.Outbound
	for _, m := range all {
		if !of(m.Msg) {
			out = append(out, m)
		}
	}
	return out
}
