package judge

import (
	"bytes"

	"tangaroa/bftraft"
	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

// readVoice is the newest answer of one voter.
type readVoice struct {
	signer   bftraft.NodeID
	executed bftraft.Index
	mute     bool // its result did not fit into the answer
	result   []byte
}

// voiceOf returns what an answer says about one of the queries.
func voiceOf(r *bftraft.ReadReply, place int) readVoice {
	v := readVoice{signer: r.Signer, executed: r.Executed, mute: place >= len(r.Results)}
	if !v.mute {
		v.result = r.Results[place]
	}
	return v
}

// ReadTally counts the answers to one query until a linearizable result stands (C3): the
// greatest lock index of the first Q voters is the read index, and f+1 voters that have executed at
// least that far must agree on the result.
//
// Why that is enough: a write that was complete before the question was asked is locked by Q
// voters, and any Q others share an honest one with them; so the read index is not below it. Among
// f+1 that agree one is honest.
type ReadTally struct {
	config *quorumcert.Configuration
	place  int            // of the query in its question
	locks  quorumcert.Set // voters whose lock was counted: at most Q
	index  bftraft.Index  // the greatest of them
	voices []readVoice    // at most one for each voter
	newer  quorumcert.Set // voters that go by a newer configuration

	settled bool
	result  []byte
	at      bftraft.Index
	same    quorumcert.Set // those that vouch for the result
	differ  quorumcert.Set // those that contradict f+1 others about one and the same state
}

// NewReadTally returns the tally of a question of one query that is asked under a configuration.
func NewReadTally(c *quorumcert.Configuration) *ReadTally { return &ReadTally{config: c} }

// Add counts an answer that came over the link of its signer, has the nonce of the question, and
// was verified. A node that is asked again answers again; what it has executed only grows.
func (t *ReadTally) Add(r *bftraft.ReadReply) Verdict {
	if !t.config.Has(r.Signer) {
		return Alien
	}
	if r.Configuration > t.config.Entry() {
		t.newer = t.newer.With(r.Signer)
		return Counted
	}
	if t.settled {
		return t.late(r)
	}
	if !t.fixed() && !t.locks.Has(r.Signer) {
		t.locks = t.locks.With(r.Signer)
		if !mutant.On(mutant.M34) {
			t.index = max(t.index, r.Lock.Index)
		}
	}
	if !t.note(voiceOf(r, t.place)) {
		return Repeats
	}
	return t.settle()
}

// fixed says that the read index is known. Once it is, further locks do not move it.
func (t *ReadTally) fixed() bool {
	return t.locks.Len() >= t.config.Size().Q ||
		mutant.On(mutant.M35) && t.locks.Len() > t.config.Size().F
}

// note keeps the answer unless the node has given it before, or a newer one.
func (t *ReadTally) note(said readVoice) bool {
	for i := range t.voices {
		v := &t.voices[i]
		if v.signer != said.signer {
			continue
		}
		if v.executed >= said.executed {
			return false
		}
		*v = said
		return true
	}
	if t.voices == nil {
		t.voices = make([]readVoice, 0, t.config.Size().N)
	}
	t.voices = append(t.voices, said)
	return true
}

// settle looks for f+1 voters that have executed far enough and agree.
func (t *ReadTally) settle() Verdict {
	if !t.fixed() {
		return Counted
	}
	for _, v := range t.voices {
		if v.mute || v.executed < t.index {
			continue
		}
		same := t.vouching(v.result)
		if same.Len() <= t.config.Size().F && !mutant.On(mutant.M36) {
			continue
		}
		t.settled, t.result, t.same = true, v.result, same
		for _, w := range t.voices {
			if same.Has(w.signer) {
				t.at = max(t.at, w.executed)
			}
		}
		for _, w := range t.voices {
			if t.contradicts(w) {
				t.differ = t.differ.With(w.signer)
			}
		}
		return Settled
	}
	return Counted
}

// vouching returns the voters that have executed far enough and give this result.
func (t *ReadTally) vouching(result []byte) quorumcert.Set {
	var same quorumcert.Set
	for _, v := range t.voices {
		if !v.mute && v.executed >= t.index && bytes.Equal(v.result, result) {
			same = same.With(v.signer)
		}
	}
	return same
}

// contradicts says that f+1 voters have executed exactly as far as this one and agree on another
// result. Who has executed further or less may well have another one.
func (t *ReadTally) contradicts(v readVoice) bool {
	n := 0
	for _, w := range t.voices {
		if t.same.Has(w.signer) && w.executed == v.executed {
			n++
		}
	}
	return n > t.config.Size().F && !v.mute && !bytes.Equal(v.result, t.result)
}

func (t *ReadTally) late(r *bftraft.ReadReply) Verdict {
	if t.contradicts(voiceOf(r, t.place)) {
		t.differ = t.differ.With(r.Signer)
		return Dissents
	}
	return Agrees
}

// Result returns the accepted result, how far the furthest of those that vouch for it has executed,
// and who they are; false as long as there is none.
func (t *ReadTally) Result() (result []byte, at bftraft.Index, by quorumcert.Set, ok bool) {
	return t.result, t.at, t.same, t.settled
}

// ReadIndex returns the index that must have been executed; false as long as fewer than Q voters
// have answered.
func (t *ReadTally) ReadIndex() (bftraft.Index, bool) { return t.index, t.fixed() }

// Unheard returns the voters that have not answered at all, or by a newer configuration only: they
// are asked again, and show the newer one again, should that have been lost.
func (t *ReadTally) Unheard() quorumcert.Set {
	unheard := t.config.Members()
	for _, v := range t.voices {
		unheard = unheard.Without(v.signer)
	}
	return unheard
}

// Behind returns the voters that had not executed as far as the read index when they answered.
// They have to be asked again, with the read index as the least index.
func (t *ReadTally) Behind() quorumcert.Set {
	var behind quorumcert.Set
	if !t.fixed() {
		return 0
	}
	for _, v := range t.voices {
		if v.executed < t.index {
			behind = behind.With(v.signer)
		}
	}
	return behind
}

// Exhausted says that a quorum has executed far enough and no f+1 of it agree: what is read keeps
// changing, and the whole question should be asked anew.
func (t *ReadTally) Exhausted() bool {
	n := 0
	for _, v := range t.voices {
		if v.executed >= t.index {
			n++
		}
	}
	return !t.settled && n >= t.config.Size().Q // so many have fixed the read index
}

// Crowded says that a voter had no room left for the result in its answer.
func (t *ReadTally) Crowded() bool {
	for _, v := range t.voices {
		if v.mute {
			return true
		}
	}
	return false
}

// Superseded says that f+1 voters go by a newer configuration, so an honest one does.
func (t *ReadTally) Superseded() bool { return t.newer.Len() > t.config.Size().F }

// Dissenters returns the voters that contradict the accepted result.
func (t *ReadTally) Dissenters() quorumcert.Set { return t.differ }
