package kv

import (
	"bytes"
	"fmt"
	"math"
	"runtime"
	"testing"
	"weak"

	"github.com/stretchr/testify/require"
)

// releaseAll does operations that change nothing, until all is released that has
// been given up. Each must do its part.
func releaseAll(t testing.TB, m *Machine) {
	for len(m.events) > 0 && m.events[0].revision <= m.compacted {
		left := m.firstChange(m.compacted + 1)
		m.Apply(0, nil)
		require.Equal(t, max(0, left-releaseChanges), m.firstChange(m.compacted+1))
	}
}

// requireReleased checks that a store holds no more than one that always released
// at once what it gave up.
func requireReleased(t testing.TB, prompt, m *Machine) {
	require.Nil(t, m.frozen)
	require.Len(t, m.events, len(prompt.events))
	require.LessOrEqual(t, m.released, len(m.events))
	require.Equal(t, prompt.keys.Len(), m.keys.Len())
	prompt.keys.Scan(func(want *history) bool {
		h, ok := m.keys.Get(want)
		require.True(t, ok)
		require.Len(t, h.versions, len(want.versions))
		require.LessOrEqual(t, h.released, len(h.versions))
		return true
	})
}

// twoStores are one that releases what it gives up at once, and one that does it
// as it is told. They must never differ.
type twoStores struct {
	prompt, m *Machine
}

// apply does an operation on both.
func (s twoStores) apply(t *testing.T, op Op) Result {
	before := [2]uint64{s.prompt.Work(), s.m.Work()}
	want := apply(t, s.prompt, op)
	s.prompt.release(math.MaxInt)
	b, err := EncodeOp(op)
	require.NoError(t, err)
	require.Equal(t, want, s.m.apply(b))
	require.Equal(t, s.prompt.Work()-before[0], s.m.Work()-before[1], "work of %#v", op)
	require.Equal(t, s.prompt.Digest(), s.m.Digest())
	return want
}

func (s twoStores) ask(t *testing.T, q Query) {
	require.Equal(t, ask(t, s.prompt, q), ask(t, s.m, q), "%#v", q)
}

// TestNobodySeesWhenCompactedIsReleased does random operations with much that
// waits for its release, and releases a few changes now and then.
func TestNobodySeesWhenCompactedIsReleased(t *testing.T) {
	for run := range uint64(20) {
		t.Run(fmt.Sprint(run), func(t *testing.T) {
			t.Parallel()
			c := newChooser(t, run)
			s := twoStores{New(), New()}
			waited := false
			for range 400 {
				s.apply(t, c.op(int(s.prompt.revision), int(s.prompt.compacted)))
				s.ask(t, c.query(int(s.prompt.revision)))
				if c.IntN(3) == 0 {
					s.m.release(c.IntN(4))
				}
				waited = waited || len(s.m.events) > len(s.prompt.events)
				if c.IntN(10) == 0 {
					require.Equal(t, snapshot(t, s.prompt), snapshot(t, s.m))
				}
			}
			require.True(t, waited || s.prompt.compacted == 0)
			releaseAll(t, s.m)
			requireReleased(t, s.prompt, s.m)
			require.Equal(t, snapshot(t, s.prompt), snapshot(t, s.m))
		})
	}
}

// TestOperationReleasesMoreThanItGivesUp checks that what waits cannot grow without
// end: even when each operation writes all that it may, its part is less than what
// it releases.
func TestOperationReleasesMoreThanItGivesUp(t *testing.T) {
	m := New()
	var full []Op
	for i := range MaxTxnOps {
		full = append(full, Put{Key: fmt.Appendf(nil, "key %d", i)})
	}
	for range 50 {
		apply(t, m, Txn{Then: full})
	}
	apply(t, m, Compact{Revision: m.Revision()})
	for i := 0; len(m.events) > 0; i++ {
		require.Less(t, i, 50)
		apply(t, m, Txn{Then: full})
		apply(t, m, Txn{Then: []Op{Delete{Span: All()}}})
		apply(t, m, Compact{Revision: m.Revision()})
	}
}

// TestAnchorDoesNotDependOnMarks compacts to revisions with a mark, next to one and
// far from one, on a store that has marks, a restored one, and one without any.
func TestAnchorDoesNotDependOnMarks(t *testing.T) {
	c := newChooser(t, 0)
	m := New()
	for len(m.events) < 10*markChanges {
		apply(t, m, c.plain(int(m.revision)))
	}
	requireMarked := func(m *Machine) {
		last := 0
		for i, k := range m.marks {
			at := m.firstChange(k.revision + 1)
			require.Greater(t, k.revision, m.compacted)
			require.Less(t, at-last, markChanges+MaxTxnOps)
			require.True(t, i == 0 || at-last >= markChanges)
			last = at
		}
		require.Less(t, len(m.events)-last, markChanges)
	}
	restored := New()
	require.NoError(t, restored.Restore(bytes.NewReader(snapshot(t, m))))
	stores := []*Machine{m, restored}
	mark := func(i int) Revision { return m.marks[i].revision }
	for _, to := range []Revision{
		1, mark(0) - 1, mark(0), mark(1), mark(2) + 1, mark(5), mark(5) + 300, m.revision,
	} {
		unmarked := New()
		require.NoError(t, unmarked.Restore(bytes.NewReader(snapshot(t, m))))
		unmarked.marks = nil
		apply(t, unmarked, Compact{Revision: to})
		for _, one := range stores {
			requireMarked(one)
			require.Equal(t, CodeOK, apply(t, one, Compact{Revision: to}).Code)
			releaseAll(t, one)
			requireMarked(one)
			require.Equal(t, unmarked.anchor, one.anchor)
			require.Equal(t, snapshot(t, unmarked), snapshot(t, one))
		}
	}
}

// TestReleaseFreesTheMemory watches the values and the arrays that held them, of a
// key that stays and of one that goes, be collected.
func TestReleaseFreesTheMemory(t *testing.T) {
	const rounds = 1000
	m := New()
	var values []weak.Pointer[byte]
	watch := func(key string) {
		apply(t, m, Put{Key: []byte(key), Value: make([]byte, 100)})
		h, _ := m.keys.Get(&history{key: []byte(key)})
		values = append(values, weak.Make(&h.versions[len(h.versions)-1].value[0]))
	}
	for range rounds {
		watch("stays")
		watch("goes")
	}
	array := func(h *history) weak.Pointer[version] { return weak.Make(&h.versions[0]) }
	stays, _ := m.keys.Get(&history{key: []byte("stays")})
	goes, _ := m.keys.Get(&history{key: []byte("goes")})
	arrays := []weak.Pointer[version]{array(stays), array(goes)}
	events := weak.Make(&m.events[0])
	gone := weak.Make(goes)
	apply(t, m, Delete{Span: One([]byte("goes"))})
	put(t, m, "stays", "last")
	goes = nil

	m.Freeze()
	apply(t, m, Compact{Revision: m.Revision()})
	m.NextChunk(1000)
	runtime.GC()
	require.NotNil(t, events.Value())
	require.NotNil(t, gone.Value())
	for _, v := range values {
		require.NotNil(t, v.Value())
	}
	for more := true; more; {
		_, more = m.NextChunk(1000)
	}
	releaseAll(t, m)
	runtime.GC()
	require.Nil(t, events.Value())
	require.Nil(t, gone.Value())
	for _, a := range arrays {
		require.Nil(t, a.Value())
	}
	for _, v := range values {
		require.Nil(t, v.Value())
	}
	runtime.KeepAlive(stays)
	runtime.KeepAlive(m)
}

// TestReleaseFreesAKeyAmongManyChangesThatStay: what is released is no more than
// a small part of what there is.
func TestReleaseFreesAKeyAmongManyChangesThatStay(t *testing.T) {
	m := New()
	put(t, m, "goes", "")
	goes, _ := m.keys.Get(&history{key: []byte("goes")})
	gone := weak.Make(goes)
	goes = nil
	apply(t, m, Delete{Span: All()})
	for range 100 {
		put(t, m, "stays", "")
	}
	runtime.GC()
	require.NotNil(t, gone.Value())
	apply(t, m, Compact{Revision: 2})
	runtime.GC()
	require.Nil(t, gone.Value())
	runtime.KeepAlive(m)
}

// TestReleaseCopiesNoLongRest: what a step may not take long for is left where it
// is until it has become short, or has been moved by growing.
func TestReleaseCopiesNoLongRest(t *testing.T) {
	m := New()
	op, err := EncodeOp(Put{Key: []byte("k")})
	require.NoError(t, err)
	for range 3 * maxMoved {
		m.Apply(0, op)
	}
	h, _ := m.keys.Get(&history{key: []byte("k")})
	stay := maxMoved + 1
	event, v := &m.events[len(m.events)-stay], &h.versions[len(h.versions)-stay]
	apply(t, m, Compact{Revision: m.revision - Revision(stay)})
	releaseAll(t, m)
	require.Same(t, event, &m.events[0])
	require.Same(t, v, &h.versions[1])
	apply(t, m, Compact{Revision: m.compacted + 2})
	require.NotSame(t, event, &m.events[0])
	require.LessOrEqual(t, cap(m.events), 2*maxMoved)
	require.LessOrEqual(t, cap(h.versions), 2*maxMoved)
}

// What is given up costs nothing, whether it is released or not: else one store would find an
// operation too much work that another executes.
func TestWorkIsTheKeysThatAreLeft(t *testing.T) {
	m := New()
	for _, key := range []string{"a", "b", "c", "d"} {
		apply(t, m, Put{Key: []byte(key)})
	}
	apply(t, m, Delete{Span: Span{Key: []byte("a")}})
	apply(t, m, Compact{Revision: 5})
	apply(t, m, Delete{Span: Span{Key: []byte("b")}})
	apply(t, m, Put{Key: []byte("c")})
	before := m.Work()
	apply(t, m, Range{Span: All(), CountOnly: true})
	require.Equal(t, uint64(3), m.Work()-before, "b may be read at 5, c and d are there")
	before = m.Work()
	apply(t, m, Put{Key: []byte("e")})
	require.Zero(t, m.Work()-before)
}
