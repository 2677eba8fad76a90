package sim

import (
	"encoding/binary"

	"tangaroa/bftraft"
	"tangaroa/bftraft/kv"
	"tangaroa/crypto"
)

// driven is a node's state machine as the observer sees it: it notes what the node executes.
type driven struct {
	*kv.Machine
	m *member
}

// Apply implements replica.StateMachine.
func (d *driven) Apply(index uint64, op []byte) []byte {
	d.m.ops = append(d.m.ops, bftraft.Index(index))
	return d.Machine.Apply(index, op)
}

// ran is B9: a node executes upwards, and of each entry no more operations than the committed
// request there has.
func (o *observer) ran(m *member) {
	for _, at := range m.ops {
		if at != m.ranAt {
			m.ranOps = 0
		}
		if m.ranOps++; at < m.ranAt || m.ranOps > o.asks[at] {
			o.fail("B9", "node %d executes operation %d of %d at %d, after %d", m.id, m.ranOps,
				o.asks[at], at, m.ranAt)
		}
		m.ranAt = at
	}
	m.ops = m.ops[:0]
}

// asksAt is where the number of operations stands in a request: behind key, session and sequence.
const asksAt = len(crypto.PublicKey{}) + 16

// asked is B10 of the log: each request in a committed block was signed by the client it names.
func (o *observer) asked(m *member, b *bftraft.Block) {
	for i, e := range b.Entries() {
		at := b.First() + bftraft.Index(i)
		if e.Kind != bftraft.EntryRequest && e.Kind != bftraft.EntryConfiguration {
			continue
		}
		if !o.naive.request(e.Data) {
			o.fail("B10", "node %d commits entry %d, a request that no client has signed", m.id, at)
			continue
		}
		o.asks[at] = int(binary.BigEndian.Uint16(e.Data[asksAt:]))
	}
}

// request says whether an enrolled client has signed a request: its key stands first and its
// signature last, over a digest of the cluster and all between.
func (n *naive) request(raw []byte) bool {
	body := len(raw) - len(crypto.Signature{})
	if body < asksAt+2 {
		return false
	}
	key, ok := n.clients[crypto.PublicKey(raw[:len(crypto.PublicKey{})])]
	d := crypto.Hash(crypto.DomainRequest, n.cluster[:], raw[:body])
	return ok && key.Verify(crypto.DomainRequest, d[:], crypto.Signature(raw[body:]))
}
