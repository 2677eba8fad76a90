package replica

import (
	"slices"

	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

// Verifier returns the gate behind the newest change that is committed here.
func (r *Replica) Verifier() *bftraft.Verifier { return r.core.Verifier() }

// ReadyFor answers a client's question whether this node is ready for a change of the voters (J2).
func (r *Replica) ReadyFor(ch *bftraft.Change) []byte { return r.core.ReadyFor(ch).Encode() }

func (r *Replica) configs() *quorumcert.Configurations { return r.Verifier().Configurations() }

// changed lets the change that was executed last count for what follows.
func (r *Replica) changed() {
	next, err := r.gate.Following(r.Verifier().ChangesUpTo(r.executed.Index))
	if err != nil {
		panic("replica: a change was committed that the core has not seen: " + err.Error())
	}
	r.gate = next
}

// keep forgets requests of clients that may not have any executed any more.
func (p *pool) keep(gate *bftraft.Verifier) {
	p.gate = gate
	p.clients = slices.DeleteFunc(p.clients, func(o *outstanding) bool {
		return !gate.MayWrite(o.key)
	})
}
