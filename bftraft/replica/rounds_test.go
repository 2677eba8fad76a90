package replica

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// says lets a voter say at a time that it has index i, and what it has certified.
func (c *slackCluster) says(from bftraft.NodeID, when uint64, i, certified bftraft.Index) {
	c.clock = when
	c.hears(from, &quorumcert.SignedAck{Ack: quorumcert.Ack{Index: i, Certified: certified}})
}

// TestE5RoundIsMeasuredByThoseTheLeaderHasNoPartIn is about node 1, whose leader is node 2.
func TestE5RoundIsMeasuredByThoseTheLeaderHasNoPartIn(t *testing.T) {
	for name, k := range map[string]struct {
		say  func(c *slackCluster)
		took uint64
		ok   bool
	}{
		"as soon as they can": {func(c *slackCluster) {
			c.says(3, 1100, 7, 0)
			c.says(4, 1150, 7, 0)
			c.says(3, 1300, 7, 7)
			c.says(4, 1400, 7, 7)
		}, 250, true},
		"with the next block": {func(c *slackCluster) {
			c.says(3, 1100, 7, 0)
			c.says(4, 1150, 8, 5)
			c.says(3, 1300, 9, 7)
			c.says(4, 1400, 9, 7)
		}, 250, true},
		"one of them long after it could": {func(c *slackCluster) {
			c.says(3, 1100, 7, 0)
			c.says(4, 1100, 7, 0)
			c.says(3, 1300, 7, 7)
			c.says(4, 1900, 7, 7)
		}, 800, true},
		"one that the leader has kept waiting": {func(c *slackCluster) {
			c.says(3, 1100, 7, 0)
			c.says(3, 1300, 7, 7)
			c.says(4, 4000, 7, 7)
		}, 200, true},
		"one that never got the block": {func(c *slackCluster) {
			c.says(3, 1100, 7, 0)
			c.says(3, 1300, 7, 7)
			c.clock = 9000
		}, 200, true},
		"one that says nothing any more": {func(c *slackCluster) {
			c.says(3, 1100, 7, 0)
			c.says(4, 1100, 7, 0)
			c.says(3, 1300, 7, 7)
			c.clock = 5000
		}, 3900, true},
		"nobody, for it was proven": {func(c *slackCluster) { c.clock = 5000 }, 0, false},
		"of a term before": {func(c *slackCluster) {
			c.says(3, 1100, 7, 7)
			c.says(4, 1100, 7, 7)
			c.slack.newTerm()
		}, 0, false},
	} {
		c := newSlackCluster(t)
		k.say(c)
		took, ok := c.phase(7, 1000)
		require.Equal(t, k.ok, ok, name)
		require.Equal(t, k.took, took, name)
	}
}

// TestE5LeaderCannotMakeRoundsLong: the commit waits for whom it will, what others take stays.
func TestE5LeaderCannotMakeRoundsLong(t *testing.T) {
	c := newSlackCluster(t)
	for k := range 16 {
		b := bftraft.NewBlock(c.tip, []bftraft.Entry{{Kind: bftraft.EntryRequest, Data: []byte{1}}})
		c.tip = b.End()
		came := uint64(5000 * (k + 1))
		c.clock = came
		c.saw(&bftraft.Ready{Blocks: []*bftraft.Block{b}})
		c.says(3, came+100, b.Last(), 0)
		c.says(3, came+200, b.Last(), b.Last())
		c.says(4, came+4000, b.Last(), b.Last())
		c.saw(&bftraft.Ready{Committed: []*bftraft.Block{b}})
	}
	require.EqualValues(t, 4000, c.slack.rounds.newest.quantile(25))
	require.EqualValues(t, 200, c.slack.rounds.usual(0))
}

// TestE5CopiesFillNoBlock: a leader has any number of requests that were executed already.
func TestE5CopiesFillNoBlock(t *testing.T) {
	c := newSlackCluster(t)
	key := crypto.KeyFromSeed([32]byte{101})
	ask := func(seq uint64, size int) *bftraft.Request {
		return bftraft.SignRequest(crypto.Digest{}, key, 1, seq, [][]byte{make([]byte, size)})
	}
	block := func(requests ...*bftraft.Request) *bftraft.Block {
		var entries []bftraft.Entry
		for _, r := range requests {
			entries = append(entries, r.Entry())
		}
		return bftraft.NewBlock(c.tip, entries)
	}
	third := DefaultBlockBytes / 3
	require.False(t, c.fills(block(ask(1, third))))
	require.True(t, c.fills(block(ask(1, third), ask(2, third))))
	require.False(t, c.fills(block(ask(1, third), ask(1, third))), "twice the same")
	c.execute(ask(1, third))
	require.False(t, c.fills(block(ask(1, third), ask(2, third))), "one was executed")
	require.True(t, c.fills(block(ask(2, third), ask(3, third))))
	many := make([]*bftraft.Request, 0, bftraft.MaxBlockEntries)
	for seq := range uint64(bftraft.MaxBlockEntries / 2) {
		many = append(many, ask(seq+2, 1))
	}
	require.False(t, c.fills(block(many...)))
	require.True(t, c.fills(block(append(many, ask(9999, 1))...)))
	require.False(t, c.fills(block(append(many, ask(2, 1))...)))
}

// TestE5FullBlockOfAnotherPassesOver: leaders take clients in turn.
func TestE5FullBlockOfAnotherPassesOver(t *testing.T) {
	for several, passed := range map[bool]bool{false: false, true: true} {
		c := newSlackCluster(t)
		late := c.request(1)
		c.pass(3000)
		other := crypto.KeyFromSeed([32]byte{102})
		ask := func(seq uint64) bftraft.Entry {
			return bftraft.SignRequest(crypto.Digest{}, other, 1, seq, [][]byte{{1}}).Entry()
		}
		entries := []bftraft.Entry{ask(1)}
		if several {
			entries = append(entries, ask(2))
		}
		c.placed(bftraft.NewBlock(c.tip, entries), true)
		require.Equal(t, passed, c.pending(late).passed == c.term)
		c.placed(bftraft.NewBlock(c.tip, []bftraft.Entry{ask(1)}), false)
		require.Equal(t, c.term, c.pending(late).passed)
	}
}
