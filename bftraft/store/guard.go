package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"tangaroa/bftraft"
	"tangaroa/bftraft/store/journal"
	"tangaroa/crypto"
	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

// slotBytes is a page: it is written in one piece by what disks there are, and a slot never
// shares a page with the other.
const slotBytes = 4096

// promise is the content of a slot: what the node may have signed.
type promise struct {
	meta
	seq    uint64
	digest crypto.Digest // of the state record of batch seq, and of the records behind it
	term   bftraft.Term
	vote   bftraft.VoteRecord
	lock   bftraft.Lock
	mark   bftraft.Lock
	tip    bftraft.Position
	number uint64 // of the newest record of the journal behind the batch, 0 for none
}

func promiseOf(m meta, st *state, record []byte) promise {
	return promise{
		meta: m, seq: st.seq, digest: stateDigest(m.instance, record), term: st.hard.Term,
		vote: st.hard.Vote, lock: st.hard.Lock, mark: st.hard.Mark, tip: st.tip,
	}
}

func stateDigest(id instance, record []byte) crypto.Digest {
	return crypto.Hash(crypto.DomainGuard, id[:], record)
}

// encode returns a whole slot, the last 32 bytes of which are the checksum of all others.
func (p *promise) encode() []byte {
	slot := make([]byte, slotBytes)
	copy(slot, append(p.meta.encode(), p.body()...))
	sum := crypto.Hash(crypto.DomainGuard, p.instance[:], slot[:slotBytes-32])
	copy(slot[slotBytes-32:], sum[:])
	return slot
}

// seal returns a whole slot of an encrypted store: who the node is, for all to read, and the rest
// sealed to its last byte.
func (p *promise) seal(keys *dataKeys) []byte {
	front := p.meta.encode()
	body := make([]byte, slotBytes-metaBytes-sealedBytes)
	copy(body, p.body())
	return keys.seal(slices.Grow(front, slotBytes), front, body)
}

// body is what a slot says beside who the node is.
func (p *promise) body() []byte {
	b := binary.BigEndian.AppendUint64(nil, p.seq)
	b = append(b, p.digest[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(p.term))
	b = p.vote.Lock.AppendTo(append(b, byte(p.vote.Candidate)))
	b = p.mark.AppendTo(p.lock.AppendTo(b))
	return binary.BigEndian.AppendUint64(appendPosition(b, p.tip), p.number)
}

// decodePromise reads what encode wrote, or seal where there are keys.
func decodePromise(slot []byte, keys *dataKeys) (promise, bool) {
	var p promise
	s := cryptobyte.String(slot[:slotBytes-32])
	if !readMeta(&s, &p.meta) || p.encrypted != (keys != nil) {
		return p, false
	}
	if keys != nil {
		body, ok := keys.unseal(nil, slot[:metaBytes], slot[metaBytes:])
		s = cryptobyte.String(body)
		return p, ok && p.read(&s)
	}
	sum := crypto.Hash(crypto.DomainGuard, p.instance[:], slot[:slotBytes-32])
	return p, p.read(&s) && string(sum[:]) == string(slot[slotBytes-32:])
}

func (p *promise) read(s *cryptobyte.String) bool {
	return s.ReadUint64(&p.seq) && s.CopyBytes(p.digest[:]) &&
		s.ReadUint64((*uint64)(&p.term)) && s.ReadUint8((*uint8)(&p.vote.Candidate)) &&
		quorumcert.ReadLock(s, &p.vote.Lock) && quorumcert.ReadLock(s, &p.lock) &&
		quorumcert.ReadLock(s, &p.mark) && readPosition(s, &p.tip) && s.ReadUint64(&p.number)
}

// newer says whether p was made after q.
func (p *promise) newer(q *promise) bool {
	return p.seq > q.seq || p.seq == q.seq && p.number > q.number
}

// judge says whether a store in state st, with so many records behind its batch and this digest,
// explains the promise. The lock is not compared: a later batch may rightly have lowered it to the
// base of an election (A2); that it is the lock of that batch the digest shows.
func (p *promise) judge(st *state, number uint64, digest crypto.Digest) error {
	same := st.seq == p.seq
	switch {
	case mutant.On(mutant.M64):
		return nil
	case st.seq < p.seq:
		return fmt.Errorf("%w: it has batch %d, the guard %d", ErrBehindGuard, st.seq, p.seq)
	case same && number < p.number && !mutant.On(mutant.M133):
		return fmt.Errorf("%w: its journal has %d records behind batch %d, the guard %d",
			ErrBehindGuard, number, p.seq, p.number)
	case same && number == p.number && digest != p.digest:
		return fmt.Errorf("%w: batch %d is not the one that was guarded", ErrBehindGuard, st.seq)
	case st.hard.Term < p.term:
		return fmt.Errorf("%w: it is in term %d, the guard in %d", ErrBehindGuard,
			st.hard.Term, p.term)
	case st.hard.Term == p.term && p.mark.Higher(st.hard.Mark):
		return fmt.Errorf("%w: its mark is lower than the guard's", ErrBehindGuard)
	case st.hard.Term == p.term && p.vote.Candidate != 0 &&
		st.hard.Vote.Candidate != p.vote.Candidate:
		return fmt.Errorf("%w: the vote of term %d differs", ErrBehindGuard, p.term)
	}
	return nil
}

// guard is the open guard file. It holds the lock against other processes.
type guard struct {
	file   *os.File
	seals  *sealer      // with what slots are written
	wraps  *wrappedKeys // nil for a store that is not encrypted
	newest promise
	slot   int       // of the newest promise that was flushed
	spoilt bool      // the other slot could not be read
	begun  time.Time // when the kernel was last asked to begin to write a note
}

// noteEvery is how often the kernel is asked to begin to write a note, which it would otherwise put
// off for half a minute.
const noteEvery = time.Second

// slot returns a whole slot.
func (s *sealer) slot(p *promise) []byte {
	if s.keys == nil {
		return p.encode()
	}
	return p.seal(s.keys)
}

func createGuard(path string, seals *sealer, p promise) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("create guard: %w", err)
	}
	_, err = f.Write(append(seals.slot(&p), seals.slot(&p)...))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write guard: %w", err)
	}
	return nil
}

// openGuard locks and reads the guard. Between the two, while nobody else can change what is in the
// directory, it asks for the data keys, of which a store that is not encrypted has none.
func openGuard(path string, unlock func() (*wrappedKeys, *dataKeys, error)) (*guard, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: there is no %s", ErrMissing, path)
	}
	if err != nil {
		return nil, fmt.Errorf("open guard: %w", err)
	}
	g := &guard{file: f, seals: &sealer{}}
	if err = g.lock(); err == nil {
		if g.wraps, g.seals.keys, err = unlock(); err == nil {
			err = g.read()
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return g, nil
}

func (g *guard) lock() error {
	err := syscall.Flock(int(g.file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrLocked
	}
	if err != nil {
		return fmt.Errorf("lock guard: %w", err)
	}
	return nil
}

// read finds the newest promise. What a process that was killed has noted may be in memory alone,
// and goes to the disk before the other slot is written.
func (g *guard) read() error {
	if err := journal.Datasync(g.file); err != nil {
		return fmt.Errorf("sync guard: %w", err)
	}
	found, sealed, foreign := 0, 0, 0
	for slot := range 2 {
		b := make([]byte, slotBytes)
		if _, err := g.file.ReadAt(b, int64(slot*slotBytes)); err != nil {
			continue // too short or unreadable: like any other damage
		}
		p, ok := decodePromise(b, g.seals.keys)
		if !ok {
			if b[0] == formatEncrypted {
				sealed++
			}
			if g.wraps != nil && p.meta != g.wraps.meta {
				foreign++
			}
			continue
		}
		if found++; found == 1 || p.newer(&g.newest) {
			g.newest, g.slot = p, slot
		}
	}
	switch {
	case sealed == 2 && g.seals.keys == nil:
		return fmt.Errorf("%w: there is no file %q, so it cannot be decrypted", ErrMissing, keysFile)
	case foreign == 2:
		return fmt.Errorf("%w: guard and data keys do not belong together", ErrWrongIdentity)
	case found == 0:
		return ErrGuardDamaged
	}
	g.seals.id = g.newest.instance
	g.spoilt = found == 1
	return nil
}

// write makes p durable in the slot that does not hold the newest promise that was. Its pages
// exist, so the size of the file does not change and one flush of data is enough.
func (g *guard) write(p promise) error {
	slot := g.free()
	if err := g.put(&p, slot); err != nil {
		return err
	}
	if !mutant.On(mutant.M15b) {
		if err := journal.Datasync(g.file); err != nil {
			return fmt.Errorf("sync guard: %w", err)
		}
	}
	g.newest, g.slot, g.spoilt = p, slot, false
	return nil
}

// note writes p where write would, and does not wait for the disk. All notes go to the one slot, so
// that a power loss finds the other whole.
func (g *guard) note(p promise) error {
	slot := g.free()
	if err := g.put(&p, slot); err != nil {
		return err
	}
	g.newest = p
	if time.Since(g.begun) < noteEvery {
		return nil
	}
	g.begun = time.Now()
	if err := beginWriting(g.file, int64(slot*slotBytes), slotBytes); err != nil {
		return fmt.Errorf("begin to write guard: %w", err)
	}
	return nil
}

func (g *guard) put(p *promise, slot int) error {
	if _, err := g.file.WriteAt(g.seals.slot(p), int64(slot*slotBytes)); err != nil {
		return fmt.Errorf("write guard: %w", err)
	}
	return nil
}

// free returns the slot that is written next.
func (g *guard) free() int {
	if mutant.On(mutant.M65) {
		return g.slot
	}
	return 1 - g.slot
}

func (g *guard) close() error { return g.file.Close() }
