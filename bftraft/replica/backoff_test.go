package replica

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
)

// TestE6TermsGrowUntilARequestIsServed: acks take longer than a leader is given at first. A timeout
// in which a client waits all the time is no calm one, or each term would be as short as the last.
func TestE6TermsGrowUntilARequestIsServed(t *testing.T) {
	g := newGroup(t)
	l := &later{g: g}
	g.write(1, 1)
	one := g.mate(1).proc
	timeout, began := one.core.Timeout(), one.Executed().Index
	g.alter = func(p parcel, m bftraft.Message) bftraft.Message {
		if _, ok := m.(*bftraft.AppendEntriesResponse); ok {
			l.hold(p, 3*timeout/2)
			return nil
		}
		return m
	}
	g.requests++
	req := bftraft.SignRequest(g.verifier.Cluster(), g.client, 1, g.requests,
		[][]byte{fmt.Append(nil, "op", g.requests)})
	for _, m := range g.mates {
		m.proc.Request(ClientID{Key: req.Client}, 0, req)
		m.flush()
	}
	for n := uint64(0); one.Executed().Index == began; n++ {
		require.Less(t, n, 60*timeout, "term %d", one.core.Term())
		g.ticks(1)
		l.deliver()
	}
}
