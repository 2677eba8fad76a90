package store

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

func noKeys() (*wrappedKeys, *dataKeys, error) { return nil, nil, nil }

// slotOf is the slot of a store's n-th batch.
func slotOf(n uint64) promise {
	st := genesisState(crypto.Digest{1})
	st.seq, st.hard.Term = n, bftraft.Term(1+n/2)
	st.hard.Vote = bftraft.VoteRecord{Candidate: 2, Lock: st.hard.Lock}
	st.hard.Mark = quorumcert.Lock{Term: st.hard.Term, Index: bftraft.Index(n)}
	m := meta{identity: Identity{crypto.Digest{5}, 6, crypto.PublicKey{7}}, instance: instance{8}}
	return promiseOf(m, &st, st.encode())
}

// FuzzGuardSlots gives a guard two slots, of batches that the first two bytes number, and changes
// them: four bytes each, a place in the file, what is added there, and how far the file goes after
// it (0: to its end). What opens must be the newest slot that nothing happened to, and what does
// not open has none.
func FuzzGuardSlots(f *testing.F) {
	path := filepath.Join(f.TempDir(), "guard")
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 2 || len(data) > 64 {
			return
		}
		slots := [2]promise{slotOf(uint64(data[0])), slotOf(uint64(data[1]))}
		whole := append(slots[0].encode(), slots[1].encode()...)
		raw := append([]byte(nil), whole...)
		for rest := data[2:]; len(rest) >= 4; rest = rest[4:] {
			if at := int(binary.BigEndian.Uint16(rest)); at < len(raw) {
				raw[at] += rest[2]
			}
			if cut := int(rest[3]) << 6; cut != 0 && cut < len(raw) {
				raw = raw[:cut]
			}
		}
		require.NoError(t, os.WriteFile(path, raw, 0o600))
		intact := [2]bool{}
		for k := range intact {
			end := (k + 1) * slotBytes
			intact[k] = len(raw) >= end && string(raw[end-slotBytes:end]) ==
				string(whole[end-slotBytes:end])
		}
		g, err := openGuard(path, noKeys)
		if !intact[0] && !intact[1] {
			require.ErrorIs(t, err, ErrGuardDamaged)
			return
		}
		require.NoError(t, err)
		defer func() { require.NoError(t, g.close()) }()
		want := 0
		if !intact[0] || intact[1] && data[1] > data[0] {
			want = 1
		}
		require.Equal(t, slots[want], g.newest)
		require.Equal(t, want, g.slot)
		require.Equal(t, intact[0] != intact[1], g.spoilt)
	})
}

// A write never touches the slot of the newest promise, so that whatever a crash leaves of it, the
// guard holds the last promise or the one before.
func TestTornWriteLeavesThePromiseBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "guard")
	require.NoError(t, createGuard(path, &sealer{}, slotOf(1)))
	g, err := openGuard(path, noKeys)
	require.NoError(t, err)
	require.False(t, g.spoilt)
	for n := uint64(2); n < 12; n++ {
		before, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, g.write(slotOf(n)))
		require.NoError(t, g.close())
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Len(t, after, 2*slotBytes)
		for torn := 0; torn <= len(after); torn += 512 {
			mixed := append(append([]byte(nil), after[:torn]...), before[torn:]...)
			require.NoError(t, os.WriteFile(path, mixed, 0o600))
			g, err := openGuard(path, noKeys)
			require.NoError(t, err, "torn at %d", torn)
			require.Contains(t, []promise{slotOf(n - 1), slotOf(n)}, g.newest)
			require.NoError(t, g.close())
		}
		require.NoError(t, os.WriteFile(path, after, 0o600))
		g, err = openGuard(path, noKeys)
		require.NoError(t, err)
		require.Equal(t, slotOf(n), g.newest)
		require.False(t, g.spoilt)
	}
	require.NoError(t, g.close())
}

// Notes are not flushed, so a power loss may tear the last; they leave alone the slot that was
// flushed, and what is written next goes where they went.
func TestTornNoteLeavesThePromiseThatWasFlushed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "guard")
	require.NoError(t, createGuard(path, &sealer{}, slotOf(1)))
	g, err := openGuard(path, noKeys)
	require.NoError(t, err)
	defer func() { require.NoError(t, g.close()) }()
	for n := uint64(2); n < 6; n++ {
		require.NoError(t, g.write(slotOf(n)))
		for number := uint64(1); number < 4; number++ {
			noted := slotOf(n)
			noted.number = number
			require.NoError(t, g.note(noted))
			require.Equal(t, noted, g.newest)
			raw, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, noted, newestIn(t, raw).newest, "a process that was killed")
			clear(raw[(1-g.slot)*slotBytes:][:slotBytes/2])
			torn := newestIn(t, raw)
			require.Equal(t, slotOf(n), torn.newest)
			require.True(t, torn.spoilt)
		}
	}
}

// newestIn opens a guard with these slots, and closes it.
func newestIn(t *testing.T, raw []byte) *guard {
	t.Helper()
	path := filepath.Join(t.TempDir(), "guard")
	require.NoError(t, os.WriteFile(path, raw, 0o600))
	g, err := openGuard(path, noKeys)
	require.NoError(t, err)
	require.NoError(t, g.close())
	return g
}

// A promise that may not be on the disk is none: nothing may be signed on it.
func TestGuardThatCannotBeFlushedPromisesNothing(t *testing.T) {
	open := func(path string, flags int) *guard {
		f, err := os.OpenFile(path, flags, 0)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, f.Close()) })
		return &guard{file: f, seals: &sealer{}, newest: slotOf(1), spoilt: true}
	}
	for _, test := range []struct {
		g    *guard
		want error
	}{
		{open(os.DevNull, os.O_RDWR), syscall.EINVAL},  // takes what is written, cannot be flushed
		{open(os.DevNull, os.O_RDONLY), syscall.EBADF}, // takes nothing
	} {
		require.ErrorIs(t, test.g.write(slotOf(2)), test.want)
		require.Equal(t, slotOf(1), test.g.newest)
		require.Zero(t, test.g.slot)
		require.True(t, test.g.spoilt)
	}
}

// Whatever a state holds is read back, with and without each of its parts.
func TestStateRecordRoundTrips(t *testing.T) {
	for parts := range 8 {
		st := genesisState(crypto.Digest{1})
		st.seq, st.tip.Index = 7, 9
		st.hard.Mark = quorumcert.Lock{Term: 3, Index: 9, Hash: crypto.Digest{4}}
		st.hard.Vote = bftraft.VoteRecord{Candidate: 64, Lock: quorumcert.Lock{Term: 2}}
		if parts&1 != 0 {
			st.hard.LockQC = &quorumcert.QC{
				Lock: quorumcert.Lock{Term: 1, Index: 3}, Certified: []bftraft.Index{2},
				Signatures: quorumcert.Signatures{
					Signers: quorumcert.SetOf(3), Sigs: make([]crypto.Signature, 1),
				},
			}
		}
		if parts&2 != 0 {
			st.hard.Proof.TC = &quorumcert.TC{Term: 4}
			st.hard.Proof.TC.Sigs = []crypto.Signature{}
		}
		if parts&4 != 0 {
			st.hard.Term = 1 << 40
		}
		raw := st.encode()
		again, ok := decodeState(raw)
		require.True(t, ok, "parts %d", parts)
		require.Equal(t, st, again)
		_, ok = decodeState(append(raw, 0))
		require.False(t, ok, "a byte too many")
		for n := range raw {
			_, ok = decodeState(raw[:n])
			require.False(t, ok, "cut to %d bytes", n)
		}
	}
}

// A record is taken under its own key in its own store only, encrypted or not.
func TestSealedRecordBelongsToItsKeyAndStore(t *testing.T) {
	for _, stores := range [][2]*sealer{
		{{id: instance{1}}, {id: instance{2}}},
		{{id: instance{1}, keys: firstKeys()}, {id: instance{1}, keys: firstKeys()}},
	} {
		s, other := stores[0], stores[1]
		k := key(keyBlock, 4, 5)
		for _, value := range [][]byte{{}, {0}, []byte("some value")} {
			sealed := s.seal(k, append([]byte(nil), value...))
			require.Len(t, sealed, len(value)+s.overhead())
			got, ok := s.unseal(k, sealed)
			require.True(t, ok)
			require.Equal(t, value, append([]byte{}, got...))
			_, ok = other.unseal(k, sealed)
			require.False(t, ok, "another store")
			_, ok = s.unseal(key(keyBlock, 4, 6), sealed)
			require.False(t, ok, "another key")
			for n := range sealed {
				_, ok = s.unseal(k, sealed[:n])
				require.False(t, ok, "cut to %d bytes", n)
			}
			for at := range sealed {
				sealed[at] ^= 0x80
				_, ok = s.unseal(k, sealed)
				require.False(t, ok, "byte %d", at)
				sealed[at] ^= 0x80
			}
		}
	}
}

func TestNumbersOfAKeyReadBack(t *testing.T) {
	numbers := []uint64{1 << 63, 7, 0}
	k := key(keyPart, numbers...)
	for i, want := range numbers {
		got, ok := number(k, i)
		require.True(t, ok)
		require.Equal(t, want, got)
	}
	_, ok := number(k, 3)
	require.False(t, ok)
	_, ok = number(k[:len(k)-1], 2)
	require.False(t, ok)
}
