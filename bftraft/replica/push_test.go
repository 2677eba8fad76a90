package replica

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
)

func TestE5PressingRequestIsShownToTheLeaderOnce(t *testing.T) {
	c := newSlackCluster(t)
	sent := sentFrames{}
	c.cfg.Transport = sent
	c.request(1)
	for c.fullest() == 0 {
		require.Equal(t, sentFrames{2: 1}, sent)
		c.Tick()
	}
	for range 10 {
		require.Equal(t, sentFrames{2: 2}, sent, "it may have been lost")
		c.Tick()
	}
}

// TestE5RequestsThatTheLeaderLacksAreShownToItInFewRounds: all were sent to it, and were lost. One
// after the other they would be late for as long as an honest leader takes for all of them.
func TestE5RequestsThatTheLeaderLacksAreShownToItInFewRounds(t *testing.T) {
	for name, sessions := range map[string]uint64{"one session": 1, "many": 100} {
		c := newSlackCluster(t)
		sent := sentFrames{}
		c.cfg.Transport = sent
		const all = 200
		key, pushed := clientKey(1), 0
		for k := range uint64(all) {
			c.Request(ClientID{}, 0, bftraft.SignRequest(crypto.Digest{}, key, k%sessions+1,
				k/sessions+1, [][]byte{{1}}))
		}
		c.pass(100 * tickParts)
		require.Equal(t, all+firstPush, sent[2], name)
		for _, more := range []int{firstPush * nextPush, all} {
			for pushed < sent[2]-all { // the leader has these; they are executed
				c.execute(c.foremost(c.pool.clients[0]).Request)
				pushed++
			}
			c.pass(tickParts)
			require.Equal(t, min(all+pushed+more, 2*all), sent[2], name)
		}
		c.pass(50 * tickParts)
		require.Equal(t, 2*all, sent[2], "each of them once")
	}
}

// TestE5RequestsThatWereLostAgainAreShownAgain: once others are asked, and not one after the other.
func TestE5RequestsThatWereLostAgainAreShownAgain(t *testing.T) {
	c := newSlackCluster(t)
	sent := sentFrames{}
	c.cfg.Transport = sent
	const all = 40
	for k := range uint64(all) {
		c.Request(ClientID{}, 0, bftraft.SignRequest(crypto.Digest{}, clientKey(1), k+1, 1,
			[][]byte{{1}}))
	}
	for sent[3] == 0 { // nobody but the leader hears of anything before
		require.LessOrEqual(t, sent[2], all+firstPush)
		c.Tick()
	}
	c.pass(2 * tickParts)
	require.Equal(t, 1, sent[3])
	require.Equal(t, all+firstPush+1, sent[2])
	c.execute(c.foremost(c.pool.clients[0]).Request) // that has come
	c.pass(2 * tickParts)
	require.Equal(t, all+firstPush+1+firstPush, sent[2])
	c.pass(20 * tickParts)
	require.Equal(t, all+firstPush+1+firstPush, sent[2], "and no more for a while")
}
