package replica

import (
	"encoding/binary"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// evidence brings the proofs that a node holds into the log, so that everybody has them, and keeps
// those that stand there: replicated state, a function of the log alone.
type evidence struct {
	known     []quorumcert.Evidence // what the core has found or been told, at most one of a voter
	convicted []bftraft.Conviction  // in the log, in its order, at most one of a voter
	offered   bftraft.Set           // whose proof this node, as leader of this term, has proposed
}

// missing returns the first proof of a voter that is neither in the log nor proposed. Of one who is
// no voter any more no block may hold any.
func (e *evidence) missing(gate *bftraft.Verifier) *quorumcert.Evidence {
	for i := range e.known {
		c := e.known[i].Culprit()
		if !e.offered.Has(c) && !e.has(c) && gate.Accuses(&e.known[i]) {
			return &e.known[i]
		}
	}
	return nil
}

func (e *evidence) waits(gate *bftraft.Verifier) bool { return e.missing(gate) != nil }

func (e *evidence) has(culprit bftraft.NodeID) bool {
	for i := range e.convicted {
		if e.convicted[i].Evidence.Culprit() == culprit {
			return true
		}
	}
	return false
}

// next returns what the next block of this node, as leader, begins with: at most one proof.
func (e *evidence) next(gate *bftraft.Verifier) []bftraft.Entry {
	proof := e.missing(gate)
	if proof == nil {
		return nil
	}
	e.offered = e.offered.With(proof.Culprit())
	return []bftraft.Entry{bftraft.EvidenceEntry(proof)}
}

// stands notes, as a new leader, a proof that stands in the log and waits to be committed.
func (e *evidence) stands(entry bftraft.Entry) {
	if entry.Kind != bftraft.EntryEvidence {
		return
	}
	if proof, ok := bftraft.DecodeEvidence(entry.Data); ok {
		e.offered = e.offered.With(proof.Culprit())
	}
}

// execute enters a committed proof, unless there is one of the same voter, and returns the leaf of
// the entry among the results of its block.
func (e *evidence) execute(at bftraft.Index, entry bftraft.Entry) bftraft.Digest {
	proof, ok := bftraft.DecodeEvidence(entry.Data)
	if !ok {
		panic("replica: an entry that may not stand in a block was committed")
	}
	if e.has(proof.Culprit()) {
		return bftraft.ResultLeaf(entry.Digest(), bftraft.Repeated, nil)
	}
	e.convicted = append(e.convicted, bftraft.Conviction{Index: at, Evidence: *proof})
	return bftraft.ResultLeaf(entry.Digest(), bftraft.Executed, nil)
}

// digest covers what it remembers and what stands beside it.
func (e *evidence) digest(beside crypto.Digest) crypto.Digest {
	if len(e.convicted) == 0 {
		return beside
	}
	b := beside[:]
	for i := range e.convicted {
		c := &e.convicted[i]
		b = binary.BigEndian.AppendUint64(b, uint64(c.Index))
		b = append(b, byte(c.Evidence.Culprit()))
	}
	return crypto.Hash(crypto.DomainState, b)
}

// Convictions returns all proofs that this node holds: those in the log first, in its order, then
// those that are not there yet.
func (r *Replica) Convictions() []bftraft.Conviction {
	list := append([]bftraft.Conviction(nil), r.evidence.convicted...)
	for i := range r.evidence.known {
		if proof := &r.evidence.known[i]; !r.evidence.has(proof.Culprit()) {
			list = append(list, bftraft.Conviction{Evidence: *proof})
		}
	}
	return list
}
