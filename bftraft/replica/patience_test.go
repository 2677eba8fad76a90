package replica

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
)

// TestE6PatienceGrowsUntilRequestsAreServed: acks take longer than a leader is given at first, and
// everything else no time, so that no term is longer than the one before for the timeout alone.
// Once it is enough it is not taken back between two requests.
func TestE6PatienceGrowsUntilRequestsAreServed(t *testing.T) {
	g := newGroup(t)
	l := &later{g: g}
	g.write(1, 1)
	one := g.mate(1).proc
	timeout := one.core.Timeout()
	g.alter = func(p parcel, m bftraft.Message) bftraft.Message {
		if _, ok := m.(*bftraft.AppendEntriesResponse); ok {
			l.hold(p, 3*timeout/2)
			return nil
		}
		return m
	}
	write := func() (terms bftraft.Term) {
		g.requests++
		req := bftraft.SignRequest(g.verifier.Cluster(), g.client, 1, g.requests,
			[][]byte{fmt.Append(nil, "op", g.requests)})
		for _, m := range g.mates {
			m.proc.Request(ClientID{Key: req.Client}, 0, req)
			m.flush()
		}
		began, term := one.Executed().Index, one.core.Term()
		for n := uint64(0); one.Executed().Index == began; n++ {
			require.Less(t, n, 60*timeout, "term %d", one.core.Term())
			g.ticks(1)
			l.deliver()
		}
		return one.core.Term() - term
	}
	require.Positive(t, write())
	for range 10 {
		write() // what is late by E5b needs its time as well
	}
	for range 10 {
		require.Zero(t, write())
	}
}
