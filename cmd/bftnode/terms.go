package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"tangaroa/bftraft"
	"tangaroa/cmd/internal/cli"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// termText is a term of which the store has a certificate, and why its leader came: who ended the
// one before, and who elected. The store remembers that of the newest 1,000 terms. What the others
// had against the leader of the term before is not signed; each node counts its own reasons, in the
// metric bft_leader_changes_total.
type termText struct {
	Term    quorumcert.Term  `json:"term"`
	First   quorumcert.Index `json:"first_committed,omitempty"` // by a certificate of the term
	Last    quorumcert.Index `json:"last_committed,omitempty"`
	Leader  crypto.NodeID    `json:"leader,omitempty"`
	Ended   []int            `json:"suspected_the_term_before,omitempty"`
	Elected []int            `json:"voted,omitempty"`
	Reason  string           `json:"reason"`
}

const firstTerm = "the first term"

// committed takes in a certificate, in the order of the log.
func (x *examiner) committed(c *quorumcert.Commit) {
	all := x.report.Terms
	if len(all) > 0 && all[len(all)-1].Term == c.Term {
		all[len(all)-1].Last = c.Index
		return
	}
	t := termText{Term: c.Term, First: c.Index, Last: c.Index, Reason: "not in the store any more"}
	if c.Term == 1 {
		t.Reason = firstTerm
	}
	x.report.Terms = append(all, t)
}

// checkProof verifies what shows why the node is in its term.
func (x *examiner) checkProof(p *bftraft.TermProof) error {
	if p.TC != nil {
		if err := x.ended(p.TC); err != nil {
			return fmt.Errorf("proof that term %d ended: %w", p.TC.Term, err)
		}
	}
	if p.EC != nil {
		if err := x.elected(p.EC); err != nil {
			return fmt.Errorf("proof of the election in term %d: %w", p.EC.Term, err)
		}
	}
	return nil
}

// ended says why a term was not ended by voters of any time. By which, the proof does not say: the
// node judged it by those that it knew of, and they may have been replaced since.
func (x *examiner) ended(tc *quorumcert.TC) error {
	configs := x.verifier.Configurations()
	err := tc.Verify(x.report.Cluster, configs.Latest())
	for by := configs.Latest(); err != nil && by.Entry() > 0; {
		by = configs.For(by.Entry())
		if tc.Verify(x.report.Cluster, by) == nil {
			err = nil
		}
	}
	return err
}

// elected says why an election does not hold: it goes by the configuration behind its base or,
// where that is the entry that closes a joint one, by both quorums of the one before (J3).
func (x *examiner) elected(ec *quorumcert.EC) error {
	configs := x.verifier.Configurations()
	err := ec.Verify(x.report.Cluster, configs.Behind(ec.Base.Index))
	before := configs.For(ec.Base.Index)
	if err != nil && before.Closes(ec.Signers) && ec.Verify(x.report.Cluster, before) == nil {
		return nil
	}
	return err
}

// terms adds how the terms that the store remembers began, and the newest.
func (x *examiner) terms(h *bftraft.HardState) error {
	known, err := x.store.Terms()
	if err != nil {
		return err
	}
	for i := range known {
		if err := x.checkProof(&known[i].Proof); err != nil {
			return err
		}
		x.began(known[i].Term, &known[i].Proof)
	}
	x.began(h.Term, &h.Proof)
	return nil
}

// began adds what the proof of a term tells.
func (x *examiner) began(term quorumcert.Term, proof *bftraft.TermProof) {
	if term == 1 && proof.EC == nil {
		return
	}
	all := x.report.Terms
	i, found := slices.BinarySearchFunc(all, term, func(t termText, term quorumcert.Term) int {
		return cmp.Compare(t.Term, term)
	})
	if !found {
		all = slices.Insert(all, i, termText{Term: term})
		x.report.Terms = all
	}
	t := &all[i]
	var reasons []string
	if term == 1 {
		reasons = append(reasons, firstTerm)
	}
	if tc := proof.TC; tc != nil {
		t.Ended = numbers(tc.Signers)
		reasons = append(reasons, fmt.Sprintf("%s suspected the leader of term %d",
			nodeList(t.Ended), tc.Term))
	}
	if ec := proof.EC; ec != nil {
		t.Leader, t.Elected = ec.Leader, numbers(ec.Signers)
		reasons = append(reasons, fmt.Sprintf("%s elected node %d", nodeList(t.Elected), ec.Leader))
	}
	if t.Reason = strings.Join(reasons, "; "); t.Reason == "" {
		t.Reason = "a certificate of the term, which others had entered"
	}
}

// numbers lists the nodes of a set for an answer. As identities they are bytes, of which JSON makes
// base64.
func numbers(set quorumcert.Set) []int {
	list := make([]int, 0, set.Len())
	for _, id := range set.Members() {
		list = append(list, int(id))
	}
	return list
}

func nodeList(ids []int) string {
	if len(ids) == 1 {
		return fmt.Sprintf("node %d", ids[0])
	}
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = fmt.Sprint(id)
	}
	return "nodes " + strings.Join(words, ", ")
}

// printTerms shows the changes of the leader; a log of one term has none.
func (r *report) printTerms(w io.Writer) {
	if len(r.Terms) < 2 && (len(r.Terms) == 0 || r.Terms[0].Term == 1) {
		return
	}
	fmt.Fprintln(w)
	var rows [][]string
	for _, t := range r.Terms {
		leader, entries := "?", "none"
		if t.Leader != 0 {
			leader = fmt.Sprint(t.Leader)
		}
		if t.First != 0 {
			entries = fmt.Sprintf("%d to %d", t.First, t.Last)
		}
		rows = append(rows, []string{fmt.Sprint(t.Term), leader, entries, t.Reason})
	}
	_ = cli.WriteTable(w, []string{"TERM", "LEADER", "COMMITTED", "WHY"}, rows)
}
