//go:build linux

package processes

import (
	"bytes"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
	"tangaroa/tests/chaos"
)

// tampered is a real log in which something was altered.
type tampered struct {
	chaos.Log
	block  func(*bftraft.Block) *bftraft.Block
	commit func(*quorumcert.Commit)
	load   func(*bftraft.Restored)
}

func (l tampered) Load() (bftraft.Restored, error) {
	r, err := l.Log.Load()
	if l.load != nil {
		l.load(&r)
	}
	return r, err
}

func (l tampered) Block(i bftraft.Index) (*bftraft.Block, bool) {
	b, ok := l.Log.Block(i)
	if ok && l.block != nil {
		b = l.block(b)
	}
	return b, ok
}

func (l tampered) Commit(i bftraft.Index) (*quorumcert.Commit, bool) {
	c, ok := l.Log.Commit(i)
	if ok && l.commit != nil {
		altered := *c
		altered.Sigs = slices.Clone(c.Sigs)
		l.commit(&altered)
		c = &altered
	}
	return c, ok
}

// requireReplayCanFail holds altered copies of a good log to the same oracle: it must refuse each.
func requireReplayCanFail(t *testing.T, g *bftraft.Genesis, log chaos.Log, good *chaos.History,
	acked [][]byte,
) {
	t.Helper()
	middle := bftraft.Index(good.Ends[len(good.Ends)/2].Index)
	for name, bad := range map[string]chaos.Log{
		"forged block": tampered{Log: log, block: func(b *bftraft.Block) *bftraft.Block {
			if b.First() > middle || b.Last() < middle {
				return b
			}
			return forged(t, b)
		}},
		"forged last block": tampered{Log: log, block: func(b *bftraft.Block) *bftraft.Block {
			if b.End() != good.Ends[len(good.Ends)-1] {
				return b
			}
			return forged(t, b)
		}},
		"forged signature": tampered{Log: log, commit: func(c *quorumcert.Commit) {
			c.Sigs[0][5] ^= 1
		}},
		"signature of another": tampered{Log: log, commit: func(c *quorumcert.Commit) {
			c.Sigs[0], c.Sigs[1] = c.Sigs[1], c.Sigs[0]
		}},
		"too few signers": tampered{Log: log, commit: func(c *quorumcert.Commit) {
			c.Signers &= c.Signers - 1
		}},
		"commit without a certificate": tampered{Log: log, load: func(r *bftraft.Restored) {
			made := *r.Commit
			made.Sigs = make([]crypto.Signature, len(r.Commit.Sigs))
			r.Commit = &made
		}},
	} {
		_, err := chaos.Replay(g, bad)
		require.Error(t, err, name)
	}
	fork := *good
	fork.Ends = slices.Clone(good.Ends)
	fork.Ends[len(fork.Ends)/2].Hash[3] ^= 1
	require.Error(t, good.Agree(&fork), "fork")
	require.Error(t, good.Holds(append(slices.Clone(acked), []byte("never written"))), "lost")
	t.Log("the replay refuses altered copies of the log")
}

// forged returns a block with one bit of its entries altered: it decodes, and is another block.
func forged(t *testing.T, b *bftraft.Block) *bftraft.Block {
	t.Helper()
	raw := bytes.Clone(b.Raw())
	raw[len(raw)-1] ^= 1
	other, drop := bftraft.DecodeBlock(raw)
	require.Equal(t, bftraft.Accepted, drop)
	require.NotEqual(t, b.Hash(), other.Hash())
	return other
}
