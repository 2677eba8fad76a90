package store

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

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
	k := key(keyBlock, 1, 2)
	f.Add(blockHeader{first: 1, parts: 2}.encode(instance{}, k))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if st, ok := decodeState(raw); ok {
			require.Equal(t, raw, st.encode())
		}
		slot := make([]byte, slotBytes)
		copy(slot, raw)
		if p, ok := decodePromise(slot); ok {
			require.True(t, bytes.HasPrefix(slot, p.encode()[:300]))
		}
		if h, ok := decodeBlockHeader(instance{}, k, raw); ok {
			require.True(t, bytes.HasPrefix(raw, h.encode(instance{}, k)))
		}
	})
}

// TestGuardSlotRoundTrips reads back what was written, and nothing with a bit changed.
func TestGuardSlotRoundTrips(t *testing.T) {
	st := genesisState(crypto.Digest{1})
	st.hard.Vote = bftraft.VoteRecord{Candidate: 2, Lock: st.hard.Lock}
	st.hard.Mark = quorumcert.Lock{Term: 3, Index: 9, Hash: crypto.Digest{4}}
	m := meta{identity: Identity{crypto.Digest{5}, 6, crypto.PublicKey{7}}, instance: instance{8}}
	want := promiseOf(m, &st, st.encode())
	slot := want.encode()
	require.Len(t, slot, slotBytes)
	got, ok := decodePromise(slot)
	require.True(t, ok)
	require.Equal(t, want, got)
	for bit := 0; bit < slotBytes*8; bit += 7 {
		slot[bit/8] ^= 1 << (bit % 8)
		_, ok := decodePromise(slot)
		require.False(t, ok, "bit %d", bit)
		slot[bit/8] ^= 1 << (bit % 8)
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
	require.NoError(t, p.judge(&voted, crypto.Digest{}), "the first vote of the term")
	st.hard.Vote.Candidate = candidate
	st.hard.Lock = quorumcert.Lock{Term: 3, Index: 8}
	st.hard.Mark = quorumcert.Lock{Term: 4, Index: 9}
	p = promiseOf(meta{}, &st, st.encode())
	newer := st
	newer.seq++
	require.NoError(t, p.judge(&newer, crypto.Digest{}))
	lowered := newer
	lowered.hard.Lock.Index = 7
	require.NoError(t, p.judge(&lowered, crypto.Digest{}), "to the base of an election (A2)")
	lowered.seq = p.seq
	require.ErrorIs(t, p.judge(&lowered, crypto.Digest{}), ErrBehindGuard, "not in that batch")
	for name, change := range map[string]func(*state){
		"batch": func(s *state) { s.seq = 4 },
		"term":  func(s *state) { s.hard.Term = 3 },
		"vote":  func(s *state) { s.hard.Vote.Candidate = 0 },
		"other": func(s *state) { s.hard.Vote.Candidate++ },
		"mark":  func(s *state) { s.hard.Mark.Index = 8 },
	} {
		older := newer
		change(&older)
		require.ErrorIs(t, p.judge(&older, crypto.Digest{}), ErrBehindGuard, name)
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
		m.encode(), st.encode(), p.encode(), k, m.instance.seal(k, []byte("value")),
		blockHeader{first: 22, hash: crypto.Digest{23}, parts: 24}.encode(m.instance, k),
		{keyMeta, keyState, keyTrim, keyBlock, keyPart, keyCommit, keyEvidence},
	} {
		all = append(all, record...)
	}
	require.Equal(t, 1, formatVersion)
	require.Equal(t, "c4b499a687382d17db04b5ab662c1f52838d4a8d3ba9878296d6c803b409a937",
		crypto.Hash(crypto.DomainState, all).String())
}
