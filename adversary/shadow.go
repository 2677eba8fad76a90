package adversary

import (
	"slices"

	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

// shadow is a second core under the liar's key, with a disk of its own.
type shadow struct {
	core *bftraft.Core
	disk *disk
}

// disk is what a shadow keeps: blocks in the order of the log, and commit certificates.
type disk struct {
	state   bftraft.HardState
	blocks  []*bftraft.Block
	commits []*quorumcert.Commit
}

// newShadow returns a core that goes on from an image, or from nothing.
func newShadow(e *Env, from *disk) *shadow {
	d := from.image()
	r := bftraft.Restored{HardState: d.state}
	if n := len(d.blocks); n > 0 {
		r.Tip = d.blocks[n-1].End()
	}
	if n := len(d.commits); n > 0 {
		r.Commit = d.commits[n-1]
	}
	cfg := e.Options.Core
	cfg.Seed = e.Random.Next()
	core, err := bftraft.NewCore(cfg, r, d)
	if err != nil {
		panic("adversary: the configuration that was good for the core is not: " + err.Error())
	}
	return &shadow{core, d}
}

// image returns a copy.
func (d *disk) image() *disk {
	if d == nil {
		return &disk{}
	}
	return &disk{d.state, slices.Clone(d.blocks), slices.Clone(d.commits)}
}

// Block implements bftraft.Reader.
func (d *disk) Block(i bftraft.Index) (*bftraft.Block, bool) {
	at, _ := slices.BinarySearchFunc(d.blocks, i, func(b *bftraft.Block, i bftraft.Index) int {
		return int(b.Last()) - int(i)
	})
	if at == len(d.blocks) || d.blocks[at].First() > i {
		return nil, false
	}
	return d.blocks[at], true
}

// Commit implements bftraft.Reader.
func (d *disk) Commit(i bftraft.Index) (*quorumcert.Commit, bool) {
	for _, cc := range d.commits {
		if cc.Index >= i {
			return cc, true
		}
	}
	return nil, false
}

// drain does what the core wants done and returns what it wants sent.
func (s *shadow) drain() []bftraft.Outbound {
	var out []bftraft.Outbound
	for {
		r, some := s.core.Ready()
		if !some {
			return out
		}
		d := s.disk
		if r.HardState != nil {
			d.state = *r.HardState
		}
		if r.Truncated {
			d.blocks = slices.DeleteFunc(d.blocks, func(b *bftraft.Block) bool {
				return b.Last() > r.Truncate
			})
		}
		d.blocks = append(d.blocks, r.Blocks...)
		d.commits = append(d.commits, r.Commits...)
		out = append(out, r.Messages...)
		s.core.Advance(r)
	}
}
