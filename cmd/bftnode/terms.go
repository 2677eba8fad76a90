package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"tangaroa/bftraft"
	"tangaroa/bftraft/store"
	"tangaroa/cmd/internal/cli"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// termText is a term of which the store has a certificate, and why its leader came: what this node
// had against the term before, who ended that, and who elected. The store remembers it of the
// newest 1,000 terms. What the others had against the leader is not signed: their stores tell.
type termText struct {
	Term    quorumcert.Term  `json:"term"`
	First   quorumcert.Index `json:"first_committed,omitempty"` // by a certificate of the term
	Last    quorumcert.Index `json:"last_committed,omitempty"`
	Leader  crypto.NodeID    `json:"leader,omitempty"`
	Base    quorumcert.Index `json:"base,omitempty"` // behind which the leader goes on
	Left    *endText         `json:"left,omitempty"` // nil if that is not known here
	Ended   []int            `json:"suspected_the_term_before,omitempty"`
	Elected []int            `json:"voted,omitempty"`
	Reason  string           `json:"reason"`
}

// endText is what this node knew of the term that it left. Its word alone stands for that.
type endText struct {
	Term    quorumcert.Term `json:"term"`
	Leader  crypto.NodeID   `json:"leader,omitempty"`
	Cause   string          `json:"cause"` // "none" if it had nothing against the term
	MovedBy string          `json:"moved_by"`
	Started bool            `json:"started_in_it,omitempty"`
}

// What is said of terms where there is nothing else to say.
const (
	firstTerm = "the first term"
	notKnown  = "not known here: this node was not running, joined later, or has forgotten it"
	notKept   = "not known here: this node has not kept what it had against the term before"
	notShown  = "not known here: a certificate showed this node that others had entered the term"
)

// committed takes in a certificate, in the order of the log.
func (x *examiner) committed(c *quorumcert.Commit) {
	all := x.report.Terms
	if len(all) > 0 && all[len(all)-1].Term == c.Term {
		all[len(all)-1].Last = c.Index
		return
	}
	t := termText{Term: c.Term, First: c.Index, Last: c.Index, Reason: notKnown}
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
		x.began(&known[i])
	}
	now := store.TermRecord{Term: h.Term, Proof: h.Proof}
	if n := len(known); n > 0 && known[n-1].Term == h.Term {
		now.End = known[n-1].End
	}
	x.began(&now)
	return nil
}

// began adds what is known of how a term began.
func (x *examiner) began(r *store.TermRecord) {
	term, proof := r.Term, &r.Proof
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
	if e := r.End; e != nil {
		t.Left = &endText{e.Term, e.Leader, e.Cause.String(), e.By.String(), e.Started}
	}
	if tc := proof.TC; tc != nil {
		t.Ended = numbers(tc.Signers)
	}
	if ec := proof.EC; ec != nil {
		t.Leader, t.Elected, t.Base = ec.Leader, numbers(ec.Signers), ec.Base.Index
	}
	t.Reason = strings.Join(t.reasons(r), reasonBreak)
}

// reasons says in plain words why a term began, and what else the record of it tells.
func (t *termText) reasons(r *store.TermRecord) (words []string) {
	tc, ec := r.Proof.TC, r.Proof.EC
	switch {
	case r.Term == 1:
		words = append(words, firstTerm)
	case r.End != nil:
		words = append(words, why(r.End, r.Term))
	case tc == nil && ec == nil:
		return []string{notShown}
	default:
		words = append(words, notKept)
	}
	if tc != nil {
		words = append(words, fmt.Sprintf("%s suspected the leader of term %d",
			nodeList(t.Ended), tc.Term))
	} else if r.End != nil {
		words = append(words, unshown[r.End.By])
	}
	if ec != nil {
		elected := fmt.Sprintf("%s elected node %d", nodeList(t.Elected), ec.Leader)
		if t.Base > 0 {
			elected += fmt.Sprintf(", which goes on behind %d", t.Base)
		}
		words = append(words, elected)
	}
	return words
}

// reasonBreak parts what there is to say of one term.
const reasonBreak = "; "

// causeWords tell what a node had against a term, of whose leader they speak.
var causeWords = map[bftraft.Cause]string{
	bftraft.CauseResigned:   "%s resigned",
	bftraft.CauseOutside:    "%s was no voter any more",
	bftraft.CauseProof:      "%s is proven faulty",
	bftraft.CauseSilence:    "nothing valid came from %s in time",
	bftraft.CauseStarvation: "%s left a client's request undone",
	bftraft.CauseSlow:       "%s served clients late",
	bftraft.CauseHeldUp:     "under %s what a quorum had certified was not committed",
	bftraft.CauseOthers:     "more than f others suspected %s",
}

// why says in plain words what this node had against the term that it left for another.
func why(e *bftraft.TermEnd, next quorumcert.Term) string {
	words, known := causeWords[e.Cause]
	atOnce := fmt.Sprintf("this node went from term %d to %d at once", e.Term, next)
	leader := fmt.Sprintf("node %d (leader of term %d)", e.Leader, e.Term)
	if e.Leader == 0 {
		leader = fmt.Sprintf("the leader of term %d", e.Term)
	}
	switch {
	case !known && e.Cause != bftraft.CauseNone:
		return "for a cause that this program does not know"
	case !known && e.Term+1 < next:
		return "not known here: this node was not running, or behind: " + atOnce
	case !known && e.Started:
		return "not known here: this node was started in that term, with nothing against " + leader
	case !known:
		return "not known here: this node had nothing against " + leader
	case e.Leader == 0 && e.Cause == bftraft.CauseSilence:
		words = fmt.Sprintf("this node heard of no leader of term %d in time", e.Term)
	default:
		words = fmt.Sprintf(words, leader)
	}
	if e.Term+1 < next {
		words += ", and " + atOnce
	}
	return words
}

// unshown says, by what moved the node on, why there is no proof of who ended the term before.
var unshown = map[bftraft.ProofKind]string{
	bftraft.ProofNone:   "who suspected it was not shown to this node",
	bftraft.ProofTC:     "who suspected it is not kept: the voters have changed since",
	bftraft.ProofEC:     "who suspected it was not shown to this node, but who elected",
	bftraft.ProofQC:     "who suspected it was not shown to this node, but a certificate of the term",
	bftraft.ProofCommit: "who suspected it was not shown to this node, but what was committed then",
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
		for i, reason := range strings.Split(t.Reason, reasonBreak) {
			row := []string{"", "", "", reason}
			if i == 0 {
				row = []string{fmt.Sprint(t.Term), leader, entries, reason}
			}
			rows = append(rows, row)
		}
	}
	_ = cli.WriteTable(w, []string{"TERM", "LEADER", "COMMITTED", "WHY"}, rows)
}
