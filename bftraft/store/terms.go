package store

import (
	"fmt"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/crypto/cryptobyte"

	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

// TermRecord says how the node came into a term: what it last knew to prove it.
type TermRecord struct {
	Term  quorumcert.Term
	Proof bftraft.TermProof
}

// keptTerms is how many terms are remembered. Nothing depends on them: they are for who wants to
// know later why leaders changed.
const keptTerms = 1000

// forgottenTerms bounds how many of the oldest are taken away with a new one.
const forgottenTerms = 4

// note keeps the proof of a hard state, which is to be the newest, if it tells anything new.
func (s *Badger) note(next *bftraft.HardState) {
	p, last := &s.pending, &s.written.hard
	if p.hard != nil {
		last = p.hard
	}
	a, b := &last.Proof, &next.Proof
	if last.Term == next.Term && a.TC == b.TC && a.EC == b.EC {
		return
	}
	r := TermRecord{next.Term, next.Proof}
	p.terms = known(p.terms, r)
}

// termRecords returns what is to be written of terms in batch seq, and taken away.
func (s *Badger) termRecords(seq uint64) ([]op, error) {
	var ops []op
	for i := range s.pending.terms {
		r := &s.pending.terms[i]
		k := key(keyTerm, uint64(r.Term), seq)
		ops = append(ops, op{k, s.seals.seal(k, r.Proof.AppendTo(nil))})
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
			in := cryptobyte.String(raw)
			if !ok || !bftraft.ReadTermProof(&in, &r.Proof) || !in.Empty() {
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

// known appends what was known of a term, in the place of what was known of it before.
func known(all []TermRecord, r TermRecord) []TermRecord {
	if n := len(all); n > 0 && all[n-1].Term == r.Term {
		all = all[:n-1]
	}
	return append(all, r)
}
