package kv

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// put sets a key and demands that it worked.
func put(t testing.TB, m *Machine, key, value string) Revision {
	result := apply(t, m, Put{Key: []byte(key), Value: []byte(value)})
	require.NoError(t, result.Code.Err())
	return result.Revision
}

// get returns what a key holds at a revision, nil if it does not exist.
func get(t testing.TB, m *Machine, key string, at Revision) *KV {
	found, ok := ask(t, m, Range{Span: One([]byte(key)), Revision: at}).(RangeResult)
	require.True(t, ok)
	if len(found.KVs) == 0 {
		return nil
	}
	return &found.KVs[0]
}

func kvOf(key, value string, create, mod Revision, version uint64) KV {
	return KV{Key: []byte(key), Value: []byte(value), Create: create, Mod: mod, Version: version}
}

func TestPutCountsVersionsAndKeepsTheCreateRevision(t *testing.T) {
	m := New()
	require.Equal(t, Revision(1), put(t, m, "k", "a"))
	require.Equal(t, Revision(2), put(t, m, "other", "x"))
	require.Equal(t, Revision(3), put(t, m, "k", "b"))
	require.Equal(t, kvOf("k", "b", 1, 3, 2), *get(t, m, "k", 0))
	require.Equal(t, kvOf("k", "a", 1, 1, 1), *get(t, m, "k", 2))
	require.Equal(t, kvOf("other", "x", 2, 2, 1), *get(t, m, "other", 0))
}

func TestDeleteEndsTheLifeOfAKey(t *testing.T) {
	m := New()
	put(t, m, "k", "a")
	put(t, m, "k", "b")
	result := apply(t, m, Delete{Span: One([]byte("k")), PrevKV: true})
	require.Equal(t, Result{Kind: KindDelete, Revision: 3, Ops: []OpResult{{
		Kind: KindDelete, Count: 1, KVs: []KV{kvOf("k", "b", 1, 2, 2)},
	}}}, result)
	require.Nil(t, get(t, m, "k", 0))
	require.Equal(t, kvOf("k", "b", 1, 2, 2), *get(t, m, "k", 2))
	put(t, m, "k", "c")
	require.Equal(t, kvOf("k", "c", 4, 4, 1), *get(t, m, "k", 0))
}

func TestOperationThatChangesNothingLeavesRevisionAndDigest(t *testing.T) {
	m := New()
	put(t, m, "k", "a")
	before := m.Digest()
	for _, op := range []Op{
		Delete{Span: One([]byte("absent"))},
		Range{Span: All()},
		Txn{},
		Txn{Compares: []Compare{{
			Key: []byte("k"), Target: TargetVersion, Relation: Equal, Number: 2,
		}}, Then: []Op{Put{Key: []byte("k")}}},
		Compact{Revision: 0},
		Compact{Revision: 2},
	} {
		apply(t, m, op)
		require.Equal(t, Revision(1), m.Revision(), "%#v", op)
		require.Equal(t, before, m.Digest(), "%#v", op)
	}
	require.Equal(t, Revision(2), put(t, m, "k", "a"))
	require.NotEqual(t, before, m.Digest())
}

func TestTxnIsOneRevisionAndSeesItsOwnWrites(t *testing.T) {
	m := New()
	put(t, m, "a", "0")
	result := apply(t, m, Txn{Then: []Op{
		Put{Key: []byte("b"), Value: []byte("1")},
		Delete{Span: One([]byte("a"))},
		Range{Span: All()},
		Range{Span: All(), Revision: 1},
		Put{Key: []byte("c"), Value: []byte("2")},
	}})
	require.Equal(t, Result{Kind: KindTxn, Succeeded: true, Revision: 2, Ops: []OpResult{
		{Kind: KindPut},
		{Kind: KindDelete, Count: 1},
		{Kind: KindRange, Count: 1, KVs: []KV{kvOf("b", "1", 2, 2, 1)}},
		{Kind: KindRange, Count: 1, KVs: []KV{kvOf("a", "0", 1, 1, 1)}},
		{Kind: KindPut},
	}}, result)
}

func TestTxnThatReadsWhatIsNotThereChangesNothing(t *testing.T) {
	m := New()
	put(t, m, "a", "0")
	put(t, m, "a", "1")
	put(t, m, "a", "2")
	apply(t, m, Compact{Revision: 2})
	before := m.Digest()
	for at, want := range map[Revision]Code{1: CodeCompacted, 4: CodeFutureRevision} {
		read := Range{Span: All(), Revision: at}
		write := Put{Key: []byte("b")}
		require.Equal(t, Result{Code: want}, apply(t, m, Txn{Then: []Op{write, read}}))
		require.Equal(t, Result{Code: want}, apply(t, m, read))
		require.Equal(t, before, m.Digest())
		// The other list does not matter.
		result := apply(t, m, Txn{Then: []Op{Range{Span: All()}}, Else: []Op{write, read}})
		require.Equal(t, CodeOK, result.Code)
	}
}

func TestCompareLooksAtEveryAttributeByEveryRelation(t *testing.T) {
	m := New()
	put(t, m, "x", "")
	put(t, m, "k", "m")
	put(t, m, "k", "m") // create 2, mod 3, version 2
	holds := func(c Compare) bool {
		return apply(t, m, Txn{Compares: []Compare{c}}).Succeeded
	}
	for target, now := range map[Target]uint64{TargetVersion: 2, TargetCreate: 2, TargetMod: 3} {
		for operand := now - 1; operand <= now+1; operand++ {
			c := Compare{Key: []byte("k"), Target: target, Number: operand}
			for relation, want := range map[Relation]bool{
				Equal: now == operand, NotEqual: now != operand,
				Greater: now > operand, Less: now < operand,
			} {
				c.Relation = relation
				require.Equal(t, want, holds(c), "%+v", c)
			}
		}
	}
	for _, operand := range []string{"", "l", "m", "ma", "n"} {
		c := Compare{Key: []byte("k"), Target: TargetValue, Value: []byte(operand)}
		for relation, want := range map[Relation]bool{
			Equal: operand == "m", NotEqual: operand != "m",
			Greater: operand < "m", Less: operand > "m",
		} {
			c.Relation = relation
			require.Equal(t, want, holds(c), "%+v", c)
		}
	}
	for relation := Equal; relation <= Less; relation++ {
		c := Compare{Key: []byte("absent"), Relation: relation, Target: TargetValue}
		require.False(t, holds(c), "an absent key has no value to compare")
		for _, target := range []Target{TargetVersion, TargetCreate, TargetMod} {
			c.Target = target
			require.Equal(t, relation == Equal, holds(c), "%+v", c)
		}
	}
}

func TestCompareAndSwapTellsWhatTheKeyHolds(t *testing.T) {
	m := New()
	key := []byte("k")
	created := apply(t, m, CompareVersionAndSwap(key, 0, []byte("a")))
	require.True(t, created.Succeeded)
	require.False(t, apply(t, m, CompareVersionAndSwap(key, 0, []byte("b"))).Succeeded)
	refused := apply(t, m, CompareAndSwap(key, []byte("b"), []byte("c")))
	require.False(t, refused.Succeeded)
	require.Equal(t, []KV{kvOf("k", "a", 1, 1, 1)}, refused.Ops[0].KVs)
	require.True(t, apply(t, m, CompareAndSwap(key, []byte("a"), []byte("b"))).Succeeded)
	require.True(t, apply(t, m, CompareVersionAndSwap(key, 2, []byte("c"))).Succeeded)
	require.Equal(t, kvOf("k", "c", 1, 3, 3), *get(t, m, "k", 0))
	require.False(t, apply(t, m, CompareAndSwap([]byte("no"), nil, nil)).Succeeded)
}

func TestCompactionKeepsTheStateAtItsRevisionAndAllAfter(t *testing.T) {
	m := New()
	put(t, m, "a", "1")
	put(t, m, "b", "2")
	put(t, m, "a", "3")
	apply(t, m, Delete{Span: One([]byte("b"))})
	put(t, m, "a", "5")
	require.Equal(t, CodeCompacted, apply(t, m, Compact{}).Code)
	require.Equal(t, CodeFutureRevision, apply(t, m, Compact{Revision: 6}).Code)
	require.Equal(t, Result{Kind: KindCompact, Revision: 5}, apply(t, m, Compact{Revision: 4}))
	require.Equal(t, CodeCompacted, apply(t, m, Compact{Revision: 4}).Code)
	require.Equal(t, Revision(4), m.Compacted())
	require.Equal(t, kvOf("a", "3", 1, 3, 2), *get(t, m, "a", 4))
	require.Nil(t, get(t, m, "b", 4))
	require.Equal(t, QueryError{CodeCompacted}, ask(t, m, Range{Span: All(), Revision: 3}))
	require.Equal(t, QueryError{CodeFutureRevision}, ask(t, m, Range{Span: All(), Revision: 6}))
	require.Equal(t, QueryError{CodeCompacted}, ask(t, m, Events{Span: All(), From: 4}))
	before := kvOf("a", "3", 1, 3, 2)
	require.Equal(t, EventsResult{Revision: 5, Compacted: 4, Events: []Event{
		{KV: kvOf("a", "5", 1, 5, 3), Prev: &before},
	}}, ask(t, m, Events{Span: All(), From: 5, PrevKV: true}))
}

func TestCompactionGivesUpDeletedKeysAndOldVersions(t *testing.T) {
	m := New()
	for i := range 1000 {
		put(t, m, "hot", fmt.Sprint(i))
		put(t, m, fmt.Sprintf("once %d", i), "")
	}
	apply(t, m, Delete{Span: Prefix([]byte("once "))})
	require.Equal(t, 1001, m.keys.Len())
	apply(t, m, Compact{Revision: m.Revision()})
	releaseAll(t, m)
	require.Equal(t, 1, m.keys.Len())
	require.Empty(t, m.events)
	hot, _ := m.keys.Get(&history{key: []byte("hot")})
	require.Len(t, hot.versions, 1)
	require.LessOrEqual(t, cap(hot.versions), 2)
	require.Equal(t, kvOf("hot", "999", 1, 1999, 1000), *get(t, m, "hot", 0))
}

func TestEventsComeInOrderOfRevisionsWithThePreviousValue(t *testing.T) {
	m := New()
	put(t, m, "a", "1")
	apply(t, m, Txn{Then: []Op{
		Put{Key: []byte("z"), Value: []byte("2")},
		Put{Key: []byte("a"), Value: []byte("2")},
	}})
	put(t, m, "m", "3")
	apply(t, m, Delete{Span: One([]byte("a"))})
	put(t, m, "a", "5")
	first, second := kvOf("a", "1", 1, 1, 1), kvOf("a", "2", 1, 2, 2)
	all := []Event{
		{KV: first},
		{KV: second, Prev: &first},
		{KV: kvOf("z", "2", 2, 2, 1)},
		{KV: kvOf("m", "3", 3, 3, 1)},
		{Deleted: true, KV: KV{Key: []byte("a"), Mod: 4}, Prev: &second},
		{KV: kvOf("a", "5", 5, 5, 1)},
	}
	page := ask(t, m, Events{Span: All(), From: 1, PrevKV: true})
	require.Equal(t, EventsResult{Revision: 5, Events: all}, page)
	page = ask(t, m, Events{Span: One([]byte("a")), From: 2, PrevKV: true})
	require.Equal(t, EventsResult{Revision: 5, Events: []Event{all[1], all[4], all[5]}}, page)
	page = ask(t, m, Events{Span: All(), From: 5})
	require.Equal(t, EventsResult{Revision: 5, Events: all[5:]}, page)
	for _, from := range []Revision{0, 6, 100} {
		page = ask(t, m, Events{Span: All(), From: from})
		require.Equal(t, EventsResult{Revision: 5}, page)
	}
}

func TestEventPagesEndWithWholeRevisionsIfTheyCan(t *testing.T) {
	m := New()
	put(t, m, "a", "1")
	apply(t, m, Txn{Then: []Op{
		Put{Key: []byte("a")}, Put{Key: []byte("b")}, Put{Key: []byte("c")},
	}})
	q := Events{Span: All(), From: 1, Limit: 2}
	type page struct {
		events      int
		more, split bool
	}
	var pages []page
	for {
		r := ask(t, m, q).(EventsResult)
		pages = append(pages, page{len(r.Events), r.More, r.Split})
		q = r.Next(q)
		if !r.More {
			break
		}
	}
	require.Equal(t, []page{{1, true, false}, {2, true, true}, {1, false, false}}, pages)
	require.Equal(t, Events{Span: All(), From: 3, Limit: 2}, q)
}

// TestLargeAnswersComeInPages checks that what does not fit in one answer is told
// by More, and can be had by going on.
func TestLargeAnswersComeInPages(t *testing.T) {
	m := New()
	value := string(bytes.Repeat([]byte{7}, MaxValueBytes))
	for _, key := range []string{"a", "b", "c"} {
		put(t, m, key, value)
		put(t, m, key, value)
	}
	var keys []string
	for span := All(); ; {
		r := ask(t, m, Range{Span: span}).(RangeResult)
		require.Len(t, r.KVs, 1)
		keys = append(keys, string(r.KVs[0].Key))
		require.Equal(t, r.Count > 1, r.More)
		if !r.More {
			break
		}
		span.Key = append(r.KVs[0].Key, 0)
	}
	require.Equal(t, []string{"a", "b", "c"}, keys)
	seen := 0
	for q := (Events{Span: All(), From: 1, PrevKV: true}); ; {
		r := ask(t, m, q).(EventsResult)
		seen += len(r.Events)
		q = r.Next(q)
		if !r.More {
			break
		}
	}
	require.Equal(t, 6, seen)
	deleted := apply(t, m, Delete{Span: All(), PrevKV: true}).Ops[0]
	require.Equal(t, uint64(3), deleted.Count)
	require.Len(t, deleted.KVs, 1)
	require.True(t, deleted.More)
}

// TestTxnSharesOnePage checks that a transaction cannot make an answer as large as
// its list is long.
func TestTxnSharesOnePage(t *testing.T) {
	m := New()
	put(t, m, "a", string(make([]byte, MaxValueBytes)))
	list := make([]Op, MaxTxnOps)
	for i := range list {
		list[i] = Range{Span: All()}
	}
	result := apply(t, m, Txn{Then: list})
	require.Len(t, result.Ops, MaxTxnOps)
	require.Len(t, result.Ops[0].KVs, 1)
	for _, op := range result.Ops[1:] {
		require.Equal(t, OpResult{Kind: KindRange, Count: 1, More: true}, op)
	}
}

func TestPrefixHasAnEndAboveAllItsKeys(t *testing.T) {
	m := New()
	keys := []string{
		"\x00", "a", "a\xff", "a\xff\xff", "b", "\xff", "\xff\x00", "\xff\xff", "\xff\xff\xff",
	}
	for _, key := range keys {
		put(t, m, key, "")
	}
	for _, prefix := range append([]string{"", "c", "\xff\xff\xff\xff"}, keys...) {
		want := uint64(0)
		for _, key := range keys {
			if bytes.HasPrefix([]byte(key), []byte(prefix)) {
				want++
			}
		}
		span := Prefix([]byte(prefix))
		found := ask(t, m, Range{Span: span, CountOnly: true})
		require.Equal(t, RangeResult{Count: want}, found, "%q", prefix)
	}
}

// TestRangeAnswerIsTheSameOnReplicasThatDifferElsewhere is what reads without a
// log entry rest on (C3).
func TestRangeAnswerIsTheSameOnReplicasThatDifferElsewhere(t *testing.T) {
	ahead, behind := New(), New()
	for _, m := range []*Machine{ahead, behind} {
		put(t, m, "a/1", "x")
		put(t, m, "b/1", "y")
	}
	put(t, ahead, "b/2", "z")
	apply(t, ahead, Compact{Revision: 3})
	for _, q := range []Range{
		{Span: Prefix([]byte("a/"))}, {Span: One([]byte("a/1"))}, {Span: One([]byte("none"))},
		{Span: Prefix([]byte("a/")), CountOnly: true},
	} {
		b, err := EncodeQuery(q)
		require.NoError(t, err)
		require.Equal(t, behind.Query(b), ahead.Query(b))
	}
}

func TestIndexPlaysNoPart(t *testing.T) {
	op, err := EncodeOp(Put{Key: []byte("k")})
	require.NoError(t, err)
	a, b := New(), New()
	require.Equal(t, a.Apply(1, op), b.Apply(1<<40, op))
	require.Equal(t, a.Digest(), b.Digest())
}

// TestWorkOfAQueryIsWhatItLookedAt: whoever answers queries needs to know what they cost, whatever
// they give.
func TestWorkOfAQueryIsWhatItLookedAt(t *testing.T) {
	m := New()
	for k := range 20 {
		put(t, m, fmt.Sprintf("k%02d", k), "v")
	}
	for _, c := range []struct {
		query Query
		work  uint64
	}{
		{Range{Span: One([]byte("k00"))}, 1},
		{Range{Span: One([]byte("none"))}, 1},
		{Range{Span: All()}, 20},
		{Range{Span: All(), CountOnly: true}, 20},
		{Range{Span: All(), Limit: 1}, 20},
		{Range{Span: Prefix([]byte("k1"))}, 10},
		{Events{Span: All(), From: 16}, 5},
		{Events{Span: One([]byte("none")), From: 1}, 20},
	} {
		before := m.Work()
		ask(t, m, c.query)
		require.Equal(t, c.work, m.Work()-before, "%+v", c.query)
	}
}
