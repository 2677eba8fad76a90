package main

import (
	"errors"

	"tangaroa/bftraft"
	"tangaroa/bftraft/kv"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// maxPendingBytes bounds what is held of one node that the others have not confirmed.
const maxPendingBytes = 8 << 20

// merger turns what every node says happened into what f+1 of them say happened. It is pure.
//
// A node's events come in order and without gaps. So if f+1 nodes name the same revision as the
// next one with events, and the same events, an honest one does, and nothing lies in between.
type merger struct {
	faulty int
	at     kv.Revision // the last revision that was confirmed, or before the first wanted
	past   []change    // the newest that were confirmed, without their events
	feeds  [quorumcert.MaxVoters + 1]feed
	differ quorumcert.Set // nodes that said something else about a confirmed revision
	gone   quorumcert.Set // nodes for which the next revision was compacted
}

// maxPast is how many confirmed changes are remembered, to notice who tells them otherwise.
const maxPast = 1024

// feed is one node's side of the story.
type feed struct {
	from    kv.Revision // the next revision to ask for
	fromKey []byte
	pending []change // complete ones above merger.at, ascending
	partial *change  // the rest of it is on the next page
	bytes   int      // in pending and partial
}

// change is what happened in one revision under the span that is watched.
type change struct {
	revision kv.Revision
	events   []kv.Event
	digest   crypto.Digest
	bytes    int
}

func newMerger(faulty int, from kv.Revision) *merger {
	m := &merger{faulty: faulty, at: from - 1}
	for i := range m.feeds {
		m.feeds[i].from = from
	}
	return m
}

// follow goes by other voters from now on, of whom so many may be faulty. What those told that left
// is forgotten, and who comes, perhaps under an id that another had, begins behind what is
// confirmed.
func (m *merger) follow(others quorumcert.Set, faulty int) {
	m.faulty = faulty
	for id := others.Next(0); id != 0; id = others.Next(id) {
		m.feeds[id] = feed{from: m.at + 1}
	}
	m.differ &^= others
	m.gone &^= others
}

// question returns what a node is to be asked next; false as long as there is enough of it.
func (m *merger) question(id bftraft.NodeID, span kv.Span) (kv.Events, bool) {
	f := &m.feeds[id]
	return kv.Events{Span: span, From: f.from, FromKey: f.fromKey}, f.bytes < maxPendingBytes
}

var errPage = errors.New("a page of events that does not answer the question")

// add takes in a node's page and returns the changes that are confirmed by it, in order.
func (m *merger) add(id bftraft.NodeID, page kv.EventsResult) ([]change, error) {
	f := &m.feeds[id]
	last := f.from
	for i, e := range page.Events {
		if e.KV.Mod < last || i == 0 && f.partial != nil && f.partial.revision != e.KV.Mod {
			return nil, errPage
		}
		last = e.KV.Mod
		f.take(e)
	}
	switch {
	case page.More && len(page.Events) == 0:
		return nil, errPage
	case page.Split:
		key := page.Events[len(page.Events)-1].KV.Key
		f.from, f.fromKey = last, append(key[:len(key):len(key)], 0)
	case page.More:
		f.complete()
		f.from, f.fromKey = last+1, nil
	default:
		f.complete()
		f.from, f.fromKey = max(f.from, page.Revision+1), nil
	}
	m.leavePast(id)
	return m.confirm(), nil
}

// take adds an event to the change it belongs to.
func (f *feed) take(e kv.Event) {
	if f.partial != nil && f.partial.revision != e.KV.Mod {
		f.complete()
	}
	if f.partial == nil {
		f.partial = &change{revision: e.KV.Mod}
	}
	size := len(e.KV.Key) + len(e.KV.Value) + 64
	if e.Prev != nil {
		size += len(e.Prev.Value)
	}
	f.partial.events = append(f.partial.events, e)
	f.partial.bytes += size
	f.bytes += size
}

func (f *feed) complete() {
	if f.partial == nil {
		return
	}
	f.partial.digest = digestOf(f.partial.events)
	f.pending = append(f.pending, *f.partial)
	f.partial = nil
}

// digestOf names what happened, whoever tells it.
func digestOf(events []kv.Event) crypto.Digest {
	b, err := kv.EncodeQueryResult(kv.EventsResult{Events: events})
	if err != nil {
		panic("events that were decoded have an encoding: " + err.Error())
	}
	return crypto.Hash(crypto.DomainState, b)
}

// confirm moves on as far as f+1 nodes agree.
func (m *merger) confirm() []change {
	var out []change
	for {
		next, ok := m.agreed()
		if !ok {
			return out
		}
		out = append(out, next)
		m.at = next.revision
		m.past = append(m.past, change{revision: next.revision, digest: next.digest})
		if len(m.past) > maxPast {
			m.past = append(m.past[:0], m.past[maxPast/2:]...)
		}
		for i := range m.feeds {
			id := bftraft.NodeID(i)
			if m.feeds[i].omits(next.revision) {
				m.differ = m.differ.With(id)
			}
			m.leavePast(id)
		}
	}
}

// omits says that a node has gone past a revision and told nothing of it.
func (f *feed) omits(revision kv.Revision) bool {
	return f.from > revision && f.partial == nil &&
		(len(f.pending) == 0 || f.pending[0].revision > revision)
}

// leavePast forgets what a node told of revisions that have been confirmed, and notes if it was
// something else, as far back as is remembered.
func (m *merger) leavePast(id bftraft.NodeID) {
	f := &m.feeds[id]
	for len(f.pending) > 0 && f.pending[0].revision <= m.at {
		told := f.pending[0]
		f.bytes -= told.bytes
		f.pending[0] = change{}
		f.pending = f.pending[1:]
		if len(m.past) > 0 && told.revision >= m.past[0].revision && !m.happened(told) {
			m.differ = m.differ.With(id)
		}
	}
}

func (m *merger) happened(told change) bool {
	for _, c := range m.past {
		if c.revision == told.revision {
			return c.digest == told.digest
		}
	}
	return false
}

func (m *merger) agreed() (change, bool) {
	for i := range m.feeds {
		if len(m.feeds[i].pending) == 0 {
			continue
		}
		head := m.feeds[i].pending[0]
		n := 0
		for j := range m.feeds {
			p := m.feeds[j].pending
			if len(p) > 0 && p[0].revision == head.revision && p[0].digest == head.digest {
				n++
			}
		}
		if n > m.faulty {
			return head, true
		}
	}
	return change{}, false
}

// compacted notes that a node no longer has the revision that is next, and says whether f+1 say so.
func (m *merger) compacted(id bftraft.NodeID) bool {
	m.gone = m.gone.With(id)
	return m.gone.Len() > m.faulty
}
