package bftraft

import (
	"fmt"
	"strings"

	"tangaroa/quorumcert"
)

// describe puts a message into a few words: terms as t, positions as (index, hash), certified
// positions as term:(index, hash).
func describe(m Message) string {
	name := MessageName(m)
	switch m := m.(type) {
	case *AppendEntries:
		name += ack(&m.Ack)
		if len(m.Blocks) > 3 {
			name += fmt.Sprintf(" [%d blocks]", len(m.Blocks))
		} else {
			for _, b := range m.Blocks {
				name += " " + ops(b)
			}
		}
		if m.Election != nil {
			name += " with EC base " + certified(m.Election.Base)
		}
		return name
	case *AppendEntriesResponse:
		return "Ack" + ack(&m.Ack)
	case *Suspect:
		return fmt.Sprintf("%s t=%d", name, m.Term)
	case *RequestVote:
		return fmt.Sprintf("%s t=%d lock %s", name, m.Term, certified(m.Lock))
	case *RequestVoteResponse:
		return fmt.Sprintf("Vote t=%d for %d lock %s", m.Vote.Term, m.Vote.Candidate,
			certified(m.Vote.Lock))
	case *Proof:
		return name + proofs(&m.TermProof)
	case *Resign:
		return fmt.Sprintf("%s t=%d", name, m.Term)
	case *FetchChain:
		return fmt.Sprintf("%s %s above %d", name, place(m.Target.Index, m.Target.Hash), m.Above)
	case *Chain:
		if m.LeaderAck != nil {
			name += " with leader's ack"
		}
		return name + span(m.Blocks)
	case *FetchCommitted:
		return fmt.Sprintf("%s after %d", name, m.After.Index)
	case *Committed:
		return fmt.Sprintf("%s%s with commit %d:%s", name, span(m.Blocks), m.Commit.Term,
			place(m.Commit.Index, m.Commit.Hash))
	case *CheckpointVote:
		cp := &m.Checkpoint
		return fmt.Sprintf("%s %s", name, place(cp.Index, cp.Hash))
	case *Accusation:
		return fmt.Sprintf("%s of %d", name, m.Evidence.Culprit())
	}
	return name
}

func ack(a *quorumcert.SignedAck) string {
	return fmt.Sprintf(" t=%d %s c=%d", a.Term, place(a.Index, a.Hash), a.Certified)
}

func proofs(p *TermProof) string {
	var text string
	if p.TC != nil {
		text += fmt.Sprintf(" TC %d", p.TC.Term)
	}
	if p.EC != nil {
		text += fmt.Sprintf(" EC %d leader %d base %s", p.EC.Term, p.EC.Leader, certified(p.EC.Base))
	}
	if p.QC != nil {
		text += " QC " + certified(p.QC.Lock)
	}
	if p.Commit != nil {
		text += fmt.Sprintf(" commit %d:%s", p.Commit.Term, place(p.Commit.Index, p.Commit.Hash))
	}
	return text
}

func span(blocks []*Block) string {
	if len(blocks) == 0 {
		return ""
	}
	last := blocks[len(blocks)-1]
	return fmt.Sprintf(" %d..%s", blocks[0].First(), place(last.Last(), last.Hash()))
}

// ops lists the operations of a block.
func ops(b *Block) string {
	var words []string
	for _, e := range b.Entries() {
		if r, err := DecodeRequest(e.Data); err == nil {
			for _, op := range r.Ops {
				words = append(words, string(op))
			}
		}
	}
	return "[" + strings.Join(words, " ") + "]"
}

// place writes a position with the first four digits of its hash.
func place(i Index, h Digest) string {
	if i == 0 {
		return "(0)"
	}
	return fmt.Sprintf("(%d,%s)", i, h.Short()[:4])
}

func certified(l Lock) string { return fmt.Sprintf("%d:%s", l.Term, place(l.Index, l.Hash)) }
