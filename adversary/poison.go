// Poison serves parts of states that are not right: a bit turned, cut short, of another place,
// none, or named by a manifest of its own. Who believes the peer that hands it a state has whatever
// state the liar likes, which no later check can tell. Each part is compared with what a quorum
// certified before it is used, and who served another is dropped and named (Drop poisoned_state).

package adversary

import (
	"bytes"

	"tangaroa/bftraft"
)

var poison = Attack{
	Name: "poison", Does: "serves wrong parts of states to who has missed the log",
	Caught: "each part is compared with what a quorum certified, and who serves another is dropped",
	Drops:  []bftraft.Drop{bftraft.PoisonedState},
	Options: []Option{word("how", "what is wrong with them", "turn", "cut", "swap", "none",
		"manifest")},
	make: func(v *values) Behaviour { return &poisoner{how: v.word("how")} },
}

type poisoner struct {
	Honest
	how  string
	last []byte // a chunk that it served before
}

func (p *poisoner) Frame(e *Env, _ bftraft.NodeID, frame []byte) [][]byte {
	if frame[0] != bftraft.FrameStatePart {
		return [][]byte{frame}
	}
	m, drop := bftraft.DecodeMessage(frame)
	if drop != bftraft.Accepted {
		return [][]byte{frame}
	}
	part := m.(*bftraft.StatePart)
	if len(part.Data) == 0 || (part.Part == bftraft.ManifestPart) != (p.how == "manifest") {
		return [][]byte{frame}
	}
	p.alter(e, part)
	bftraft.SignMessage(e.Options.Core.Signer, e.Cluster(), part)
	return [][]byte{bftraft.Encode(part)}
}

// alter makes a part wrong.
func (p *poisoner) alter(e *Env, part *bftraft.StatePart) {
	honest := part.Data
	part.Data = bytes.Clone(honest)
	switch p.how {
	case "cut":
		part.Data = part.Data[:len(part.Data)-1]
	case "swap":
		if part.Data = p.last; bytes.Equal(p.last, honest) || len(p.last) == 0 {
			part.Data = append(bytes.Clone(honest), 0)
		}
		p.last = bytes.Clone(honest)
	case "none":
		part.Data = nil
	default:
		part.Data[e.Random.Below(len(part.Data))] ^= 1 << e.Random.Below(8)
	}
}
