package store_test

import (
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/store"
	"tangaroa/bftraft/store/storetest"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// BenchmarkSave saves what a follower saves for each block: 128 KiB that do not compress, and the
// hard state with the new mark. Run it under "strace -fc -e trace=msync,fsync,fdatasync" to count
// the flushes.
func BenchmarkSave(b *testing.B) {
	b.Run("plain", func(b *testing.B) { benchmarkSave(b, crypto.SecretKey{}) })
	b.Run("encrypted", func(b *testing.B) { benchmarkSave(b, master) })
}

func benchmarkSave(b *testing.B, k crypto.SecretKey) {
	dir := filepath.Join(b.TempDir(), "data")
	require.NoError(b, store.CreateEncrypted(dir, storetest.Identity, k))
	s, err := store.Open(dir, store.Options{Identity: storetest.Identity, Master: k})
	require.NoError(b, err)
	defer func() { require.NoError(b, s.Close()) }()
	r, err := s.Load()
	require.NoError(b, err)
	rng := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 128<<10)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	hard, tip := r.HardState, r.Tip
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		rng.Shuffle(64, func(i, j int) { data[i], data[j] = data[j], data[i] })
		entry := bftraft.Entry{Kind: bftraft.EntryRequest, Data: append([]byte(nil), data...)}
		block := bftraft.NewBlock(tip, []bftraft.Entry{entry})
		tip = block.End()
		hard.Mark = quorumcert.Lock{Term: 1, Index: tip.Index, Hash: tip.Hash}
		state := hard
		require.NoError(b, s.Save(&bftraft.Ready{
			HardState: &state, Blocks: []*bftraft.Block{block}, MustSync: true,
		}))
	}
}
