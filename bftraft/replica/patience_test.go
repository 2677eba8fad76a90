package replica

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
)

// TestE6PatienceGrowsUntilRequestsAreServed: acks take longer than a leader is given at first, and
// everything else no time, so that no term is longer than the one before for the timeout alone. Nor
// does it help that rounds took no time before (E5b). Once leaders are given enough it is not taken
// back between two requests.
func TestE6PatienceGrowsUntilRequestsAreServed(t *testing.T) {
	for _, tc := range []struct {
		before int
		halves uint64
	}{{1, 6}, {24, 3}, {24, 6}} {
		name := fmt.Sprintf("%d writes, then %d halves of a timeout", tc.before, tc.halves)
		settles := t.Run(name, func(t *testing.T) {
			s := newSlowAcks(t, tc.before, tc.halves)
			require.Positive(t, s.write())
			for calm, writes := 0, 1; calm < 10; writes++ {
				require.Less(t, writes, 30)
				if calm++; s.write() > 0 {
					calm = 0
				}
			}
		})
		if !settles {
			break
		}
	}
}

// slowAcks is a group whose acks are held for some time once so many writes have been made.
type slowAcks struct {
	*group
	later   *later
	timeout uint64
}

func newSlowAcks(t *testing.T, writes int, halves uint64) *slowAcks {
	g := newGroup(t)
	s := &slowAcks{g, &later{g: g}, g.mate(1).proc.core.Timeout()}
	g.write(1, writes)
	g.alter = func(p parcel, m bftraft.Message) bftraft.Message {
		if _, ok := m.(*bftraft.AppendEntriesResponse); ok {
			s.later.hold(p, halves*s.timeout/2)
			return nil
		}
		return m
	}
	return s
}

// write waits until a request has been executed, and returns how many terms that took.
func (s *slowAcks) write() (terms bftraft.Term) {
	s.requests++
	req := bftraft.SignRequest(s.verifier.Cluster(), s.client, 1, s.requests,
		[][]byte{fmt.Append(nil, "op", s.requests)})
	for _, m := range s.mates {
		m.proc.Request(ClientID{Key: req.Client}, 0, req)
		m.flush()
	}
	one := s.mate(1).proc
	began, term := one.Executed().Index, one.core.Term()
	for n := uint64(0); one.Executed().Index == began; n++ {
		require.Less(s.t, n, 150*s.timeout, "term %d", one.core.Term())
		s.ticks(1)
		s.later.deliver()
	}
	return one.core.Term() - term
}
