// AckLiar acks what it should not: it claims as certified what is not (claim), acks another hash to
// every second peer (hash), acks to some only (some), or acks one index with two hashes to all
// (both). A protocol that commits on acks of which f may be false splits or loses what it
// acknowledged. Commits count a quorum of claims, so f false ones change nothing; a certified index
// beyond the ack is refused (Drop void_ack), and two hashes at one place are proof (AckConflict,
// Drop conflict).

package adversary

import (
	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

var ackLiar = Attack{
	Name: "ackliar", Does: "acks what it does not hold, to some, or two things at once",
	Caught: "a quorum has to say the same; two acks of one place are evidence",
	Drops:  []bftraft.Drop{bftraft.Conflict, bftraft.VoidAck}, Proven: true,
	Options: []Option{
		word("how", "what it does with its acks", "both", "claim", "void", "hash", "some"),
	},
	make: func(v *values) Behaviour { return &ackLies{how: v.word("how")} },
}

type ackLies struct {
	Honest
	how string
}

func (l *ackLies) Outbound(e *Env, honest []bftraft.Outbound) []bftraft.Outbound {
	out := make([]bftraft.Outbound, 0, len(honest))
	for _, m := range honest {
		if r, ok := m.Msg.(*bftraft.AppendEntriesResponse); ok {
			out = append(out, l.lies(e, m, r.Ack.Ack)...)
			continue
		}
		out = append(out, m)
	}
	return out
}

// lies returns what becomes of an ack.
func (l *ackLies) lies(e *Env, m bftraft.Outbound, a quorumcert.Ack) []bftraft.Outbound {
	lie := a
	some := bftraft.Set(0x5555_5555_5555_5555) & m.To
	switch l.how {
	case "claim":
		lie.Certified = lie.Index
		some = m.To
	case "void":
		lie.Certified = lie.Index + 1
		some = m.To
	case "some":
		m.To = some
		return []bftraft.Outbound{m}
	default:
		lie.Hash[0] ^= 1
		lie.Certified = 0
	}
	other := m
	other.Msg = &bftraft.AppendEntriesResponse{Ack: e.ack(lie)}
	if l.how == "both" {
		return []bftraft.Outbound{m, other}
	}
	m.To &^= some
	other.To = some
	return []bftraft.Outbound{m, other}
}
