package client

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

// TestRemovedClientLearnsItFromTheChange waits for answers that will not come. That a node says
// that it is no client ends nothing, nor does a change that no quorum has committed.
func TestRemovedClientLearnsItFromTheChange(t *testing.T) {
	playChanging(t, 4, func(s *scene) {
		s.put("a", "1")
		waits := make(chan error, 2)
		go func() {
			_, err := s.client.ReadFrom(s.within(time.Hour), 2, 1000, get(t, "a"))
			waits <- err
		}()
		for id := 1; id <= 4; id++ {
			s.node(id).bends(func(frame []byte) [][]byte {
				if frame[0] == bftraft.FrameReadReply {
					return nil
				}
				return [][]byte{frame}
			})
		}
		go func() {
			_, err := s.client.Read(s.within(time.Hour), get(t, "a"))
			waits <- err
		}()
		removal := bftraft.ChangeStep{Kind: bftraft.RemoveClient, Key: clientKey().Public()}
		s.client.Frame(1, refusalOf(RequestID{}, bftraft.RefusedClient))
		s.client.Frame(1, s.alone(s.proof(s.carrying(s.drafted(removal)))))
		s.pass(time.Second)
		require.Empty(t, waits)
		require.EqualValues(t, 1, s.client.Stats().Nodes[0].Invalid, "it is a lie, and shows")

		s.change(removal)
		s.client.Frame(3, refusalOf(RequestID{}, bftraft.RefusedClient))
		s.pass(10 * time.Millisecond)
		synctest.Wait()
		require.Len(t, waits, 2, "what one node shows proves itself")
		for range 2 {
			require.ErrorIs(t, <-waits, ErrNotAuthorised)
		}
		_, err := s.client.Submit(s.within(time.Second), put(t, "a", "2"))
		require.ErrorIs(t, err, ErrNotAuthorised)
		_, err = s.client.Read(s.within(time.Second), get(t, "a"))
		require.ErrorIs(t, err, ErrNotAuthorised)
	})
}

// alone encodes a change as if one voter sufficed to commit it.
func (c *cluster) alone(p *bftraft.ChangeProof) []byte {
	cc := &p.Commit
	cc.Signers, cc.Sigs, cc.Acks = quorumcert.SetOf(1), cc.Sigs[:1], cc.Acks[:1]
	return p.AppendTo([]byte{bftraft.FrameChangesReply, 0, 0, 0, 1})
}
