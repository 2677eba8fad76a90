package store

import (
	"fmt"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/crypto/cryptobyte"

	"tangaroa/bftraft"
	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

// TermRecord says how the node came into a term: what it last knew to prove it, and what it knew
// of the end of the term that it left for it. End is nil where that was not kept: in a record of
// before there were any, and where the node came with the state of others.
type TermRecord struct {
	Term  quorumcert.Term
	Proof bftraft.TermProof
	End   *bftraft.TermEnd
}

// encode says how the term before ended only when that is known, as before that was kept.
func (r *TermRecord) encode() []byte {
	b := r.Proof.AppendTo(nil)
	if r.End != nil {
		b = r.End.AppendTo(b)
	}
	return b
}

// read reads what encode wrote.
func (r *TermRecord) read(raw []byte) bool {
	in := cryptobyte.String(raw)
	if !bftraft.ReadTermProof(&in, &r.Proof) {
		return false
	}
	if in.Empty() {
		return true
	}
	r.End = &bftraft.TermEnd{}
	return bftraft.ReadTermEnd(&in, r.End) && in.Empty()
}

// keptTerms is how many terms are remembered. Nothing depends on them: they are for who wants to
// know later why leaders changed.
const keptTerms = 1000

// forgottenTerms bounds how many of the oldest are taken away with a new one.
const forgottenTerms = 4

// note keeps the proof of a hard state, which is to be the newest, and how the term before ended,
// if that tells anything new.
func (s *Badger) note(next *bftraft.HardState, end *bftraft.TermEnd) {
	p, last := &s.pending, &s.written.hard
	if p.hard != nil {
		last = p.hard
	}
	a, b := &last.Proof, &next.Proof
	if last.Term == next.Term && a.TC == b.TC && a.EC == b.EC && end == nil {
		return
	}
	p.terms = known(p.terms, TermRecord{next.Term, next.Proof, end})
}

// termRecords returns what is to be written of terms in batch seq, and taken away.
func (s *Badger) termRecords(seq uint64) ([]op, error) {
	var ops []op
	for i := range s.pending.terms {
		r := &s.pending.terms[i]
		k := key(keyTerm, uint64(r.Term), seq)
		ops = append(ops, op{k, s.seals.seal(k, r.encode())})
	}
	if len(ops) == 0 {
		return nil, nil
	}
	newest := uint64(s.pending.terms[len(s.pending.terms)-1].Term)
	room := forgottenTerms * len(ops)
	err := s.view(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{keyTerm}})
		defer it.Close()
		for it.Rewind(); it.Valid() && room > 0; it.Next() {
			term, _ := number(it.Item().Key(), 0)
			if term+keptTerms > newest {
				break
			}
			ops = append(ops, op{key: it.Item().KeyCopy(nil)})
			room--
		}
		return nil
	})
	return ops, err
}

// Terms returns how the node came into the newest terms that the store remembers, ascending.
func (s *Badger) Terms() ([]TermRecord, error) {
	var all []TermRecord
	err := s.view(func(txn *badger.Txn) error {
		return s.eachKey(txn, keyTerm, 0, func(item *badger.Item) error {
			k := item.Key()
			term, _ := number(k, 0)
			sealed, err := item.ValueCopy(nil)
			if err != nil {
				return err
			}
			r := TermRecord{Term: quorumcert.Term(term)}
			raw, ok := s.seals.unseal(k, sealed)
			if !ok || !r.read(raw) {
				return fmt.Errorf("%w: the proof of term %d cannot be read", ErrDamaged, term)
			}
			all = known(all, r)
			return nil
		})
	})
	for _, r := range s.pending.terms {
		all = known(all, r)
	}
	return all, s.fail(err)
}

// known appends what was known of a term, in the place of what was known of it before. How the term
// before ended is known once, when this one begins.
func known(all []TermRecord, r TermRecord) []TermRecord {
	if n := len(all); n > 0 && all[n-1].Term == r.Term {
		if r.End == nil && !mutant.On(mutant.M182) {
			r.End = all[n-1].End
		}
		all = all[:n-1]
	}
	return append(all, r)
}
