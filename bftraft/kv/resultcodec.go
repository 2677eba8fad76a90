package kv

// EncodeResult returns the encoding of a result. It fails with ErrMalformed on
// one that no operation has.
func EncodeResult(result Result) ([]byte, error) {
	if err := result.check(); err != nil {
		return nil, err
	}
	w := newWriter(64)
	w.AddUint8(uint8(result.Code))
	if result.Code != CodeOK {
		return w.Bytes()
	}
	w.AddUint8(uint8(result.Kind))
	w.AddUint64(uint64(result.Revision))
	if result.Kind == KindTxn {
		w.flag(result.Succeeded)
		w.AddUint8(uint8(len(result.Ops)))
	}
	for _, op := range result.Ops {
		if result.Kind == KindTxn {
			w.AddUint8(uint8(op.Kind))
		}
		w.AddUint64(op.Count)
		w.flag(op.More)
		w.kvs(op.KVs)
	}
	return w.Bytes()
}

// DecodeResult returns the result that the bytes encode. Its keys and values
// alias the bytes.
func DecodeResult(b []byte) (Result, error) {
	if len(b) > MaxResultBytes {
		return Result{}, ErrMalformed
	}
	r := newReader(b)
	result := Result{Code: Code(r.u8())}
	if result.Code == CodeOK {
		r.result(&result)
	}
	if err := r.done(); err != nil {
		return Result{}, err
	}
	if err := result.check(); err != nil {
		return Result{}, err
	}
	return result, nil
}

func (r *reader) result(result *Result) {
	result.Kind = Kind(r.u8())
	result.Revision = r.revision()
	ops := 1
	switch result.Kind {
	case KindTxn:
		result.Succeeded = r.flag()
		ops = int(r.u8())
	case KindCompact:
		ops = 0
	}
	for range ops {
		if r.bad {
			return
		}
		op := OpResult{Kind: result.Kind}
		if result.Kind == KindTxn {
			op.Kind = Kind(r.u8())
		}
		op.Count = r.u64()
		op.More = r.flag()
		op.KVs = r.kvs()
		result.Ops = append(result.Ops, op)
	}
}

// The bytes that name the kind of a query and of its result.
const (
	queryRange  = 1
	queryEvents = 2
	queryError  = 3
)

// EncodeQuery returns the encoding of a query, or an error that says which limit
// it exceeds.
func EncodeQuery(q Query) ([]byte, error) {
	if q == nil {
		return nil, ErrMalformed
	}
	if err := q.check(); err != nil {
		return nil, err
	}
	w := newWriter(64)
	switch q := q.(type) {
	case Range:
		w.AddUint8(queryRange)
		w.rangeFields(q)
	case Events:
		w.AddUint8(queryEvents)
		w.span(q.Span)
		w.AddUint64(uint64(q.From))
		w.key(q.FromKey)
		w.AddUint32(q.Limit)
		w.flag(q.PrevKV)
	default:
		return nil, ErrMalformed
	}
	return w.Bytes()
}

// DecodeQuery returns the query that the bytes encode, or an error that says what
// is wrong with it. Its keys alias the bytes.
func DecodeQuery(b []byte) (Query, error) {
	r := newReader(b)
	var q Query
	switch r.u8() {
	case queryRange:
		q = r.rangeFields()
	case queryEvents:
		q = Events{
			Span: r.span(), From: r.revision(), FromKey: r.key(), Limit: r.u32(), PrevKV: r.flag(),
		}
	default:
		r.must(false)
	}
	if err := r.done(); err != nil {
		return nil, err
	}
	if err := q.check(); err != nil {
		return nil, err
	}
	return q, nil
}

// EncodeQueryResult returns the encoding of the answer to a query. It fails with
// ErrMalformed on one that no query has.
func EncodeQueryResult(result QueryResult) ([]byte, error) {
	if result == nil {
		return nil, ErrMalformed
	}
	if err := result.check(); err != nil {
		return nil, err
	}
	w := newWriter(64)
	switch result := result.(type) {
	case RangeResult:
		w.AddUint8(queryRange)
		w.AddUint64(result.Count)
		w.flag(result.More)
		w.kvs(result.KVs)
	case EventsResult:
		w.AddUint8(queryEvents)
		w.AddUint64(uint64(result.Revision))
		w.AddUint64(uint64(result.Compacted))
		w.flag(result.More)
		w.flag(result.Split)
		w.AddUint32(uint32(len(result.Events)))
		for _, e := range result.Events {
			w.event(e)
		}
	case QueryError:
		w.AddUint8(queryError)
		w.AddUint8(uint8(result.Code))
	default:
		return nil, ErrMalformed
	}
	return w.Bytes()
}

// DecodeQueryResult returns the answer that the bytes encode. Its keys and values
// alias the bytes.
func DecodeQueryResult(b []byte) (QueryResult, error) {
	if len(b) > MaxResultBytes {
		return nil, ErrMalformed
	}
	r := newReader(b)
	var result QueryResult
	switch r.u8() {
	case queryRange:
		result = RangeResult{Count: r.u64(), More: r.flag(), KVs: r.kvs()}
	case queryEvents:
		result = r.eventsResult()
	case queryError:
		result = QueryError{Code: Code(r.u8())}
	default:
		r.must(false)
	}
	if err := r.done(); err != nil {
		return nil, err
	}
	if err := result.check(); err != nil {
		return nil, err
	}
	return result, nil
}

func (w writer) event(e Event) {
	w.flag(e.Deleted)
	w.key(e.KV.Key)
	if e.Deleted {
		w.AddUint64(uint64(e.KV.Mod))
	} else {
		w.held(e.KV)
	}
	w.flag(e.Prev != nil)
	if e.Prev != nil {
		w.held(*e.Prev)
	}
}

// eventBytes is the length of the shortest encoded event.
const eventBytes = 1 + 2 + 8 + 1

func (r *reader) eventsResult() EventsResult {
	result := EventsResult{
		Revision: r.revision(), Compacted: r.revision(), More: r.flag(), Split: r.flag(),
	}
	n := r.count(eventBytes)
	for range n {
		if r.bad {
			break
		}
		result.Events = append(result.Events, r.event())
	}
	return result
}

func (r *reader) event() Event {
	e := Event{Deleted: r.flag()}
	e.KV.Key = r.key()
	if e.Deleted {
		e.KV.Mod = r.revision()
	} else {
		r.held(&e.KV)
	}
	if r.flag() {
		e.Prev = &KV{Key: e.KV.Key}
		r.held(e.Prev)
	}
	return e
}
