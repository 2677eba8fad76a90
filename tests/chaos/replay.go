package chaos

import (
	"fmt"
	"math/bits"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// Log is what a data directory holds: bftraft/store reads it.
type Log interface {
	Load() (bftraft.Restored, error)
	Block(bftraft.Index) (*bftraft.Block, bool)
	Commit(bftraft.Index) (*quorumcert.Commit, bool)
}

// History is the committed part of a log, verified.
type History struct {
	Ends []bftraft.Position // of the blocks, in order
	Ops  map[string]bool    // the bytes of all operations
	// Certificates counts the commit certificates that were verified. The last of them is of the
	// last of Ends.
	Certificates int
}

// Replay goes through a log from the genesis to the last certified commit, and verifies chain,
// client signatures and certificates. It trusts nothing that the node says of itself.
func Replay(g *bftraft.Genesis, log Log) (*History, error) {
	v, err := bftraft.NewVerifier(crypto.ZIP215(), g)
	if err != nil {
		return nil, err
	}
	loaded, err := log.Load()
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	h := &History{Ops: map[string]bool{}}
	if loaded.Commit == nil {
		return h, nil
	}
	at := bftraft.Position{Hash: g.Hash()}
	next, more := log.Commit(1)
	for at.Index < loaded.Commit.Index {
		b, ok := log.Block(at.Index + 1)
		if !ok || b.Before() != at {
			return nil, fmt.Errorf("the chain is broken after %d", at.Index)
		}
		if err := h.take(v, b); err != nil {
			return nil, err
		}
		at = b.End()
		h.Ends = append(h.Ends, at)
		for more && next.Index <= at.Index {
			if err := certifies(v, g, next, at); err != nil {
				return nil, err
			}
			h.Certificates++
			next, more = log.Commit(next.Index + 1)
		}
	}
	if err := certifies(v, g, loaded.Commit, at); err != nil {
		return nil, fmt.Errorf("the last commit: %w", err)
	}
	h.Certificates++
	return h, nil
}

// take adds the operations of a block.
func (h *History) take(v *bftraft.Verifier, b *bftraft.Block) error {
	for i, e := range b.Entries() {
		if e.Kind != bftraft.EntryRequest {
			continue
		}
		r, err := v.VerifyRequest(e.Data)
		if err != nil {
			return fmt.Errorf("entry %d: %w", int(b.First())+i, err)
		}
		for _, op := range r.Ops {
			h.Ops[string(op)] = true
		}
	}
	return nil
}

// certifies says whether the certificate proves that the position is committed. Signers are counted
// here once more: 2f+1 of the voters of the genesis.
func certifies(v *bftraft.Verifier, g *bftraft.Genesis, c *quorumcert.Commit,
	at bftraft.Position,
) error {
	if c.Index != at.Index || c.Hash != at.Hash {
		return fmt.Errorf("the certificate of %d is not of this chain", c.Index)
	}
	n := len(g.Voters)
	if f := (n - 1) / 3; bits.OnesCount64(uint64(c.Signers)) < n-f {
		return fmt.Errorf("the certificate of %d has too few signers", c.Index)
	}
	if err := c.Verify(v.Cluster(), v.Configurations().For(c.Index)); err != nil {
		return fmt.Errorf("the certificate of %d: %w", c.Index, err)
	}
	return nil
}

// Agree returns an error unless one of two histories is the beginning of the other.
func (h *History) Agree(other *History) error {
	for i := range min(len(h.Ends), len(other.Ends)) {
		if h.Ends[i] != other.Ends[i] {
			return fmt.Errorf("two histories part after block %d: %v and %v", i, h.Ends[i],
				other.Ends[i])
		}
	}
	return nil
}

// Holds returns an error unless all operations are in the history.
func (h *History) Holds(ops [][]byte) error {
	missing := 0
	for _, op := range ops {
		if !h.Ops[string(op)] {
			missing++
		}
	}
	if missing > 0 {
		return fmt.Errorf("%d of %d acknowledged operations are lost", missing, len(ops))
	}
	return nil
}
