package store

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/cryptobyte"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// FuzzRecords gives any bytes to the decoders of what stands on the disk: none may panic, and what
// is taken has one encoding.
func FuzzRecords(f *testing.F) {
	st := genesisState(crypto.Digest{1})
	f.Add(st.encode())
	st.hard.Vote.Candidate = 3
	st.hard.LockQC = &quorumcert.QC{Certified: []bftraft.Index{}}
	st.hard.Proof.TC = &quorumcert.TC{Term: 4}
	f.Add(st.encode())
	p := promiseOf(meta{identity: Identity{Node: 1}}, &st, st.encode())
	f.Add(p.encode())
	f.Add(append(st.encode(), make([]byte, 8+32)...)) // a base that is the genesis is not written
	st.base = bftraft.Position{Index: 7, Hash: crypto.Digest{8}}
	f.Add(st.encode())
	file := &snapshotFile{seals: &sealer{}, ends: []int64{int64(frontBytes) + checksumBytes + 5}}
	file.info = SnapshotInfo{At: st.base, Chunks: 1, Bytes: 5, Proof: []byte("proof")}
	f.Add(file.footer())
	k := key(keyBlock, 1, 2)
	f.Add(blockHeader{first: 1, parts: 2}.encode(&sealer{}, k))
	f.Add(appendSaved(nil, everythingSaved()))
	f.Add(appendSaved(nil, &bftraft.Ready{HardState: &bftraft.HardState{}, Ended: endOf(3)}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		in := cryptobyte.String(raw)
		if r, ok := readSaved(&in); ok {
			require.Equal(t, raw[:len(raw)-len(in)], appendSaved(nil, r))
		}
		if st, ok := decodeState(raw); ok {
			require.Equal(t, raw, st.encode())
		}
		file := &snapshotFile{seals: &sealer{}}
		if file.readFooter(raw) {
			require.Equal(t, raw, file.footer())
		}
		slot := make([]byte, slotBytes)
		copy(slot, raw)
		if p, ok := decodePromise(slot, nil); ok {
			require.True(t, bytes.HasPrefix(slot, p.encode()[:300]))
		}
		if h, _, ok := decodeBlockHeader(&sealer{}, k, raw); ok {
			require.True(t, bytes.HasPrefix(raw, h.encode(&sealer{}, k)))
		}
		if w, ok := decodeKeys(raw); ok {
			require.Equal(t, raw, w.encode())
		}
	})
}

// everythingSaved is a Ready with one of each that Save stores.
func everythingSaved() *bftraft.Ready {
	hard := genesisState(crypto.Digest{1}).hard
	hard.Term, hard.Vote.Candidate = 7, 2
	hard.LockQC = &quorumcert.QC{Lock: hard.Lock, Certified: []bftraft.Index{}}
	b := bftraft.NewBlock(bftraft.Position{Index: 3}, []bftraft.Entry{{Kind: 1, Data: []byte("x")}})
	return &bftraft.Ready{
		HardState: &hard, Truncated: true, Truncate: 3, Blocks: []*bftraft.Block{b},
		Commits:  []*quorumcert.Commit{{Term: 1, Index: 4, Hash: b.Hash()}},
		Evidence: []quorumcert.Evidence{conflictOf(3)},
	}
}

// TestSavedKeepsItsLayout: who changes what stands in a record of the journal says here what it is
// now, or nodes would read what was promised as damage.
func TestSavedKeepsItsLayout(t *testing.T) {
	raw := appendSaved(nil, everythingSaved())
	require.Equal(t, "5ede3bb849217af09c76c54ecce0a046ef65efea4817068d4a0913d2b5b403d3",
		crypto.Hash(crypto.DomainState, raw).String())
	for n := range len(raw) {
		in := cryptobyte.String(raw[:n])
		_, ok := readSaved(&in)
		require.False(t, ok, "%d of %d bytes", n, len(raw))
	}
	in := cryptobyte.String(append(raw, appendSaved(nil, &bftraft.Ready{})...))
	for range 2 {
		_, ok := readSaved(&in)
		require.True(t, ok)
	}
	require.True(t, in.Empty())
	why := everythingSaved()
	why.Ended = endOf(6)
	more := appendSaved(nil, why)
	require.Equal(t, append(raw[1:len(raw):len(raw)], endOf(6).AppendTo(nil)...), more[1:],
		"why a term ended is added at the end")
	in = cryptobyte.String(more)
	got, ok := readSaved(&in)
	require.True(t, ok && in.Empty())
	require.Equal(t, why.Ended, got.Ended)
	why.HardState = nil
	require.Zero(t, appendSaved(nil, why)[0]&savedEnd, "it belongs to a term")
	in = cryptobyte.String(append(appendSaved(nil, &bftraft.Ready{}), endOf(6).AppendTo(nil)...))
	in[0] |= savedEnd
	_, ok = readSaved(&in)
	require.False(t, ok)
	raw[0] |= 1 << 7
	in = cryptobyte.String(raw)
	_, ok = readSaved(&in)
	require.False(t, ok, "it says more than is known")
}

// TestGuardSlotRoundTrips reads back what was written, and nothing with a bit changed.
func TestGuardSlotRoundTrips(t *testing.T) {
	st := genesisState(crypto.Digest{1})
	st.hard.Vote = bftraft.VoteRecord{Candidate: 2, Lock: st.hard.Lock}
	st.hard.Mark = quorumcert.Lock{Term: 3, Index: 9, Hash: crypto.Digest{4}}
	m := meta{identity: Identity{crypto.Digest{5}, 6, crypto.PublicKey{7}}, instance: instance{8}}
	for _, keys := range []*dataKeys{nil, firstKeys()} {
		m.encrypted = keys != nil
		want := promiseOf(m, &st, st.encode())
		slot := (&sealer{keys: keys}).slot(&want)
		require.Len(t, slot, slotBytes)
		got, ok := decodePromise(slot, keys)
		require.True(t, ok)
		require.Equal(t, want, got)
		for bit := 0; bit < slotBytes*8; bit += 7 {
			slot[bit/8] ^= 1 << (bit % 8)
			_, ok := decodePromise(slot, keys)
			require.False(t, ok, "bit %d", bit)
			slot[bit/8] ^= 1 << (bit % 8)
		}
		_, ok = decodePromise(slot, firstKeys())
		require.False(t, ok, "with keys of another store")
		if keys != nil {
			_, ok = decodePromise(slot, nil)
			require.False(t, ok)
		}
	}
}

// TestOlderStateDoesNotExplainPromise goes through what a node may have signed.
func TestOlderStateDoesNotExplainPromise(t *testing.T) {
	for _, candidate := range []bftraft.NodeID{1, 2, 64} {
		t.Run(fmt.Sprint("vote for ", candidate), func(t *testing.T) {
			judgeOlderStates(t, candidate)
		})
	}
}

func judgeOlderStates(t *testing.T, candidate bftraft.NodeID) {
	st := genesisState(crypto.Digest{1})
	st.seq, st.hard.Term = 5, 4
	p := promiseOf(meta{}, &st, st.encode())
	voted := st
	voted.seq++
	voted.hard.Vote.Candidate = candidate
	require.NoError(t, p.judge(&voted, 0, crypto.Digest{}), "the first vote of the term")
	st.hard.Vote.Candidate = candidate
	st.hard.Lock = quorumcert.Lock{Term: 3, Index: 8}
	st.hard.Mark = quorumcert.Lock{Term: 4, Index: 9}
	p = promiseOf(meta{}, &st, st.encode())
	newer := st
	newer.seq++
	require.NoError(t, p.judge(&newer, 0, crypto.Digest{}))
	lowered := newer
	lowered.hard.Lock.Index = 7
	require.NoError(t, p.judge(&lowered, 0, crypto.Digest{}), "to the base of an election (A2)")
	lowered.seq = p.seq
	require.ErrorIs(t, p.judge(&lowered, 0, crypto.Digest{}), ErrBehindGuard, "not in that batch")
	for name, change := range map[string]func(*state){
		"batch": func(s *state) { s.seq = 4 },
		"term":  func(s *state) { s.hard.Term = 3 },
		"vote":  func(s *state) { s.hard.Vote.Candidate = 0 },
		"other": func(s *state) { s.hard.Vote.Candidate++ },
		"mark":  func(s *state) { s.hard.Mark.Index = 8 },
	} {
		older := newer
		change(&older)
		require.ErrorIs(t, p.judge(&older, 0, crypto.Digest{}), ErrBehindGuard, name)
	}
}

// TestRecordsKeepTheirLayout: who changes one changes formatVersion with it, and says here what it
// is now, or nodes would read their old stores as damaged.
func TestRecordsKeepTheirLayout(t *testing.T) {
	st := genesisState(crypto.Digest{1})
	st.seq, st.tip.Index, st.hard.Term = 5, 6, 7
	st.hard.Vote = bftraft.VoteRecord{Candidate: 2, Lock: quorumcert.Lock{Term: 3, Index: 4}}
	st.hard.Lock = quorumcert.Lock{Term: 8, Index: 9, Hash: crypto.Digest{10}}
	st.hard.Mark = quorumcert.Lock{Term: 11, Index: 12, Hash: crypto.Digest{13}}
	st.hard.LockQC = &quorumcert.QC{Lock: st.hard.Lock}
	st.hard.Proof.TC = &quorumcert.TC{Term: 14}
	m := meta{identity: Identity{crypto.Digest{15}, 16, crypto.PublicKey{17}}, instance: instance{18}}
	p := promiseOf(m, &st, st.encode())
	k := key(keyPart, 19, 20, 21)
	var all []byte
	for _, record := range [][]byte{
		m.encode(), st.encode(), p.encode(), k, m.instance.checked(k, []byte("value")),
		blockHeader{first: 22, hash: crypto.Digest{23}, parts: 24}.encode(&sealer{id: m.instance}, k),
		{keyMeta, keyState, keyTrim, keyBlock, keyPart, keyCommit, keyEvidence},
	} {
		all = append(all, record...)
	}
	require.Equal(t, 1, formatVersion)
	require.Equal(t, "c4b499a687382d17db04b5ab662c1f52838d4a8d3ba9878296d6c803b409a937",
		crypto.Hash(crypto.DomainState, all).String())

	old := st.encode()
	st.base = bftraft.Position{Index: 25, Hash: crypto.Digest{26}}
	file := &snapshotFile{
		seals: &sealer{id: m.instance},
		front: snapshotFront(m, 25, [serialBytes]byte{27}),
		info:  SnapshotInfo{At: st.base, Proof: []byte("proof")},
		ends:  []int64{int64(frontBytes) + 28 + checksumBytes},
	}
	require.True(t, bytes.HasPrefix(st.encode(), old), "a base is added at the end")
	got, ok := decodeState(st.encode())
	require.True(t, ok)
	require.Equal(t, st.base, got.base)
	require.Equal(t, "6e5f7901e1f850de320819cf1ae8c141fc0a7b3d980d7018e76b335a4984f38f",
		crypto.Hash(crypto.DomainState, st.encode(), file.front, file.footer(),
			file.place(29), file.place(footerPlace)).String())
}

// TestEncryptedRecordsKeepTheirLayout is the same for an encrypted store. Its keys file is kept
// whole, so that it can be read without this program.
func TestEncryptedRecordsKeepTheirLayout(t *testing.T) {
	keys := &dataKeys{newest: 3, all: []dataKey{
		newDataKey(2, crypto.NewSecretKey([32]byte{2})),
		newDataKey(3, crypto.NewSecretKey([32]byte{3})),
	}}
	m := meta{
		identity: Identity{crypto.Digest{15}, 16, crypto.PublicKey{17}}, instance: instance{18},
		encrypted: true,
	}
	masters := []crypto.SecretKey{
		crypto.NewSecretKey([32]byte{4}), crypto.NewSecretKey([32]byte{5}),
	}
	w := wrapKeysWith([][crypto.SealNonceBytes]byte{{6}, {7}}, m, keys, masters)
	got, ok := decodeKeys(w.encode())
	require.True(t, ok)
	require.Equal(t, w, got)
	for _, master := range masters {
		opened, err := got.open(master)
		require.NoError(t, err)
		require.Len(t, opened.all, 2)
		require.Equal(t, keys.all[0].key.Bytes(), opened.all[0].key.Bytes())
		require.Equal(t, epoch(3), opened.newest)
	}
	st := genesisState(crypto.Digest{1})
	p := promiseOf(m, &st, st.encode())
	k := key(keyPart, 19, 20, 21)
	nonce := [crypto.SealNonceBytes]byte{22}
	sealed := keys.sealWith(nonce, nil, k, []byte("value"))
	require.Equal(t, "00000003"+"160000000000000000000000000000000000000000000000"+
		"ddbe49e4bd33a62ca2a927192ce14162110453ff57", fmt.Sprintf("%x", sealed))
	body := keys.sealWith(nonce, nil, blockPlace(k), []byte("value"))
	slot := p.seal(keys)
	require.Len(t, slot, slotBytes)
	require.Equal(t, "6e4be2744e5e633b2261db2f25ef3ce6c7f0af25426bd53b1754407c41a83e9e",
		crypto.Hash(crypto.DomainState, m.encode(), p.body(), w.encode(), body).String())
}

// TestNoNonceIsUsedTwice: what is sealed twice looks different, to the last word.
func TestNoNonceIsUsedTwice(t *testing.T) {
	s := &sealer{keys: firstKeys()}
	seen := map[string]bool{}
	for range 1000 {
		sealed := s.seal(key(keyState), make([]byte, 8))
		nonce := sealed[epochBytes : epochBytes+crypto.SealNonceBytes]
		require.False(t, seen[string(nonce[:8])] || seen[string(nonce[16:])])
		seen[string(nonce[:8])], seen[string(nonce[16:])] = true, true
	}
}

// TestDataKeysAscendAndEndWithTheNewest: nothing else is taken, even from who has the master key.
func TestDataKeysAscendAndEndWithTheNewest(t *testing.T) {
	entry := func(e byte) []byte { return append([]byte{0, 0, 0, e}, make([]byte, 32)...) }
	for _, test := range []struct {
		name   string
		plain  []byte
		newest epoch
		ok     bool
	}{
		{"one", entry(1), 1, true},
		{"two", append(entry(1), entry(4)...), 4, true},
		{"none", nil, 0, false},
		{"of nothing", nil, 1, false},
		{"not the newest", append(entry(1), entry(4)...), 1, false},
		{"newer than there are", entry(1), 2, false},
		{"descending", append(entry(4), entry(1)...), 1, false},
		{"twice", append(entry(1), entry(1)...), 1, false},
		{"zero", entry(0), 0, false},
		{"cut", entry(1)[:35], 1, false},
	} {
		_, ok := readDataKeys(test.plain, test.newest)
		require.Equal(t, test.ok, ok, test.name)
	}
}

func TestSnapshotTakesSoManyChunksAndNoMore(t *testing.T) {
	info := SnapshotInfo{Chunks: bftraft.MaxChunks - 1}
	require.NoError(t, takesChunk(&info, []byte{1}))
	info.Chunks++
	require.ErrorIs(t, takesChunk(&info, []byte{1}), ErrSnapshotSize)
}
