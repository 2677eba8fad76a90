package bftraft

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// talkAll has the others talk on for so many ticks, and says whether the node suspects the term for
// what it is locked on.
func (l *lab) talkAll(tip Position, commits [5]Position, ticks int) bool {
	for range ticks {
		l.wait(1)
		for id := NodeID(2); id <= 4; id++ {
			l.say(id, &Status{
				Term: 1, Leader: 2, Tip: tip, Lock: l.genesisLock(), Commit: commits[id],
			})
		}
	}
	return l.m.core.State().Suspects == CauseHeldUp
}

// TestE1fWhatIsCertifiedAndNotCommittedIsHeldAgainstTheLeader: it talks, and no client waits; but
// what is locked may have been committed, by acks that nobody remembers.
func TestE1fWhatIsCertifiedAndNotCommittedIsHeldAgainstTheLeader(t *testing.T) {
	l, a := locked(t, "a")
	o := l.origin()
	talk := func(ticks int) bool { return l.talkAll(a.End(), [5]Position{2: a.End(), o, o}, ticks) }
	require.False(t, talk(79))
	require.True(t, talk(1), "twice the timeout of 40; what one of four says it has does not count")
	require.True(t, l.suspects(1))
	for id := NodeID(3); id <= 4; id++ {
		l.say(id, l.response(id, 1, a.End(), a.Last()))
	}
	require.Equal(t, a.Last(), l.m.core.State().Commit.Index)
	l.wait(1)
	require.Equal(t, CauseNone, l.m.core.State().Suspects)
	b := l.block(a.End(), "b")
	l.say(2, l.proposal(2, 1, b.End(), b))
	require.False(t, talk(400), "nor is what is certified nowhere, or committed")
	l.say(3, l.response(3, 1, b.End(), a.Last()))
	l.say(4, l.response(4, 1, b.End(), a.Last()))
	require.Equal(t, lockAt(1, b), l.m.core.State().Lock)
	require.False(t, talk(79), "it counts from the lock")
	require.True(t, talk(1))
	l.say(3, &Proof{TermProof: TermProof{TC: l.tc(1)}})
	l.elect(3, 2, lockAt(1, b), l.qc(1, b.End()))
	l.wait(30)
	require.Equal(t, CauseNone, l.m.core.State().Suspects, "and anew in each term")
}

// TestE1fWhoAloneIsBehindSuspectsNobody: it may be fetching what the others have, for a long time,
// and with its word f liars would depose any leader.
func TestE1fWhoAloneIsBehindSuspectsNobody(t *testing.T) {
	l, a := locked(t, "a")
	o := l.origin()
	require.False(t, l.talkAll(a.End(), [5]Position{2: o, a.End(), a.End()}, 400))
	require.False(t, l.suspects(1))
	require.True(t, l.talkAll(a.End(), [5]Position{2: o, o, a.End()}, 2))
}

// heldUpAfter returns how many ticks it takes until the term is suspected in which all others talk.
func (l *lab) heldUpAfter(t Term, leader NodeID, tip, commit Position, most int) (ticks int) {
	for l.m.core.State().Suspects == CauseNone && ticks < most {
		l.wait(1)
		ticks++
		for id := NodeID(2); id <= 4; id++ {
			l.say(id, &Status{
				Term: t, Leader: leader, Tip: tip, Lock: l.genesisLock(), Commit: commit,
			})
		}
	}
	return ticks
}

// TestE1fEachLeaderIsGivenTwiceAsLong: it may be an honest node that keeps the acks waiting, as it
// fetches what it lacks, and begins anew in each term.
func TestE1fEachLeaderIsGivenTwiceAsLong(t *testing.T) {
	l, a := locked(t, "a")
	leader := NodeID(2)
	for term := Term(1); term < 5; term++ {
		require.Equal(t, 80<<(term-1), l.heldUpAfter(term, leader, a.End(), l.origin(), 10_000))
		require.Equal(t, CauseHeldUp, l.m.core.State().Suspects)
		leader = 2 + leader%3
		l.say(3, &Proof{TermProof: TermProof{TC: l.tc(term)}})
		require.Equal(t, Accepted, l.elect(leader, term+1, lockAt(1, a), l.qc(1, a.End())))
	}
	for id := NodeID(2); id <= 4; id++ {
		l.say(id, l.response(id, 5, a.End(), a.Last()))
	}
	require.Equal(t, a.Last(), l.m.core.State().Commit.Index)
	require.Zero(t, l.m.core.blamed)
}

// TestE1fVoterInAnotherTermCountsAsWell: what it has not committed it has not, wherever it is.
func TestE1fVoterInAnotherTermCountsAsWell(t *testing.T) {
	l, a := locked(t, "a")
	for range 81 {
		l.wait(1)
		l.say(2, &Status{Term: 1, Leader: 2, Lock: l.genesisLock(), Commit: a.End()})
		l.say(3, &Status{Term: 1, Leader: 2, Lock: l.genesisLock(), Commit: l.origin()})
		l.say(4, &Status{Term: 5, Lock: l.genesisLock(), Commit: l.origin()})
	}
	require.Equal(t, CauseHeldUp, l.m.core.State().Suspects)
}

// TestE1fLockThatNobodyCanHaveCommittedIsHeldAgainstNobody: a quorum elected a leader below it, and
// that has no log yet which could be certified in its place.
func TestE1fLockThatNobodyCanHaveCommittedIsHeldAgainstNobody(t *testing.T) {
	l, a := locked(t, "a")
	l.say(3, &Proof{TermProof: TermProof{TC: l.tc(1)}})
	require.Equal(t, Accepted, l.elect(3, 2, l.genesisLock(), nil))
	l.heldUpAfter(2, 3, l.origin(), l.origin(), 1000)
	require.Equal(t, lockAt(1, a), l.m.core.State().Lock)
	require.Equal(t, CauseNone, l.m.core.State().Suspects)
}

// TestE1fClosingEntryMayWaitForTheIncoming: whom no other leader can do without either.
func TestE1fClosingEntryMayWaitForTheIncoming(t *testing.T) {
	l, last := lockedJoint(t)
	for id := NodeID(2); id <= 4; id++ {
		l.say(id, l.response(id, 1, last.End(), last.Last()))
	}
	k, qc, _ := l.closingOf(last)
	l.say(2, l.proposal(2, 1, k.End(), k))
	l.say(2, &Proof{TermProof: TermProof{QC: qc}})
	for id := NodeID(2); id <= 4; id++ {
		l.say(id, l.response(id, 1, k.End(), k.Last()))
	}
	require.Equal(t, lockAt(1, k), l.m.core.State().Lock)
	require.Equal(t, last.Last(), l.m.core.State().Commit.Index)
	l.heldUpAfter(1, 2, k.End(), last.End(), 1000)
	require.Equal(t, CauseNone, l.m.core.State().Suspects)
}

// TestE1fVoterThatFetchesSlowlyGetsThere: 3 was away while 1 and 2 locked, with acks of 4, which
// lies: it claims nothing, and suspects whoever leads. Nobody asks for anything.
func TestE1fVoterThatFetchesSlowlyGetsThere(t *testing.T) {
	const slow, liar = NodeID(3), NodeID(4)
	h := newHarness(t, 4, nil)
	h.node(liar).honest = false
	away := true
	h.route = func(f frame) {
		switch m := f.msg.(type) {
		case *AppendEntriesResponse:
			if f.from == liar && (m.Ack.Certified > 0 || !away) {
				return
			}
		case *Status, *Suspect, *RequestVoteResponse, *Proof:
		case *Chain:
			if f.to == slow {
				f.due += 40
			}
			if f.from == liar {
				return
			}
		default:
			if f.from == liar {
				return
			}
		}
		if !away || f.to != slow && f.from != slow {
			h.put(f)
		}
	}
	led := func() bool {
		l := h.core(1).Leader()
		return (l == 1 || l == 2) && h.core(l).leading() && h.core(3-l).Leader() == l
	}
	require.True(t, h.ticks(4000, led), h.picture())
	big := strings.Repeat("x", 200<<10)
	for k := 0; k < 14; h.tick() {
		if h.propose(h.core(1).Leader(), big, big, big) {
			k++
		}
	}
	h.ticks(10, nil)
	require.Positive(t, h.core(1).lock.Index)
	require.Zero(t, h.core(1).commit.Index)
	away = false
	require.True(t, h.ticks(4000, func() bool {
		if h.now%5 == 0 {
			s := (&lab{harness: h}).suspect(liar, max(h.core(1).Term(), h.core(2).Term()))
			for id := NodeID(1); id <= 3; id++ {
				h.put(frame{from: liar, to: id, msg: s, raw: Encode(s), due: h.now + 1})
			}
		}
		return h.core(1).commit.Index > 0
	}), h.picture())
}
