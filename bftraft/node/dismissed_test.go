package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
)

// TestClientThatHasLeftIsToldAndLetGo: it is shown the changes for a moment, and nothing else.
func TestClientThatHasLeftIsToldAndLetGo(t *testing.T) {
	onBoard(t, 4, func(t *testing.T, b *switchboard, nodes []*running) {
		r, key := nodes[2], clientKey().Public()
		replies := b.client(key)
		carry(t, r, changeAt(r, bftraft.ChangeStep{Kind: bftraft.RemoveClient, Key: key}))
		within(t, 500*time.Millisecond, "all tell it", func() bool { return len(replies) == 4 })
		refusal, err := bftraft.DecodeRefusal(<-replies)
		require.NoError(t, err)
		require.Equal(t, bftraft.RefusedClient, refusal.Code)
		for range 3 {
			require.Equal(t, refusal.Encode(), <-replies)
		}
		shown, err := bftraft.DecodeChanges(r.fromClient(replies, bftraft.ChangesRequest(0)))
		require.NoError(t, err)
		gate, err := r.genesis.Following(shown)
		require.NoError(t, err)
		require.True(t, gate.Members().Left(key))

		r.in.FromClient(key, clientConn, []byte{bftraft.FrameStatus})
		within(t, 100*time.Millisecond, "it is counted", func() bool {
			return countOf(r.metrics.refusals.WithLabelValues("not_authorised")) > 0
		})
		require.Empty(t, replies, "and not answered")
		require.True(t, r.isClient(key))
		shut := func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.ports[r.id].shut[key]
		}
		require.False(t, shut())
		within(t, 2*farewell, "its connections are closed", shut)
		require.False(t, r.isClient(key))
		require.Empty(t, r.dismissed.until)
	})
}
