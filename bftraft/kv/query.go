package kv

import "bytes"

// Query is a question that needs no place in the log: a Range or an Events.
type Query interface {
	check() error
	query()
}

func (o Range) query() {}

func (q Events) query() {}

// Events asks for what happened to the keys of a span, in the order of revisions
// and, within one, of keys. A watch is a row of these questions.
type Events struct {
	Span
	// From is the first revision that is of interest; 0 is the next one, which
	// gives no events but tells the current revision. One that is above the next
	// gives no events either: a watch may begin in the future.
	From Revision
	// FromKey leaves out the events of revision From on lower keys. It is how the
	// page after a split one is asked for; mostly it is empty.
	FromKey []byte
	// Limit is the greatest number of events in the answer; 0 is no limit.
	Limit uint32
	// PrevKV asks for what each key was before the event.
	PrevKV bool
}

func (q Events) check() error {
	if err := q.Span.check(); err != nil {
		return err
	}
	if len(q.FromKey) > MaxKeyBytes+1 {
		return ErrKeyTooLarge
	}
	if q.From == 0 && len(q.FromKey) != 0 {
		return ErrMalformed
	}
	return nil
}

// Event is one change of one key.
type Event struct {
	// Deleted says that the key was removed; then only Key and Mod of KV are set.
	Deleted bool
	// KV is the key after the event; its Mod is the event's revision.
	KV KV
	// Prev is the key before the event, if the question asked for it and the key
	// existed; else nil.
	Prev *KV
}

func (e Event) pageBytes() int {
	n := e.KV.pageBytes()
	if e.Prev != nil {
		n += len(e.Prev.Value)
	}
	return n
}

// check says whether the event could have happened.
func (e Event) check() error {
	if e.Deleted && (len(e.KV.Value) != 0 || e.KV.Create != 0 || e.KV.Version != 0) {
		return ErrMalformed
	}
	if e.Prev != nil && !bytes.Equal(e.Prev.Key, e.KV.Key) {
		return ErrMalformed
	}
	return nil
}

// QueryResult is the answer to a query: a RangeResult, an EventsResult, or a
// QueryError.
type QueryResult interface {
	check() error
	queryResult()
}

// RangeResult answers a Range. It says nothing about the rest of the store, least
// of all its revision: two replicas that hold the same under the span give the
// same bytes, even if one has executed more. That is what lets a client compare
// the answers of several (C3).
type RangeResult struct {
	// Count is the number of all keys in the span.
	Count uint64
	// More says that keys are missing from KVs that were asked for, because of the
	// limit or because the page was full.
	More bool
	// KVs are the keys, ascending.
	KVs []KV
}

// EventsResult answers an Events. Revision and Compacted tell how far this
// replica has executed and compacted: they differ between honest replicas, and
// so may the end of Events. What replicas agree on is every event up to the
// lowest Revision among them, as long as none has compacted beyond From.
type EventsResult struct {
	Revision  Revision
	Compacted Revision
	// More says that there are further events up to Revision: the page was full,
	// or the limit reached.
	More bool
	// Split says that the page ends within a revision. This happens only if the
	// events of a single revision do not fit on a page: else pages end with whole
	// revisions.
	Split  bool
	Events []Event
}

// QueryError is the answer to a query that has none.
type QueryError struct {
	Code Code
}

// Next returns the query for the page that follows this answer, or, if there is
// no more, for what happens next.
func (r EventsResult) Next(q Events) Events {
	q.FromKey = nil
	switch {
	case r.Split && len(r.Events) > 0:
		last := r.Events[len(r.Events)-1].KV
		q.From = last.Mod
		q.FromKey = append(bytes.Clone(last.Key), 0)
	case r.More && len(r.Events) > 0:
		q.From = r.Events[len(r.Events)-1].KV.Mod + 1
	default:
		q.From = max(q.From, r.Revision+1)
	}
	return q
}

func (r RangeResult) queryResult() {}

func (r EventsResult) queryResult() {}

func (r QueryError) queryResult() {}

func (r RangeResult) check() error {
	if uint64(len(r.KVs)) > r.Count {
		return ErrMalformed
	}
	return nil
}

func (r EventsResult) check() error {
	if r.Split && !r.More || r.More && len(r.Events) == 0 || r.Compacted > r.Revision {
		return ErrMalformed
	}
	for _, e := range r.Events {
		if err := e.check(); err != nil {
			return err
		}
	}
	return nil
}

func (r QueryError) check() error {
	if r.Code == CodeOK || r.Code >= codeEnd {
		return ErrMalformed
	}
	return nil
}
