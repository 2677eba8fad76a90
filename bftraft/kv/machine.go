package kv

import (
	"bytes"
	"math"
	"slices"

	"github.com/tidwall/btree"

	"tangaroa/crypto"
)

// Machine is the key-value store. Its methods are those of a replica's state
// machine.
type Machine struct {
	// revision is that of the last change; compacted the greatest revision given
	// up, never above revision.
	revision  Revision
	compacted Revision
	// keys holds every key with a version left, ordered by key.
	keys *btree.BTreeG[*history]
	// events holds what happened in the revisions above compacted, ordered by
	// revision and then by key. Every such revision has at least one. Before them
	// are the changes that have been given up and not yet released.
	events []change
	// released counts the places before events in its array.
	released int
	// frozen is the snapshot under way, nil if there is none. What was compacted
	// after its beginning is released after its end.
	frozen *scan
	// coming is the state that is being restored, nil if there is none.
	coming *restoration
	// looked counts the keys and changes that queries and operations looked at.
	looked uint64
	// retain is how many revisions at least stay readable, all if it is 0.
	retain uint64
	// written holds the keys that the operation now running has written, each
	// once. Their new versions are of revision+1. Between operations it is empty.
	written []*history
	// anchor is the chain of changes at compacted, chain the one at revision.
	anchor crypto.Digest
	chain  crypto.Digest
	// marks are the chain at some of the revisions above compacted, ascending, so
	// that it need not be computed anew from the anchor. Unmarked counts the changes
	// since the last. What they are does not matter to anything but time.
	marks    []mark
	unmarked int
	// image hashes the keys that exist now.
	image *image
}

// version is what a key held from one revision on.
type version struct {
	mod    Revision
	create Revision
	// number counts the writes since create; 0 says that the key was deleted, and
	// then create is 0 and value empty.
	number uint64
	value  []byte
	// digest covers the key and all of the above.
	digest crypto.Digest
}

func (v version) deleted() bool { return v.number == 0 }

// history is a key with the versions that are left of it, in ascending order of
// mod and at most one for each. Once all that was given up is released, at most the
// first of them is at or below compacted, and that one is no deletion: it is what
// the key held at compacted. Until then there may be more, also of a key that has
// nothing left; no answer depends on them.
type history struct {
	key []byte
	// path leads to the key in the image while it exists.
	path     uint64
	versions []version
	// released counts the places before versions in its array.
	released int
}

// change says that a revision wrote a key.
type change struct {
	revision Revision
	history  *history
}

// mark is the chain of changes at a revision.
type mark struct {
	revision Revision
	chain    crypto.Digest
}

// latest stands for the current state, with what the running operation has
// written so far.
const latest = Revision(math.MaxUint64)

// New returns the empty store.
func New() *Machine {
	less := func(a, b *history) bool { return byKey(a, b) < 0 }
	return &Machine{
		keys:  btree.NewBTreeGOptions(less, btree.Options{NoLocks: true}),
		image: newImage(),
	}
}

// NewRetaining returns the empty store that gives up old revisions by itself, as if a
// Compact were ordered now and then: at least the newest retain stay, and at most a
// quarter more and one. All replicas must be made with the same number. 0 keeps all.
func NewRetaining(retain uint64) *Machine {
	m := New()
	m.retain = min(retain, uint64(maxRevision))
	return m
}

// Revision returns the revision of the last change.
func (m *Machine) Revision() Revision { return m.revision }

// Compacted returns the greatest revision given up by compaction: the state at it
// can still be read, the events up to it cannot.
func (m *Machine) Compacted() Revision { return m.compacted }

// Apply executes an encoded operation and returns its encoded Result. Bytes that
// are no operation give a result with an error code. The index plays no part in
// it: see the package's contract. The operation's bytes are not kept.
func (m *Machine) Apply(_ uint64, op []byte) []byte {
	out, err := EncodeResult(m.apply(op))
	if err != nil {
		panic("kv: result of our own has no encoding: " + err.Error())
	}
	m.retire()
	m.release(releaseChanges)
	return out
}

func (m *Machine) apply(b []byte) Result {
	op, err := DecodeOp(b)
	if err != nil {
		return Result{Code: codeOf(err)}
	}
	result, err := m.execute(op)
	if err != nil {
		return Result{Code: codeOf(err)}
	}
	m.seal()
	result.Revision = m.revision
	return result
}

// execute does an operation, all but sealing its revision. Whatever can be refused
// is refused before the first write, so nothing is ever undone.
func (m *Machine) execute(op Op) (Result, error) {
	page := PageBytes
	switch op := op.(type) {
	case Txn:
		return m.executeTxn(op, &page)
	case Compact:
		return Result{Kind: KindCompact}, m.compact(op.Revision)
	default:
		if err := m.readable(op); err != nil {
			return Result{}, err
		}
		result := m.executePlain(op, &page)
		return Result{Kind: result.Kind, Ops: []OpResult{result}}, nil
	}
}

func (m *Machine) executeTxn(txn Txn, page *int) (Result, error) {
	result := Result{Kind: KindTxn, Succeeded: true}
	for _, c := range txn.Compares {
		result.Succeeded = result.Succeeded && m.holds(c)
	}
	list := txn.Else
	if result.Succeeded {
		list = txn.Then
	}
	for _, op := range list {
		if err := m.readable(op); err != nil {
			return Result{}, err
		}
	}
	for _, op := range list {
		result.Ops = append(result.Ops, m.executePlain(op, page))
	}
	return result, nil
}

// readable says whether the state that the operation reads is there.
func (m *Machine) readable(op Op) error {
	o, ok := op.(Range)
	switch {
	case !ok || o.Revision == 0:
		return nil
	case o.Revision < m.compacted:
		return ErrCompacted
	case o.Revision > m.revision:
		return ErrFutureRevision
	}
	return nil
}

// executePlain does an operation that cannot fail any more.
func (m *Machine) executePlain(op Op, page *int) OpResult {
	switch op := op.(type) {
	case Put:
		return m.put(op, page)
	case Delete:
		return m.delete(op, page)
	case Range:
		found := m.read(op, page)
		return OpResult{Kind: KindRange, Count: found.Count, More: found.More, KVs: found.KVs}
	}
	panic("kv: a checked operation is of no known kind")
}

func (m *Machine) put(op Put, page *int) OpResult {
	h, ok := m.keys.Get(&history{key: op.Key})
	if !ok {
		key := bytes.Clone(op.Key)
		h = &history{key: key, path: pathOf(key)}
		m.keys.Set(h)
	}
	found := RangeResult{}
	next := version{mod: m.revision + 1, create: m.revision + 1, number: 1}
	if last, ok := h.at(latest); ok {
		next.create, next.number = last.create, last.number+1
		found.add(h.kv(last), page, !op.PrevKV)
	}
	next.value = bytes.Clone(op.Value)
	m.write(h, next)
	return OpResult{Kind: KindPut, Count: found.Count, More: found.More, KVs: found.KVs}
}

func (m *Machine) delete(op Delete, page *int) OpResult {
	var doomed []*history
	found := RangeResult{}
	m.ascend(op.Span, func(h *history) {
		if last, ok := h.at(latest); ok {
			found.add(h.kv(last), page, !op.PrevKV)
			doomed = append(doomed, h)
		}
	})
	for _, h := range doomed {
		m.write(h, version{mod: m.revision + 1})
	}
	return OpResult{Kind: KindDelete, Count: found.Count, More: found.More, KVs: found.KVs}
}

// write gives a key its version of the running operation.
func (m *Machine) write(h *history, next version) {
	if n := len(h.versions); n > 0 && h.versions[n-1].mod >= next.mod {
		panic("kv: an operation writes a key twice")
	}
	next.digest = versionDigest(h.key, next)
	_, existed := h.at(latest)
	h.append(next)
	m.written = append(m.written, h)
	m.image.update(h, existed, !next.deleted())
}

// seal ends an operation: if it wrote anything, that becomes a revision.
func (m *Machine) seal() {
	if len(m.written) == 0 {
		return
	}
	slices.SortFunc(m.written, byKey)
	m.revision++
	first := len(m.events)
	if first+len(m.written) > cap(m.events) {
		m.released = 0
	}
	for _, h := range m.written {
		m.events = append(m.events, change{revision: m.revision, history: h})
	}
	m.extend(m.events[first:])
	clear(m.written)
	m.written = m.written[:0]
}

// holds says whether a compare is true of the current state.
func (m *Machine) holds(c Compare) bool {
	var now version
	exists := false
	if h, ok := m.keys.Get(&history{key: c.Key}); ok {
		now, exists = h.at(latest)
	}
	switch c.Target {
	case TargetValue:
		return exists && c.Relation.is(bytes.Compare(now.value, c.Value))
	case TargetVersion:
		return c.Relation.is(compareNumbers(now.number, c.Number))
	case TargetCreate:
		return c.Relation.is(compareNumbers(uint64(now.create), c.Number))
	default:
		return c.Relation.is(compareNumbers(uint64(now.mod), c.Number))
	}
}

func compareNumbers(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// is says whether the relation holds of two things that compare as given: below
// zero when the first is less.
func (r Relation) is(order int) bool {
	switch r {
	case Equal:
		return order == 0
	case NotEqual:
		return order != 0
	case Greater:
		return order > 0
	default:
		return order < 0
	}
}

// firstChange returns the place in events of the first change at or above a
// revision.
func (m *Machine) firstChange(from Revision) int {
	i, _ := slices.BinarySearchFunc(m.events, from, func(c change, from Revision) int {
		return compareNumbers(uint64(c.revision), uint64(from))
	})
	return i
}

// eachRevision calls visit with the changes of each revision in turn.
func eachRevision(changes []change, visit func([]change)) {
	for len(changes) > 0 {
		n := 1
		for n < len(changes) && changes[n].revision == changes[0].revision {
			n++
		}
		visit(changes[:n])
		changes = changes[n:]
	}
}

// place returns the place of the last version at or below a revision, -1 if there
// is none.
func (h *history) place(at Revision) int {
	if n := len(h.versions); n > 0 && h.versions[n-1].mod <= at {
		return n - 1
	}
	i, found := slices.BinarySearchFunc(h.versions, at, func(v version, at Revision) int {
		return compareNumbers(uint64(v.mod), uint64(at))
	})
	if found {
		return i
	}
	return i - 1
}

// at returns what the key held at a revision, and false if it did not exist.
func (h *history) at(revision Revision) (version, bool) {
	i := h.place(revision)
	if i < 0 || h.versions[i].deleted() {
		return version{}, false
	}
	return h.versions[i], true
}

// kv returns a version of the key in the form of results. It aliases the store.
func (h *history) kv(v version) KV {
	return KV{Key: h.key, Value: v.value, Create: v.create, Mod: v.mod, Version: v.number}
}
