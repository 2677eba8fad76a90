// Garbage sends bytes: random ones, frames of its own cut short or with a byte turned, and frames
// beyond the limits. A protocol whose decoders trust lengths falls over or fills its memory. They
// are refused before anything is kept of them (Drops malformed, bad_signature, oversize).

package adversary

import (
	"bytes"

	"tangaroa/bftraft"
	"tangaroa/internal/chance"
)

var garbage = Attack{
	Name: "garbage", Does: "sends bytes that mean nothing, and frames cut or turned",
	Caught: "decoders are strict and everything is signed",
	Drops: []bftraft.Drop{
		bftraft.Malformed, bftraft.BadSignature, bftraft.Oversize, bftraft.BadCertificate,
	},
	Options: []Option{number("rate", "frames to each node in each tick", 1, 1, 1000)},
	make:    func(v *values) Behaviour { return &rubbish{rate: v.number("rate")} },
}

type rubbish struct {
	Honest
	rate int
	last []byte // a frame of its own
}

func (g *rubbish) Outbound(_ *Env, honest []bftraft.Outbound) []bftraft.Outbound {
	if len(honest) > 0 {
		g.last = bftraft.Encode(honest[len(honest)-1].Msg)
	}
	return honest
}

func (g *rubbish) Tick(e *Env) {
	for range g.rate {
		e.Raw(e.Others(), bftraft.ClassConsensus, g.frame(e.Random))
	}
}

func (g *rubbish) frame(r *chance.Stream) []byte {
	frame := bytes.Clone(g.last)
	switch n := len(frame); {
	case n < 2 || r.Below(3) == 0:
		frame = r.Bytes(1 + r.Below(300))
	case r.Below(2) == 0:
		frame = frame[:1+r.Below(n-1)]
	default:
		frame[1+r.Below(n-1)] ^= 1 << r.Below(8)
	}
	// Frames of clients are not for this link's gate.
	if frame[0] == bftraft.FrameRequest || frame[0] == bftraft.FrameReply {
		frame[0] = 0xff
	}
	return frame
}
