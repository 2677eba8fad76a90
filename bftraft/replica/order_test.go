package replica

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
)

// leftover is what a leader before this one left in the log.
type leftover struct {
	fullCore
	blocksLeft []*bftraft.Block
}

func (c *leftover) Uncommitted() []*bftraft.Block { return c.blocksLeft }

// Otherwise the request would wait for the next leader, and this one be deposed for it (E5).
func TestRequestOrderedTooEarlyIsProposedAgain(t *testing.T) {
	r, _ := leadingReplica(1)
	early, late := ask(1, 2, 1), ask(1, 1, 1)
	b := bftraft.NewBlock(r.executed, []bftraft.Entry{early.Entry()})
	core := &leftover{fullCore: fullCore{room: 1}, blocksLeft: []*bftraft.Block{b}}
	r.core = core
	r.Request(ClientID{}, 0, early)
	r.Request(ClientID{}, 0, late)
	r.markProposed()
	r.apply(b)
	r.proposeNext()
	require.Equal(t, [][]bftraft.Entry{{late.Entry(), early.Entry()}}, core.blocks)
}
