package bftraft

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/quorumcert"
)

// What the simulator bounds is what there is.
func TestHeldCountsWhatIsHeld(t *testing.T) {
	l, a := led(t, "a")
	b := l.block(a.End(), "b")
	c := l.block(b.End(), "cc")
	d := l.block(c.End(), "ddd")
	e := l.block(d.End(), "eeee")
	f := l.block(e.End(), "fffff")
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, b.End(), b)))
	require.Equal(t, Accepted, l.say(2, l.proposal(2, 1, c.End(), c)))
	core := l.m.core
	require.Equal(t, 3, core.Held().Ahead)
	require.Equal(t, Accepted, l.say(3, &Committed{Commit: l.commit(1, a.End())}))
	for _, at := range []Position{a.End(), b.End(), c.End()} {
		l.say(3, l.response(3, 1, at, 0))
	}
	l.say(4, l.response(4, 1, f.End(), 0))
	l.wait(l.m.cfg.HeartbeatTicks)
	require.NotNil(t, core.gather)
	require.Equal(t, Accepted, l.say(4, &Chain{Blocks: []*Block{e, f}}))
	want := Held{
		Ahead: 2, AheadBytes: len(b.raw) + len(c.raw), Chain: 3, Gathered: 2,
		GatheredBytes: len(e.raw) + len(f.raw), Acks: len(core.peers[3].acks),
	}
	require.Equal(t, want, core.Held())
	require.Greater(t, want.Acks, len(core.peers[4].acks))
	core.out.Messages = make([]Outbound, 2)
	core.toAck = make([]proposal, 5)
	core.evidence = make([]quorumcert.Evidence, 4)
	want.Undone, want.Proofs = 7, 4
	require.Equal(t, want, core.Held())
}
