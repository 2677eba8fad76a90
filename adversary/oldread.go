// OldRead answers reads at once with what was there before the newest change, and claims that it
// has locked nothing, so that nobody is bound to wait for anything. A protocol that takes the word
// of one node for what must have been executed, or of any f+1, reads what a node that is a little
// behind still holds, as soon as a liar agrees with it. Here the greatest lock of a quorum is the
// least that must have been executed, and f+1 that have must agree.

package adversary

import (
	"bytes"

	"tangaroa/bftraft"
	"tangaroa/bftraft/replica"
)

var oldRead = Attack{
	Name: "oldread", Does: "answers reads with what was there before, and claims no lock",
	Caught: "reads go by the greatest lock of a quorum, and f+1 that agree",
	make:   func(*values) Behaviour { return backward{} },
}

type backward struct{ Honest }

// Answer implements Behaviour.
func (backward) Answer(_ *Env, now, before []byte) []byte {
	if before == nil {
		return now
	}
	return before
}

func (backward) Reply(e *Env, _ replica.ClientID, frame []byte) [][]byte {
	r, err := bftraft.DecodeReadReply(frame)
	if err != nil {
		return [][]byte{frame}
	}
	r.Lock, r.LockQC = bftraft.Lock{Hash: e.Cluster()}, nil
	return [][]byte{e.resign(r)}
}

// rememberedQueries is how many queries a liar keeps the former answers of.
const rememberedQueries = 8

// machine is the state machine of a liar, which remembers what it said before.
type machine struct {
	replica.StateMachine
	*Liar
	index  uint64 // the entry that is being executed
	former []*former
	next   int // place in former to be taken next
}

// former is what a query gave before the entry that is being executed, and before that was
// something else.
type former struct{ query, now, before []byte }

// Apply implements replica.StateMachine.
func (m *machine) Apply(index uint64, op []byte) []byte {
	if index != m.index {
		m.index = index
		for _, f := range m.former {
			f.note(m.StateMachine.Query(f.query))
		}
	}
	return m.StateMachine.Apply(index, op)
}

func (f *former) note(answer []byte) {
	if !bytes.Equal(answer, f.now) {
		f.before, f.now = f.now, answer
	}
}

// Query implements replica.StateMachine.
func (m *machine) Query(query []byte) []byte {
	m.env.asked = append(m.env.asked, query)
	now := m.StateMachine.Query(query)
	f := m.recall(query, now)
	f.note(now)
	answer := now
	for _, b := range m.behaviours {
		answer = b.Answer(m.env, answer, f.before)
	}
	return answer
}

func (m *machine) recall(query, now []byte) *former {
	for _, f := range m.former {
		if bytes.Equal(f.query, query) {
			return f
		}
	}
	f := &former{query: bytes.Clone(query), now: now}
	if len(m.former) < rememberedQueries {
		m.former = append(m.former, f)
		return f
	}
	m.former[m.next] = f
	m.next = (m.next + 1) % rememberedQueries
	return f
}

// Freeze implements replica.Freezer, as the others below, by the machine inside.
func (m *machine) Freeze() { m.StateMachine.(replica.Freezer).Freeze() }

// NextChunk implements replica.Freezer.
func (m *machine) NextChunk(size int) ([]byte, bool) {
	return m.StateMachine.(replica.Freezer).NextChunk(size)
}

// Thaw implements replica.Freezer.
func (m *machine) Thaw() { m.StateMachine.(replica.Freezer).Thaw() }
