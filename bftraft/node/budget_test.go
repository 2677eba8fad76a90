package node

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/p2p"
	"tangaroa/quorumcert"
)

// TestPeerEarnsWhatItSpends is the arithmetic of a budget.
func TestPeerEarnsWhatItSpends(t *testing.T) {
	var b budget
	now := time.Unix(1000, 0)
	require.Zero(t, b.wait(now))
	b.spend(int(budgetBurst/budgetUnit), now)
	require.Zero(t, b.wait(now), "it had saved so much")
	b.spend(4, now)
	require.Equal(t, 4*budgetUnit, b.wait(now))
	require.Equal(t, budgetUnit, b.wait(now.Add(3*budgetUnit)))
	now = now.Add(time.Hour)
	b.spend(int(budgetBurst/budgetUnit)+1, now)
	require.Equal(t, budgetUnit, b.wait(now), "it cannot save more than that")
}

// flooded is a node that does not run, but verifies what comes and takes it in.
func flooded(t *testing.T, play func(n *Node)) {
	synctest.Test(t, func(t *testing.T) {
		g := testGenesis(4)
		n, err := New(testConfig(g, 1, newDisk(g, 1)))
		require.NoError(t, err)
		n.in.start(t.Context(), 1)
		t.Cleanup(n.in.wg.Wait)
		play(n)
	})
}

// takeIn returns how many messages of each peer arrive within a time.
func takeIn(n *Node, d time.Duration, outcome bftraft.Drop) (from [5]int) {
	end := time.After(d)
	for {
		select {
		case s := <-n.in.steps:
			from[s.from]++
			if outcome != bftraft.Accepted {
				n.in.refused(&s, outcome)
			}
		case <-end:
			return from
		}
	}
}

func suspicionOf(n *Node, id crypto.NodeID) []byte {
	signer := crypto.NewSigner(id, seeded(byte(id)))
	st := quorumcert.Suspicion{Cluster: n.verifier.Cluster(), Term: 1}
	return bftraft.Encode(&bftraft.Suspect{
		Term: 1, Signer: id, Sig: quorumcert.Sign(signer, st),
	})
}

func ackOf(n *Node, id crypto.NodeID) []byte {
	signer := crypto.NewSigner(id, seeded(byte(id)))
	a := quorumcert.Ack{Cluster: n.verifier.Cluster(), Term: 1, Index: 1}
	return bftraft.Encode(&bftraft.AppendEntriesResponse{Ack: quorumcert.SignedAck{
		Ack: a, Signer: id, Sig: quorumcert.Sign(signer, a),
	}})
}

// TestFloodOfOnePeerGetsItsShareAndDelaysNobodyElse is about messages that are valid and say
// nothing new: the flooder waits behind its own queue, the others do not notice.
func TestFloodOfOnePeerGetsItsShareAndDelaysNobodyElse(t *testing.T) {
	flooded(t, func(n *Node) {
		frame := suspicionOf(n, 2)
		for range 3000 {
			n.in.FromNode(2, p2p.Consensus, frame)
		}
		n.in.FromNode(3, p2p.Consensus, suspicionOf(n, 3))
		seen := takeIn(n, time.Millisecond, bftraft.Accepted)
		burst := int(budgetBurst/budgetUnit)/costOf(frame) + 2
		require.LessOrEqual(t, seen[2], burst)
		require.Greater(t, seen[2], burst/2)
		require.Equal(t, 1, seen[3])
		require.Positive(t, countOf(n.metrics.slowed[2]))
		require.Zero(t, countOf(n.metrics.slowed[3]))
		share := int(time.Second/budgetUnit) / costOf(frame)
		require.InDelta(t, share, takeIn(n, time.Second, bftraft.Accepted)[2], float64(share)/10)
	})
}

// TestWhatServesTheProtocolCostsNothing lets a peer send more acks than any budget would pay for;
// only when they turn out to be of no use does it have to wait.
func TestWhatServesTheProtocolCostsNothing(t *testing.T) {
	for outcome, most := range map[bftraft.Drop]int{
		bftraft.Accepted: 3000, bftraft.Stale: 1200, bftraft.Conflict: 600,
	} {
		flooded(t, func(n *Node) {
			frame := ackOf(n, 2)
			for range 3000 {
				n.in.FromNode(2, p2p.Consensus, frame)
			}
			seen := takeIn(n, time.Millisecond, outcome)[2]
			require.LessOrEqual(t, seen, most)
			require.Greater(t, seen, most/2)
		})
	}
}

// TestGarbageCostsWhatItIsLookedAtFor is about frames that do not even verify.
func TestGarbageCostsWhatItIsLookedAtFor(t *testing.T) {
	flooded(t, func(n *Node) {
		spoilt := ackOf(n, 2)
		spoilt[len(spoilt)-1] ^= 1
		for range 3000 {
			n.in.FromNode(2, p2p.Consensus, spoilt)
		}
		require.Zero(t, takeIn(n, time.Millisecond, bftraft.Accepted))
		require.Less(t, countOf(n.metrics.drops[2][bftraft.BadSignature]), 1000)
		require.Positive(t, countOf(n.metrics.slowed[2]))
	})
}

func TestWhatIsPaidForCostsNothingMore(t *testing.T) {
	flooded(t, func(n *Node) {
		n.in.refused(&step{from: 2}, bftraft.Stale)
		require.Zero(t, n.in.budgets[2].paid)
		n.in.FromNode(2, p2p.Consensus, suspicionOf(n, 2))
		n.in.FromNode(3, p2p.Consensus, ackOf(n, 3))
		part := &bftraft.StatePart{Data: []byte("of a state that this node fetches")}
		bftraft.SignMessage(crypto.NewSigner(3, seeded(3)), n.verifier.Cluster(), part)
		n.in.FromNode(3, p2p.Bulk, bftraft.Encode(part))
		for range 3 {
			s := <-n.in.steps
			require.Equal(t, s.from == 3, s.cost > 0)
			require.Equal(t, s.from == 2, !n.in.budgets[s.from].paid.IsZero())
		}
	})
}

func TestLargeFramesCostMore(t *testing.T) {
	require.Equal(t, 1, costOf(nil))
	require.Greater(t, costOf(make([]byte, 4096)), 40)
	require.Greater(t, costOf(make([]byte, bftraft.MaxFrameBytes)), 200)
}
