package bftraft

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// These are scripted attacks (SA-…) that no test of a rule plays; tests/scripted lists them all.

func TestSA07VoteThatWasNotFlushedWasNotSent(t *testing.T) {
	for _, point := range []cutPoint{cutBeforeSave, cutAfterSave, cutWhileSending} {
		l, a := requested(t)
		l.take()
		l.cut = func(*member) cutPoint { return point }
		l.say(3, l.request(2, a))
		require.Nil(t, l.m.core, "the power is gone")
		sent := slices.ContainsFunc(l.take(), func(f frame) bool {
			_, vote := f.msg.(*RequestVoteResponse)
			return vote
		})
		kept := l.m.synced.hard.Vote.Candidate == 3
		require.Equal(t, point != cutBeforeSave, kept)
		require.True(t, kept || !sent, "no vote leaves before it is durable")
		l.cut = nil
		l.start(l.m)
		l.wait(100) // another candidate's window
		if kept {
			require.Equal(t, AlreadyVoted, l.say(4, l.request(2, a)))
			require.Equal(t, NodeID(3), l.m.core.State().Vote.Candidate)
		}
	}
}

// commitMore has clients propose to whoever leads, and complain where nobody serves them, until all
// honest nodes that run have committed up to at.
func commitMore(t *testing.T, h *harness, at Index, why string) {
	waited := 0
	done := h.ticks(6000, func() bool {
		if h.allCommitted(at) {
			return true
		}
		waited++
		for _, m := range h.members {
			if m.core != nil {
				m.core.SetWaiting(m.core.now - m.core.termStart) // E5
			}
		}
		if id := h.leader(); id != 0 && waited%50 == 1 {
			h.propose(id, "x")
		}
		return false
	})
	require.True(t, done, "%s: nothing more is committed\n%s", why, h.picture())
	for _, m := range h.members {
		if m.core != nil {
			m.core.starve(false)
		}
	}
}

// setBack puts back the disk of a node, which counts as faulty from then on.
func setBack(h *harness, m *member, image *disk) {
	m.honest = false
	h.crash(m, 0)
	m.disk, m.synced = image.clone(), image
	h.start(m)
}

func TestSA08AmnesiacLosesNobodyACommit(t *testing.T) {
	for victim := NodeID(1); victim <= 4; victim++ {
		h := newHarness(t, 4, nil)
		commitMore(t, h, 1, "at first")
		first := h.chain[0]
		setBack(h, h.node(victim), &disk{})
		commitMore(t, h, 3, "with one node wiped")
		require.Equal(t, first.Hash(), h.chain[0].Hash())
	}
}

func TestSA20NodeSetBackChangesNothing(t *testing.T) {
	for victim := NodeID(1); victim <= 4; victim++ {
		h := newHarness(t, 4, nil)
		commitMore(t, h, 1, "at first")
		image := h.node(victim).synced.clone()
		commitMore(t, h, 2, "behind the image")
		second := h.chain[1]
		setBack(h, h.node(victim), image)
		commitMore(t, h, 4, "with one node set back")
		require.Equal(t, second.Hash(), h.chain[1].Hash())
	}
}

func TestSA13BridgedNodesCommit(t *testing.T) {
	for a := NodeID(1); a <= 4; a++ {
		for b := a + 1; b <= 4; b++ {
			h := newHarness(t, 4, nil)
			cut := 0
			h.route = func(f frame) {
				if f.from == a && f.to == b || f.from == b && f.to == a {
					cut++
					return
				}
				h.put(f)
			}
			commitMore(t, h, 3, "one link is cut")
			require.Positive(t, cut)
		}
	}
}

func TestSA18OldCertificatesMoveNobodyBack(t *testing.T) {
	h := newHarness(t, 4, nil)
	var old []frame
	h.route = func(f frame) {
		old = append(old, f)
		h.put(f)
	}
	commitMore(t, h, 1, "at first")
	gone := h.leader()
	h.crash(h.node(gone), 0)
	commitMore(t, h, 2, "without the first leader")
	h.route = nil
	for _, m := range h.members {
		if m.core != nil {
			h.crash(m, len(m.unsynced))
		}
	}
	h.flying = nil
	var terms []Term
	for _, m := range h.members {
		h.start(m)
		terms = append(terms, m.core.Term())
	}
	require.Equal(t, Term(2), slices.Max(terms), "the replay has two terms in it")
	chain := len(h.chain)
	for _, f := range old {
		h.hand(f)
		h.work(h.receiver(f))
	}
	for k, m := range h.members {
		require.GreaterOrEqual(t, m.core.Term(), terms[k])
	}
	require.Len(t, h.chain, chain, "what was said again commits nothing new")
	commitMore(t, h, Index(chain)+2, "after the replay")
}
