package kv

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"
)

// opVectors pins the encoding of operations: the bytes that clients sign.
var opVectors = []struct {
	op  Op
	hex string
}{
	{Put{Key: []byte("k"), Value: []byte("v")}, "0100016b0000017600"},
	{Put{Key: []byte("k"), PrevKV: true}, "0100016b00000001"},
	{Delete{Span: One([]byte("k"))}, "0200016b000000"},
	{Delete{Span: Prefix([]byte("k")), PrevKV: true}, "0200016b00016c01"},
	{
		Range{Span: All(), Revision: 258, Limit: 3, CountOnly: true},
		"030001000001000000000000000102" + "0000000301",
	},
	{Txn{}, "04000000"},
	{
		CompareAndSwap([]byte("k"), []byte("a"), []byte("b")),
		"0401" + "00016b010100000161" + "01" + "0100016b0000016200" +
			"01" + "0300016b0000000000000000000000000000" + "00",
	},
	{
		Txn{Compares: []Compare{
			{Key: []byte("k"), Target: TargetVersion, Relation: Less, Number: 7},
		}},
		"0401" + "00016b02040000000000000007" + "0000",
	},
	{Compact{Revision: 5}, "050000000000000005"},
}

func TestOperationsHaveFixedEncodings(t *testing.T) {
	for _, v := range opVectors {
		b, err := EncodeOp(v.op)
		require.NoError(t, err)
		require.Equal(t, v.hex, hex.EncodeToString(b), "%#v", v.op)
		op, err := DecodeOp(b)
		require.NoError(t, err)
		require.Equal(t, v.op, op)
		require.NoError(t, CheckOp(b))
	}
}

// resultVectors pins the encoding of results: the leaves of replies.
var resultVectors = []struct {
	result Result
	hex    string
}{
	{Result{Code: CodeCompacted}, "09"},
	{Result{Kind: KindCompact, Revision: 2}, "00050000000000000002"},
	{
		Result{Kind: KindPut, Revision: 2, Ops: []OpResult{{Kind: KindPut}}},
		"00010000000000000002" + "0000000000000000" + "00" + "00000000",
	},
	{
		Result{Kind: KindTxn, Revision: 2, Succeeded: true, Ops: []OpResult{
			{Kind: KindRange, Count: 5, More: true, KVs: []KV{kvOf("k", "v", 1, 2, 3)}},
		}},
		"00040000000000000002" + "0101" + "03" + "0000000000000005" + "01" + "00000001" +
			"00016b" + "0000000000000001" + "0000000000000002" + "0000000000000003" + "00000176",
	},
}

func TestResultsHaveFixedEncodings(t *testing.T) {
	for _, v := range resultVectors {
		b, err := EncodeResult(v.result)
		require.NoError(t, err)
		require.Equal(t, v.hex, hex.EncodeToString(b), "%#v", v.result)
		result, err := DecodeResult(b)
		require.NoError(t, err)
		require.Equal(t, v.result, result)
	}
}

var (
	someQueries = []Query{
		Range{Span: One([]byte("k"))},
		Range{Span: All(), Revision: 1, Limit: 2, CountOnly: true},
		Events{Span: All()},
		Events{Span: All(), From: 3, FromKey: []byte("k"), Limit: 4, PrevKV: true},
	}
	someQueryResults = []QueryResult{
		RangeResult{},
		RangeResult{Count: 2, More: true, KVs: []KV{kvOf("k", "v", 1, 2, 3)}},
		EventsResult{},
		EventsResult{Revision: 9, Compacted: 1, More: true, Split: true, Events: []Event{
			{KV: kvOf("k", "v", 1, 2, 3)},
			{Deleted: true, KV: KV{Key: []byte("k"), Mod: 3}, Prev: &KV{
				Key: []byte("k"), Value: []byte("v"), Create: 1, Mod: 2, Version: 3,
			}},
		}},
		QueryError{Code: CodeFutureRevision},
	}
)

func TestQueriesAndTheirResultsSurviveEncoding(t *testing.T) {
	for _, q := range someQueries {
		b, err := EncodeQuery(q)
		require.NoError(t, err)
		got, err := DecodeQuery(b)
		require.NoError(t, err)
		require.Equal(t, q, got)
	}
	for _, r := range someQueryResults {
		b, err := EncodeQueryResult(r)
		require.NoError(t, err)
		got, err := DecodeQueryResult(b)
		require.NoError(t, err)
		require.Equal(t, r, got)
	}
}

// oversize holds what the limits are tried with.
type oversize struct {
	key, long, large, half []byte
	reads, four            []Op
	compare                Compare
}

func newOversize() oversize {
	o := oversize{
		key: []byte("k"), long: make([]byte, MaxKeyBytes+1),
		large: make([]byte, MaxValueBytes+1), half: make([]byte, MaxOpBytes/4),
		compare: Compare{Key: []byte("k"), Target: TargetValue, Relation: Equal},
	}
	for range MaxTxnOps + 1 {
		o.reads = append(o.reads, Range{Span: One(o.key)})
	}
	for _, key := range []string{"a", "b", "c", "d"} {
		o.four = append(o.four, Put{Key: []byte(key), Value: o.half})
	}
	return o
}

// limitCase is an operation that exceeds a limit.
type limitCase struct {
	name string
	op   Op
	want error
}

func limitCases(o oversize) []limitCase {
	k := o.key
	when := func(c Compare) Op { return Txn{Compares: []Compare{c}} }
	return []limitCase{
		{"put without key", Put{}, ErrEmptyKey},
		{"put of a long key", Put{Key: o.long}, ErrKeyTooLarge},
		{"put of a large value", Put{Key: k, Value: o.large}, ErrValueTooLarge},
		{"delete without key", Delete{}, ErrEmptyKey},
		{"delete of a long key", Delete{Span: One(o.long)}, ErrKeyTooLarge},
		{"delete to a long key", Delete{Span: Span{Key: k, End: o.long}}, ErrKeyTooLarge},
		{"delete of an empty span", Delete{Span: Span{Key: k, End: k}}, ErrEmptySpan},
		{"range backwards", Range{Span: Span{Key: k, End: []byte("j")}}, ErrEmptySpan},
		{"range without key", Range{}, ErrEmptyKey},
		{"txn with a bad put", Txn{Then: []Op{Put{}}}, ErrEmptyKey},
		{"txn with a bad put in else", Txn{Else: []Op{Put{}}}, ErrEmptyKey},
		{"txn too long", Txn{Then: o.reads}, ErrTooManyOps},
		{"txn too long in else", Txn{Else: o.reads}, ErrTooManyOps},
		{
			"txn with too many compares",
			Txn{Compares: repeated(o.compare, MaxTxnOps+1)}, ErrTooManyOps,
		},
		{"txn too large", Txn{Then: o.four}, ErrOpTooLarge},
		{"two puts", Txn{Then: []Op{Put{Key: k}, Put{Key: k}}}, ErrDuplicateKey},
		{
			"put, then delete",
			Txn{Else: []Op{Put{Key: k}, Delete{Span: All()}}}, ErrDuplicateKey,
		},
		{
			"delete, then put",
			Txn{Then: []Op{Delete{Span: All()}, Put{Key: k}}}, ErrDuplicateKey,
		},
		{"compare without key", when(Compare{Target: TargetMod, Relation: Equal}), ErrEmptyKey},
		{"compare of nothing", when(Compare{Key: k, Relation: Equal}), ErrMalformed},
		{"compare of what", when(Compare{Key: k, Target: 5, Relation: Equal}), ErrMalformed},
		{"compare not", when(Compare{Key: k, Target: TargetMod}), ErrMalformed},
		{"compare how", when(Compare{Key: k, Target: TargetMod, Relation: 5}), ErrMalformed},
		{
			"compare with a large value",
			when(Compare{Key: k, Target: TargetValue, Relation: Equal, Value: o.large}),
			ErrValueTooLarge,
		},
	}
}

// TestLimitsAreNamedOnBothSides checks that encoding refuses what exceeds a limit,
// and that an encoding made without asking is refused for the same reason by
// CheckOp, and by Apply with the code of that name, without effect.
func TestLimitsAreNamedOnBothSides(t *testing.T) {
	o := newOversize()
	m := New()
	before := m.Digest()
	for _, c := range limitCases(o) {
		_, err := EncodeOp(c.op)
		require.ErrorIs(t, err, c.want, c.name)
		w := newWriter(0)
		require.True(t, w.op(c.op))
		b := w.BytesOrPanic()
		require.ErrorIs(t, CheckOp(b), c.want, c.name)
		result, err := DecodeResult(m.Apply(1, b))
		require.NoError(t, err)
		require.Equal(t, Result{Code: codeOf(c.want)}, result, c.name)
		require.ErrorIs(t, result.Code.Err(), c.want)
		require.Equal(t, before, m.Digest())
	}
	most := repeated(o.compare, MaxTxnOps)
	reads := o.reads[:MaxTxnOps]
	sweep := Delete{Span: All()}
	for _, op := range []Op{
		Put{Key: o.long[:MaxKeyBytes], Value: o.large[:MaxValueBytes]},
		Delete{Span: One(o.long[:MaxKeyBytes])},
		Delete{Span: Span{Key: []byte{0}, End: o.long[:MaxKeyBytes]}},
		Txn{Then: reads, Else: reads, Compares: most},
		Txn{Then: o.four[:3], Else: []Op{Put{Key: o.key}}},
		Txn{Then: []Op{sweep, Delete{Span: One(o.key)}}, Else: []Op{Put{Key: o.key}}},
	} {
		b, err := EncodeOp(op)
		require.NoError(t, err)
		require.NoError(t, CheckOp(b))
	}
}

// repeated repeats a compare.
func repeated(c Compare, n int) []Compare {
	out := make([]Compare, n)
	for i := range out {
		out[i] = c
	}
	return out
}

func TestValuesWithoutEncodingAreRefused(t *testing.T) {
	k := []byte("k")
	for _, op := range []Op{
		nil,
		&Put{Key: k},
		Txn{Then: []Op{nil}},
		Txn{Then: []Op{Txn{}}},
		Txn{Else: []Op{Compact{}}},
		Txn{Compares: []Compare{{Key: k, Target: TargetValue, Relation: Equal, Number: 1}}},
		Txn{Compares: []Compare{{Key: k, Target: TargetMod, Relation: Equal, Value: k}}},
	} {
		_, err := EncodeOp(op)
		require.ErrorIs(t, err, ErrMalformed, "%#v", op)
	}
	one := []OpResult{{Kind: KindPut}}
	for _, r := range []Result{
		{},
		{Code: codeEnd},
		{Code: CodeMalformed, Kind: KindPut},
		{Code: CodeMalformed, Revision: 1},
		{Code: CodeMalformed, Succeeded: true},
		{Code: CodeMalformed, Ops: one},
		{Kind: KindPut},
		{Kind: KindPut, Ops: []OpResult{{Kind: KindRange}}},
		{Kind: KindPut, Ops: one, Succeeded: true},
		{Kind: KindPut, Ops: []OpResult{{Kind: KindPut, KVs: []KV{{}}}}},
		{Kind: KindTxn, Ops: []OpResult{{Kind: KindTxn}}},
		{Kind: KindTxn, Ops: make([]OpResult, MaxTxnOps+1)},
		{Kind: KindCompact, Ops: one},
		{Kind: KindCompact + 1},
	} {
		_, err := EncodeResult(r)
		require.ErrorIs(t, err, ErrMalformed, "%#v", r)
	}
	for _, q := range []Query{
		nil, &Events{Span: All()}, Events{Span: All(), FromKey: k},
	} {
		_, err := EncodeQuery(q)
		require.ErrorIs(t, err, ErrMalformed, "%#v", q)
	}
	kv := kvOf("k", "v", 1, 2, 3)
	for _, r := range []QueryResult{
		nil,
		&QueryError{Code: CodeMalformed},
		QueryError{},
		QueryError{Code: codeEnd},
		RangeResult{KVs: []KV{kv}},
		EventsResult{More: true},
		EventsResult{Split: true, Events: []Event{{KV: kv}}},
		EventsResult{Compacted: 1},
		EventsResult{Events: []Event{{Deleted: true, KV: kv}}},
		EventsResult{Events: []Event{{KV: kv, Prev: &KV{Key: []byte("l")}}}},
	} {
		_, err := EncodeQueryResult(r)
		require.ErrorIs(t, err, ErrMalformed, "%#v", r)
	}
}

// TestEncodingsWithOneFieldWrongAreRefused spells out some that a lax decoder would
// take; the fuzz targets look for the others.
func TestEncodingsWithOneFieldWrongAreRefused(t *testing.T) {
	for name, s := range map[string]string{
		"nothing":                  "",
		"kind 0":                   "00",
		"kind 6":                   "060000000000000005",
		"byte behind":              "05000000000000000500",
		"cut short":                "0500000000000000",
		"flag of 2":                "0100016b0000017602",
		"length beyond the end":    "01ffff6b0000017600",
		"txn in txn":               "0400010400000000",
		"compact in txn":           "04000105000000000000000500",
		"compares beyond the end":  "0480",
		"then beyond the end":      "040080",
		"nothing in then":          "04000100",
		"target 0":                 "040100016b000100000000000000000000",
		"relation 5":               "040100016b020500000000000000000000",
		"else missing":             "040000",
		"value length overflowing": "0100016bffffff7600",
	} {
		b, err := hex.DecodeString(s)
		require.NoError(t, err)
		require.ErrorIs(t, CheckOp(b), ErrMalformed, name)
		require.Equal(t, []byte{byte(CodeMalformed)}, New().Apply(1, b), name)
	}
	answer, err := DecodeQueryResult(New().Query([]byte{9}))
	require.NoError(t, err)
	require.Equal(t, QueryError{Code: CodeMalformed}, answer)
}

// TestCountsMakeNoMemory checks that a list is not made before its elements are
// seen: each of these few bytes claims 2^32-1 elements.
func TestCountsMakeNoMemory(t *testing.T) {
	huge := "ffffffff"
	put, err := hex.DecodeString("0001" + "0000000000000001" + "0000000000000001" + "00" + huge)
	require.NoError(t, err)
	kvs, err := hex.DecodeString("01" + "00000000ffffffff" + "00" + huge)
	require.NoError(t, err)
	events, err := hex.DecodeString("02" + "00000000000000010000000000000000" + "0000" + huge)
	require.NoError(t, err)
	few := testing.AllocsPerRun(10, func() {
		_, e1 := DecodeResult(put)
		_, e2 := DecodeQueryResult(kvs)
		_, e3 := DecodeQueryResult(events)
		if e1 == nil || e2 == nil || e3 == nil {
			t.Fatal("accepted")
		}
	})
	require.Less(t, few, 20.0)
}

// TestLengthsThatDoNotFitAreNotCut checks that a length beyond its prefix is an
// error and not a shorter field.
func TestLengthsThatDoNotFitAreNotCut(t *testing.T) {
	for _, kv := range []KV{{Key: make([]byte, 1<<16)}, {Value: make([]byte, 1<<24)}} {
		_, err := EncodeQueryResult(RangeResult{Count: 1, KVs: []KV{kv}})
		require.Error(t, err)
	}
	_, err := EncodeQuery(Events{Span: All(), From: 1, FromKey: make([]byte, MaxKeyBytes+1)})
	require.NoError(t, err)
	_, err = EncodeQuery(Events{Span: All(), From: 1, FromKey: make([]byte, MaxKeyBytes+2)})
	require.ErrorIs(t, err, ErrKeyTooLarge)
}

// TestResultsBeyondTheLimitAreRefused gives decoders what is sound but for its
// length.
func TestResultsBeyondTheLimitAreRefused(t *testing.T) {
	kvs := make([]KV, MaxResultBytes/MaxValueBytes)
	for i := range kvs {
		kvs[i].Value = make([]byte, MaxValueBytes)
	}
	n := uint64(len(kvs))
	answer, err := EncodeQueryResult(RangeResult{Count: n, KVs: kvs})
	require.NoError(t, err)
	_, err = DecodeQueryResult(answer)
	require.ErrorIs(t, err, ErrMalformed)
	result, err := EncodeResult(Result{Kind: KindRange, Ops: []OpResult{
		{Kind: KindRange, Count: n, KVs: kvs},
	}})
	require.NoError(t, err)
	_, err = DecodeResult(result)
	require.ErrorIs(t, err, ErrMalformed)
}

func TestEveryCodeHasItsError(t *testing.T) {
	require.NoError(t, CodeOK.Err())
	for code := CodeMalformed; code < codeEnd; code++ {
		require.Error(t, code.Err())
		require.Equal(t, code, codeOf(code.Err()))
	}
	require.ErrorIs(t, codeEnd.Err(), ErrMalformed)
}

func TestSpanContainsWhatItNames(t *testing.T) {
	span := Span{Key: []byte("b"), End: []byte("d")}
	for key, want := range map[string]bool{"a": false, "b": true, "c\xff": true, "d": false} {
		require.Equal(t, want, span.Contains([]byte(key)), key)
	}
	require.True(t, All().Contains([]byte{0}))
	require.False(t, One([]byte("b")).Contains([]byte("bb")))
	prefix := []byte("a\xff")
	require.Equal(t, Span{Key: prefix, End: []byte("b")}, Prefix(prefix))
	require.True(t, bytes.Equal(prefix, []byte("a\xff")), "the prefix is not written to")
}

// TestEventsThatCannotHaveHappenedAreRefused changes one field at a time.
func TestEventsThatCannotHaveHappenedAreRefused(t *testing.T) {
	key := []byte("k")
	gone := Event{Deleted: true, KV: KV{Key: key, Mod: 7}, Prev: &KV{Key: key, Value: []byte("v")}}
	require.NoError(t, gone.check())
	for name, spoil := range map[string]func(e *Event){
		"a value":          func(e *Event) { e.KV.Value = []byte("v") },
		"a create":         func(e *Event) { e.KV.Create = 3 },
		"a version":        func(e *Event) { e.KV.Version = 1 },
		"another key's":    func(e *Event) { e.Prev = &KV{Key: []byte("l")} },
		"put, another key": func(e *Event) { e.Deleted, e.Prev = false, &KV{Key: []byte("l")} },
	} {
		e := gone
		spoil(&e)
		require.ErrorIs(t, e.check(), ErrMalformed, name)
		r := EventsResult{Revision: 9, Events: []Event{gone, e}}
		require.ErrorIs(t, r.check(), ErrMalformed, name)
	}
	e := gone
	e.Deleted, e.KV.Value, e.KV.Create, e.KV.Version = false, []byte("v"), 7, 1
	require.NoError(t, e.check())
}

// TestPageWithoutEventsIsFollowedByWhatHappensNext: whatever it says about more.
func TestPageWithoutEventsIsFollowedByWhatHappensNext(t *testing.T) {
	q := Events{From: 5, FromKey: []byte("k")}
	for _, r := range []EventsResult{
		{Revision: 9}, {Revision: 9, More: true}, {Revision: 9, More: true, Split: true},
	} {
		require.Equal(t, Events{From: 10}, r.Next(q))
		r.Revision = 3
		require.Equal(t, Events{From: 5}, r.Next(q), "never back")
	}
}

// TestLimitsArePartOfTheFormat: replicas that disagree about them would part.
func TestLimitsArePartOfTheFormat(t *testing.T) {
	require.Equal(t, [...]int{4096, 1 << 20, 128, 2 << 20},
		[...]int{MaxKeyBytes, MaxValueBytes, MaxTxnOps, MaxOpBytes})
}

// TestQueriesThatNobodyMayAskAreRefused: what comes is judged like what goes.
func TestQueriesThatNobodyMayAskAreRefused(t *testing.T) {
	for _, c := range []struct {
		query Query
		want  error
	}{
		{Range{}, ErrEmptyKey},
		{Range{Span: Span{Key: []byte("b"), End: []byte("a")}}, ErrEmptySpan},
		{Events{}, ErrEmptyKey},
		{Events{Span: One(make([]byte, MaxKeyBytes+1))}, ErrKeyTooLarge},
	} {
		_, err := EncodeQuery(c.query)
		require.ErrorIs(t, err, c.want)
		w := newWriter(0)
		switch q := c.query.(type) {
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
		}
		_, err = DecodeQuery(w.BytesOrPanic())
		require.ErrorIs(t, err, c.want)
	}
}
