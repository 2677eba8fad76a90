package kv

import "bytes"

// Query answers an encoded Query with an encoded QueryResult. It changes nothing
// that another answer could depend on. Bytes that are no query give a QueryError.
//
// A Range of the current state is answered by what lies under its span and by
// nothing else, so replicas that have executed to different points give the same
// bytes as long as nothing there has changed between. A Range of an old revision
// and Events depend besides on whether the replica has executed, or compacted, that
// far.
func (m *Machine) Query(q []byte) []byte {
	out, err := EncodeQueryResult(m.answer(q))
	if err != nil {
		panic("kv: answer of our own has no encoding: " + err.Error())
	}
	return out
}

func (m *Machine) answer(b []byte) QueryResult {
	q, err := DecodeQuery(b)
	if err != nil {
		return QueryError{Code: codeOf(err)}
	}
	if events, ok := q.(Events); ok {
		return m.eventsFrom(events)
	}
	o := q.(Range)
	if err := m.readable(o); err != nil {
		return QueryError{Code: codeOf(err)}
	}
	page := PageBytes
	return m.read(o, &page)
}

// Work counts the keys and changes that have been looked at since the start: the
// difference between before and after an operation or a query is what it cost, and
// the same on every replica.
func (m *Machine) Work() uint64 { return m.looked }

// TooMuchWork returns the encoded result of an operation that was not executed,
// because those before it were too much work.
func (m *Machine) TooMuchWork() []byte {
	out, err := EncodeResult(Result{Code: CodeTooMuchWork})
	if err != nil {
		panic("kv: result of our own has no encoding: " + err.Error())
	}
	return out
}

// read returns the keys of a span at a revision known to be there. The page is
// what the answer may still hold.
func (m *Machine) read(o Range, page *int) RangeResult {
	at := o.Revision
	if at == 0 {
		at = latest
	}
	var result RangeResult
	m.ascend(o.Span, func(h *history) {
		v, ok := h.at(at)
		if !ok {
			return
		}
		if o.Limit > 0 && result.Count >= uint64(o.Limit) && !o.CountOnly {
			result.Count++
			result.More = true
			return
		}
		result.add(h.kv(v), page, o.CountOnly)
	})
	return result
}

// add counts a key, and takes it up unless only the count is wanted or the page is
// full. Once a key was left out, all further ones are: what is there has no gaps.
func (r *RangeResult) add(kv KV, page *int, countOnly bool) {
	r.Count++
	switch {
	case countOnly:
	case *page <= 0:
		r.More = true
	default:
		*page -= kv.pageBytes()
		r.KVs = append(r.KVs, kv)
	}
}

// ascend calls visit for the keys of a span in ascending order, deleted ones that
// still have a history among them. Visit must not add or remove keys.
func (m *Machine) ascend(s Span, visit func(*history)) {
	pivot := &history{key: s.Key}
	if s.single() {
		m.looked++
		if h, ok := m.keys.Get(pivot); ok {
			visit(h)
		}
		return
	}
	m.keys.Ascend(pivot, func(h *history) bool {
		if s.endsBefore(h.key) {
			return false
		}
		if h.left(m.compacted) {
			m.looked++
		}
		visit(h)
		return true
	})
}

// left says whether anything of a key is left once what was compacted is released.
func (h *history) left(compacted Revision) bool {
	last := &h.versions[len(h.versions)-1]
	return last.mod > compacted || !last.deleted()
}

// eventsFrom returns a page of events. A page that is full in the middle of a
// revision is cut back to the end of the one before, unless there is none.
func (m *Machine) eventsFrom(q Events) QueryResult {
	from := q.From
	if from == 0 {
		from = m.revision + 1
	}
	if from <= m.compacted {
		return QueryError{Code: CodeCompacted}
	}
	result := EventsResult{Revision: m.revision, Compacted: m.compacted}
	page := PageBytes
	begun := 0 // where the events of the last revision on the page begin
	for _, c := range m.events[m.firstChange(from):] {
		m.looked++
		if !q.wants(c) {
			continue
		}
		n := len(result.Events)
		sameRevision := n > 0 && result.Events[n-1].KV.Mod == c.revision
		if page <= 0 || q.Limit > 0 && uint64(n) >= uint64(q.Limit) {
			result.More = true
			if sameRevision && begun > 0 {
				result.Events = result.Events[:begun]
			} else {
				result.Split = sameRevision
			}
			return result
		}
		if !sameRevision {
			begun = n
		}
		e := c.event(q.PrevKV)
		page -= e.pageBytes()
		result.Events = append(result.Events, e)
	}
	return result
}

// wants says whether the query is about the change.
func (q Events) wants(c change) bool {
	if c.revision == q.From && bytes.Compare(c.history.key, q.FromKey) < 0 {
		return false
	}
	return q.Contains(c.history.key)
}

// versions returns what the change made of the key, and what was there before;
// the latter is false if the key did not exist. Compaction keeps what was there
// before the first change it leaves.
func (c change) versions() (now, before version, existed bool) {
	i := c.history.place(c.revision)
	now = c.history.versions[i]
	if now.mod != c.revision {
		panic("kv: a change has no version")
	}
	if i > 0 && !c.history.versions[i-1].deleted() {
		return now, c.history.versions[i-1], true
	}
	return now, version{}, false
}

// event returns the change in the form of answers. It aliases the store.
func (c change) event(prevKV bool) Event {
	now, before, existed := c.versions()
	e := Event{Deleted: now.deleted(), KV: c.history.kv(now)}
	if prevKV && existed {
		prev := c.history.kv(before)
		e.Prev = &prev
	}
	return e
}
