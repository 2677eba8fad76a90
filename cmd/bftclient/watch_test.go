package main

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/kv"
	"tangaroa/cmd/internal/cli"
	"tangaroa/quorumcert"
)

// TestWatchFollowsTheVoters has one go that lied, and its id come round.
func TestWatchFollowsTheVoters(t *testing.T) {
	w := &watcher{
		merger: newMerger(1, 1), polled: map[quorumcert.Voter]context.CancelFunc{},
	}
	w.room.L = &w.mu
	voters := testGenesis().Voters
	first := w.follow(t.Context(), voters)
	require.Len(t, first, 4)
	require.Empty(t, w.follow(t.Context(), voters), "nobody new")
	lie := tale(4, 2, 4)
	lie.Events[0].KV.Value = []byte("lie")
	w.merger.tell(t, 4, lie)
	w.merger.tell(t, 1, tale(4, 2))
	require.Len(t, w.merger.tell(t, 2, tale(2, 2)), 1)
	require.Equal(t, quorumcert.SetOf(4), w.merger.differ)
	w.named = w.merger.differ

	others := append([]quorumcert.Voter{}, voters[1:]...) // 2, 3, another 4, and 5 to 7
	others[2].Key = testKey(44).Public()
	for id := byte(5); id <= 8; id++ {
		others = append(others, quorumcert.Voter{ID: bftraft.NodeID(id), Key: testKey(id).Public()})
	}
	came := w.follow(t.Context(), others)
	require.Len(t, came, 5)
	require.Error(t, first[voters[0]].Err(), "node 1 has left")
	require.Error(t, first[voters[3]].Err(), "and the holder of the id before")
	require.NoError(t, first[voters[1]].Err())
	require.NoError(t, came[others[2]].Err())
	require.Zero(t, w.merger.differ|w.named)
	require.Equal(t, 2, w.merger.faulty)
	q, _ := w.merger.question(4, kv.All())
	require.Equal(t, kv.Revision(3), q.From, "it begins behind what is confirmed")
	value, err := kv.EncodeQueryResult(tale(9, 9))
	require.NoError(t, err)
	_, err = w.take(first[voters[0]], 1, value)
	require.NoError(t, err)
	require.Empty(t, w.merger.feeds[1].pending, "it is no voter's word any more")
	require.Empty(t, w.merger.tell(t, 4, tale(5, 5)))
	require.Empty(t, w.merger.tell(t, 5, tale(5, 5)), "two of seven may lie")
	require.Len(t, w.merger.tell(t, 6, tale(5, 5)), 1)
	for _, end := range w.polled {
		end()
	}
}

// TestWatchOfARemovedClientEnds: nodes close its connections, and it would wait for ever.
func TestWatchOfARemovedClientEnds(t *testing.T) {
	c := startCluster(t, nil)
	apply := func(name string, args ...string) {
		c.ok(append([]string{"change", "draft", "--out", c.at(name)}, args...)...)
		c.sign(c.at(name), 0, 1)
		c.ok("change", "apply", c.at(name))
	}
	apply("first", "--add", c.identity("bob", "client", testKey(51)))
	bob := c.by("bob", testKey(51))
	out, errs := &lines{seen: make(chan struct{}, 1)}, &lines{seen: make(chan struct{}, 1)}
	done := make(chan cli.Code, 1)
	go func() {
		done <- run(t.Context(), []string{"bftclient", "-c", bob.config, "watch", "live/"},
			streams{out: out, err: errs})
	}()
	require.NoError(t, errs.await("watching"))
	c.ok("put", "live/a", "1")
	require.NoError(t, out.await("live/a = 1"))
	apply("second", "--add", c.identity("eve", "client", testKey(52)))
	apply("last", "--remove", "bob")
	select {
	case code := <-done:
		require.Equal(t, cli.NotAuthorised, code, errs.String())
	case <-time.After(30 * time.Second):
		require.Fail(t, "it goes on")
	}
	require.Regexp(t, `^watching .*\nerror: this key is not enrolled .* any more: .*\n$`,
		errs.String())
}
