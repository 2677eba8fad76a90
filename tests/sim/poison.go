package sim

import (
	"slices"

	"tangaroa/bftraft"
	"tangaroa/bftraft/replica"
)

// kindStatePart is the first byte of a message with a part of a state.
const kindStatePart = 17

// poison alters the parts of states that a liar serves, most of the time, and signs them.
type poison struct {
	replica.Transport
	w *World
	m *member
	r *stream
}

func newPoison(w *World, m *member, out replica.Transport) *poison {
	return &poison{out, w, m, newStream(w.opt.Seed, "poison")}
}

// Send implements replica.Transport.
func (p *poison) Send(to bftraft.NodeID, class bftraft.Class, frame []byte) {
	if frame[0] == kindStatePart && p.r.chance(700) {
		if msg, drop := bftraft.DecodeMessage(frame); drop == bftraft.Accepted {
			part := msg.(*bftraft.StatePart)
			p.alter(part)
			bftraft.SignMessage(p.m.signer, p.w.cluster, part)
			frame = bftraft.Encode(part)
			p.m.hurts(poisoner, 1)
		}
	}
	p.Transport.Send(to, class, frame)
}

// alter makes a part wrong in one of the ways there are: a bit, a byte more or less, none, all
// others, of another state or place.
func (p *poison) alter(part *bftraft.StatePart) {
	part.Data = slices.Clone(part.Data)
	n := len(part.Data)
	switch p.r.below(8) {
	case 0:
		part.Data = nil
	case 1:
		part.Data = append(part.Data, 0)
	case 2:
		part.At += bftraft.Index(p.r.between(1, 9))
	case 3:
		if part.Part != bftraft.ManifestPart {
			part.Part++
		}
	case 4:
		clear(part.Data)
	default:
		if n > 0 {
			part.Data[p.r.below(n)] ^= 1 << p.r.below(8)
		}
	}
}
