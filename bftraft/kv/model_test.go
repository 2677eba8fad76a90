package kv

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// model is the store as one would first think of it: a full copy of everything for
// every revision. Events are what differs between one copy and the next.
type model struct {
	states    []map[string]KV
	compacted int
}

func newModel() *model { return &model{states: []map[string]KV{{}}} }

func (m *model) revision() int { return len(m.states) - 1 }

func (m *model) apply(op Op) Result {
	now := maps.Clone(m.states[m.revision()])
	result := Result{}
	switch op := op.(type) {
	case Compact:
		to := int(op.Revision)
		if to <= m.compacted {
			return Result{Code: CodeCompacted}
		}
		if to > m.revision() {
			return Result{Code: CodeFutureRevision}
		}
		m.compacted = to
		return Result{Kind: KindCompact, Revision: Revision(m.revision())}
	case Txn:
		result.Kind = KindTxn
		result.Succeeded = true
		for _, c := range op.Compares {
			if !modelHolds(now, c) {
				result.Succeeded = false
			}
		}
		list := op.Then
		if !result.Succeeded {
			list = op.Else
		}
		for _, op := range list {
			one, code := m.one(now, op)
			if code != CodeOK {
				return Result{Code: code}
			}
			result.Ops = append(result.Ops, one)
		}
	default:
		one, code := m.one(now, op)
		if code != CodeOK {
			return Result{Code: code}
		}
		result.Kind = one.Kind
		result.Ops = []OpResult{one}
	}
	if !maps.EqualFunc(now, m.states[m.revision()], func(a, b KV) bool { return a.Mod == b.Mod }) {
		m.states = append(m.states, now)
	}
	result.Revision = Revision(m.revision())
	return result
}

func (m *model) one(now map[string]KV, op Op) (OpResult, Code) {
	next := Revision(m.revision() + 1)
	switch op := op.(type) {
	case Put:
		r := OpResult{Kind: KindPut}
		kv := KV{Key: op.Key, Value: op.Value, Create: next, Mod: next, Version: 1}
		if old, ok := now[string(op.Key)]; ok {
			kv.Create, kv.Version = old.Create, old.Version+1
			r.Count = 1
			if op.PrevKV {
				r.KVs = []KV{old}
			}
		}
		now[string(op.Key)] = kv
		return r, CodeOK
	case Delete:
		found := modelFind(now, op.Span)
		for _, kv := range found {
			delete(now, string(kv.Key))
		}
		r := OpResult{Kind: KindDelete, Count: uint64(len(found))}
		if op.PrevKV {
			r.KVs = found
		}
		return r, CodeOK
	}
	o := op.(Range)
	state, code := m.state(now, o.Revision)
	if code != CodeOK {
		return OpResult{}, code
	}
	r := modelRange(state, o)
	return OpResult{Kind: KindRange, Count: r.Count, More: r.More, KVs: r.KVs}, CodeOK
}

func (m *model) state(now map[string]KV, at Revision) (map[string]KV, Code) {
	switch {
	case at == 0:
		return now, CodeOK
	case int(at) < m.compacted:
		return nil, CodeCompacted
	case int(at) > m.revision():
		return nil, CodeFutureRevision
	}
	return m.states[at], CodeOK
}

// modelIn is written out anew, so that a mistake in Span.Contains shows.
func modelIn(s Span, key string) bool {
	from, end := string(s.Key), string(s.End)
	switch end {
	case "":
		return key == from
	case "\x00":
		return key >= from
	}
	return key >= from && key < end
}

func modelFind(state map[string]KV, s Span) []KV {
	var out []KV
	for _, key := range slices.Sorted(maps.Keys(state)) {
		if modelIn(s, key) {
			out = append(out, state[key])
		}
	}
	return out
}

func modelRange(state map[string]KV, o Range) RangeResult {
	found := modelFind(state, o.Span)
	r := RangeResult{Count: uint64(len(found))}
	if o.CountOnly {
		return r
	}
	if o.Limit > 0 && len(found) > int(o.Limit) {
		found, r.More = found[:o.Limit], true
	}
	r.KVs = found
	return r
}

func modelHolds(state map[string]KV, c Compare) bool {
	kv, ok := state[string(c.Key)]
	order := 0
	number := func(n uint64) {
		if n < c.Number {
			order = -1
		}
		if n > c.Number {
			order = 1
		}
	}
	switch c.Target {
	case TargetValue:
		if !ok {
			return false
		}
		order = bytes.Compare(kv.Value, c.Value)
	case TargetVersion:
		number(kv.Version)
	case TargetCreate:
		number(uint64(kv.Create))
	case TargetMod:
		number(uint64(kv.Mod))
	}
	return map[Relation]bool{
		Equal: order == 0, NotEqual: order != 0, Greater: order > 0, Less: order < 0,
	}[c.Relation]
}

func (m *model) query(q Query) QueryResult {
	if o, ok := q.(Range); ok {
		state, code := m.state(m.states[m.revision()], o.Revision)
		if code != CodeOK {
			return QueryError{Code: code}
		}
		return modelRange(state, o)
	}
	o := q.(Events)
	from := int(o.From)
	if from == 0 {
		from = m.revision() + 1
	}
	if from <= m.compacted {
		return QueryError{Code: CodeCompacted}
	}
	r := EventsResult{Revision: Revision(m.revision()), Compacted: Revision(m.compacted)}
	for rev := from; rev <= m.revision(); rev++ {
		events := m.eventsOf(rev, o)
		room := int(o.Limit) - len(r.Events)
		if o.Limit == 0 || len(events) <= room {
			r.Events = append(r.Events, events...)
			continue
		}
		r.More = true
		if len(r.Events) == 0 {
			r.Events, r.Split = events[:room], true
		}
		break
	}
	return r
}

func (m *model) eventsOf(rev int, q Events) []Event {
	before, after := m.states[rev-1], m.states[rev]
	both := maps.Clone(before)
	maps.Copy(both, after)
	var out []Event
	for _, key := range slices.Sorted(maps.Keys(both)) {
		if !modelIn(q.Span, key) || rev == int(q.From) && key < string(q.FromKey) {
			continue
		}
		old, existed := before[key]
		now, exists := after[key]
		if existed && exists && old.Mod == now.Mod {
			continue
		}
		e := Event{KV: now}
		if !exists {
			e = Event{Deleted: true, KV: KV{Key: []byte(key), Mod: Revision(rev)}}
		}
		if existed && q.PrevKV {
			e.Prev = &old
		}
		out = append(out, e)
	}
	return out
}

// chooser draws operations and queries from few keys, so that they meet.
type chooser struct {
	*rand.Rand
}

func (c chooser) key() []byte {
	keys := []string{
		"a", "aa", "ab", "a\xff", "a\xff\xff", "b", "\x00", "\xff", "\xff\xff", "\xffz",
	}
	return []byte(keys[c.IntN(len(keys))])
}

func (c chooser) value() []byte {
	if n := c.IntN(4); n > 0 {
		return bytes.Repeat([]byte{byte(c.IntN(3))}, n)
	}
	return nil
}

func (c chooser) coin() bool { return c.IntN(2) == 0 }

func (c chooser) span() Span {
	switch c.IntN(4) {
	case 0:
		return One(c.key())
	case 1:
		return Prefix(c.key())
	case 2:
		return Span{Key: c.key(), End: []byte{0}}
	}
	a, b := c.key(), c.key()
	switch bytes.Compare(a, b) {
	case 0:
		return All()
	case 1:
		a, b = b, a
	}
	return Span{Key: a, End: b}
}

// revision is mostly one there has been, seldom one there has not.
func (c chooser) revision(current int) Revision {
	if c.IntN(3) == 0 {
		return 0
	}
	return Revision(c.IntN(current + 3))
}

func (c chooser) rangeOf(current int) Range {
	return Range{
		Span: c.span(), Revision: c.revision(current),
		Limit: uint32(c.IntN(4)), CountOnly: c.IntN(5) == 0,
	}
}

func (c chooser) plain(current int) Op {
	switch c.IntN(6) {
	case 0:
		return Delete{Span: c.span(), PrevKV: c.coin()}
	case 1:
		return c.rangeOf(current)
	}
	return Put{Key: c.key(), Value: c.value(), PrevKV: c.coin()}
}

func (c chooser) compare(current int) Compare {
	out := Compare{
		Key: c.key(), Target: Target(1 + c.IntN(4)), Relation: Relation(1 + c.IntN(4)),
	}
	switch out.Target {
	case TargetValue:
		out.Value = c.value()
	case TargetVersion:
		out.Number = uint64(c.IntN(4))
	default:
		out.Number = uint64(c.IntN(current + 1))
	}
	return out
}

func (c chooser) list(current int) []Op {
	var list []Op
	for range c.IntN(4) {
		list = append(list, c.plain(current))
	}
	if checkList(list) != nil {
		return nil
	}
	return list
}

func (c chooser) op(current, compacted int) Op {
	switch n := c.IntN(40); {
	case n == 0:
		return Compact{Revision: Revision(c.IntN(current + 2))}
	case n == 1:
		return Compact{Revision: Revision(compacted + 1)}
	case n < 12:
		txn := Txn{Then: c.list(current), Else: c.list(current)}
		for range c.IntN(3) {
			txn.Compares = append(txn.Compares, c.compare(current))
		}
		return txn
	}
	return c.plain(current)
}

func (c chooser) query(current int) Query {
	if c.coin() {
		return c.rangeOf(current)
	}
	q := Events{
		Span: c.span(), From: c.revision(current), Limit: uint32(c.IntN(5)), PrevKV: c.coin(),
	}
	if q.From > 0 && c.IntN(3) == 0 {
		q.FromKey = c.key()
	}
	return q
}

// newChooser prints its seed; set one here to see a failure again.
func newChooser(t testing.TB, run uint64) chooser {
	const replay = 0
	seed := rand.Uint64()
	if replay != 0 {
		seed = replay
	}
	t.Logf("seed %d, run %d", seed, run)
	return chooser{rand.New(rand.NewPCG(seed, run))}
}

// TestMachineAnswersLikeTheModel does random operations on the store, the model
// and a second store that is a restored copy now and then, and compares
// everything they say.
func TestMachineAnswersLikeTheModel(t *testing.T) {
	for run := range uint64(20) {
		t.Run(fmt.Sprint(run), func(t *testing.T) {
			t.Parallel()
			c := newChooser(t, run)
			naive, m, copied := newModel(), New(), New()
			for step := range 400 {
				op := c.op(naive.revision(), naive.compacted)
				want := naive.apply(op)
				out := apply(t, m, op)
				require.Equal(t, want, out, "step %d: %#v", step, op)
				require.Equal(t, out, apply(t, copied, op))
				q := c.query(naive.revision())
				require.Equal(t, naive.query(q), ask(t, m, q), "step %d: %#v", step, q)
				require.Equal(t, ask(t, m, q), ask(t, copied, q))
				if c.IntN(10) == 0 {
					require.Equal(t, m.Digest(), copied.Digest())
					restored := New()
					require.NoError(t, restored.Restore(bytes.NewReader(snapshot(t, m))))
					require.Equal(t, m.Digest(), restored.Digest())
					require.Equal(t, snapshot(t, m), snapshot(t, restored))
					copied = restored
				}
			}
		})
	}
}

// apply does an operation by way of its encoding.
func apply(t testing.TB, m *Machine, op Op) Result {
	b, err := EncodeOp(op)
	require.NoError(t, err)
	out := m.Apply(0, b)
	require.LessOrEqual(t, len(out), MaxResultBytes)
	clear(b) // The store must not have kept it.
	result, err := DecodeResult(out)
	require.NoError(t, err)
	return result
}

// ask answers a query by way of its encoding.
func ask(t testing.TB, m *Machine, q Query) QueryResult {
	b, err := EncodeQuery(q)
	require.NoError(t, err)
	out := m.Query(b)
	require.LessOrEqual(t, len(out), MaxResultBytes)
	result, err := DecodeQueryResult(out)
	require.NoError(t, err)
	return result
}

func snapshot(t testing.TB, m *Machine) []byte {
	var b bytes.Buffer
	require.NoError(t, m.Snapshot(&b))
	return b.Bytes()
}
