package judge

import (
	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

// Verdict says what a tally made of an answer.
type Verdict uint8

// The verdicts. An honest node causes only the first four, unless another process uses the same
// request id.
const (
	Counted   Verdict = iota + 1 // it counts; more are needed
	Settled                      // it made f+1: the result is accepted
	Agrees                       // it is the same as what has been accepted
	Repeats                      // the node had said the same before
	Dissents                     // it differs from what was accepted, or from the node's own word
	Alien                        // it is about something else
	Malformed                    // it does not fit the request
)

// voice is the first answer of one voter.
type voice struct {
	signer bftraft.NodeID
	reply  *bftraft.BlockReply
	key    replyKey
}

// replyKey is all that makes two replies equal: the statement binds the block and its results, the
// leaf binds request and results.
type replyKey struct {
	statement quorumcert.Reply
	leaf      bftraft.Digest
}

// agrees says whether two replies say the same, perhaps as voters of different configurations.
func (k replyKey) agrees(other *replyKey) bool {
	k.statement.Configuration = other.statement.Configuration
	return k == *other
}

// Tally counts the replies to one request until f+1 voters have said the same (C2). It holds at
// most one reply for each voter, and none once it is settled.
type Tally struct {
	known    Known
	client   crypto.PublicKey
	session  uint64
	sequence uint64
	request  bftraft.Digest
	ops      int
	voices   []voice // in the order of their arrival
	settled  bool
	accepted replyKey
	same     quorumcert.Set // signers of what was accepted
	differ   quorumcert.Set // signers of anything else
}

// NewTally returns the tally of a request in a cluster.
func NewTally(
	cluster bftraft.Digest, known Known, r *bftraft.Request,
) *Tally {
	return &Tally{
		known: known, client: r.Client, session: r.Session, sequence: r.Sequence,
		request: r.Digest(cluster), ops: len(r.Ops),
	}
}

// Answer is what f+1 voters said alike.
type Answer struct {
	// Mine is false when it is about another request with the same id: this one was not executed.
	Mine   bool
	Reply  *bftraft.BlockReply // one of the replies
	Proof  quorumcert.Receipt  // the statement with f+1 signatures
	Voices quorumcert.Set      // all voters that had answered
	// Changes are those by which the proof is to be judged: all before the block, and up to the
	// configuration whose voters speak.
	Changes []*bftraft.ChangeProof
}

// Add counts a reply that came over the link of its signer and whose signature and branch were
// verified. The answer is set when the verdict is Settled.
//
// A reply about another request with our id counts for that other request: f+1 of them settle
// that ours was never executed. One liar can put honest nodes' signatures under such a reply, since
// a statement is about the block and not about us; that is why every voter speaks for itself, over
// its own link.
func (t *Tally) Add(r *bftraft.BlockReply) (Verdict, *Answer) {
	if (r.Client != t.client || !t.Names(r.Session, r.Sequence)) && !mutant.On(mutant.M31) {
		return Alien, nil
	}
	if r.Request == t.request && len(r.Results) != t.ops {
		return Malformed, nil
	}
	key := replyKey{statement: r.Reply, leaf: r.Leaf()}
	if t.settled {
		return t.late(r.Signer, key), nil
	}
	for i := range t.voices {
		switch v := &t.voices[i]; {
		case v.signer != r.Signer:
			continue
		case v.key == key:
			if verdict, answer := t.count(r, key); verdict == Settled {
				return verdict, answer // by what is known of the configurations now
			}
			return Repeats, nil
		case v.key.agrees(&key):
			*v = voice{signer: r.Signer, reply: r, key: key} // under a configuration that is in force now
			return t.count(r, key)
		}
		return Dissents, nil
	}
	t.voices = append(t.voices, voice{signer: r.Signer, reply: r, key: key})
	return t.count(r, key)
}

// Names says whether the request has this id.
func (t *Tally) Names(session, sequence uint64) bool {
	return t.session == session && t.sequence == sequence
}

// Echoes says whether a reply that nobody has verified says what has been accepted.
func (t *Tally) Echoes(r *bftraft.BlockReply) bool {
	return t.settled && t.accepted.agrees(&replyKey{statement: r.Reply, leaf: r.Leaf()})
}

// late judges a reply to a request that has its result.
func (t *Tally) late(signer bftraft.NodeID, key replyKey) Verdict {
	switch {
	case !key.agrees(&t.accepted):
		t.differ = t.differ.With(signer)
		return Dissents
	case t.same.Has(signer):
		return Repeats
	}
	t.same = t.same.With(signer)
	return Agrees
}

func (t *Tally) count(r *bftraft.BlockReply, key replyKey) (Verdict, *Answer) {
	var same quorumcert.Set
	for _, v := range t.voices {
		if v.key == key {
			same = same.With(v.signer)
		}
	}
	if !t.enough(&r.Reply, same) && !mutant.On(mutant.M30) {
		return Counted, nil
	}
	a := &Answer{
		Mine: r.Request == t.request, Reply: r, Proof: quorumcert.Receipt{Reply: r.Reply},
		Changes: t.known.ChangesUpTo(max(r.Reply.Index-1, r.Reply.Configuration)),
	}
	agree := same
	for _, v := range t.voices {
		a.Voices = a.Voices.With(v.signer)
		if v.key.agrees(&key) {
			agree = agree.With(v.signer)
		}
	}
	a.Proof.Signers = same
	for id := same.Next(0); id != 0; id = same.Next(id) {
		for _, v := range t.voices {
			if v.signer == id {
				a.Proof.Sigs = append(a.Proof.Sigs, v.reply.Sig)
			}
		}
	}
	t.settled, t.accepted, t.same, t.differ = true, key, agree, a.Voices&^agree
	t.voices = nil
	return Settled, a
}

// enough says whether so many have said the same that an honest one has: more than f of the voters
// whom the statement names, and of those who vote still, more than f as well. Whoever has left may
// have lost its key since (J5).
func (t *Tally) enough(r *quorumcert.Reply, same quorumcert.Set) bool {
	cs := t.known.Configurations()
	cfg, newest := cs.ForReply(r.Index, r.Configuration), cs.Latest()
	return cfg != nil && (same&cfg.Members()).Len() > cfg.Size().F &&
		(same&cfg.Common(newest)).Len() > newest.Size().F
}

// Dissenters returns the voters whose answer differs from the accepted one. It is empty as long as
// nothing is accepted.
func (t *Tally) Dissenters() quorumcert.Set { return t.differ }

// Heard returns the voters that have answered.
func (t *Tally) Heard() quorumcert.Set {
	heard := t.same | t.differ
	for _, v := range t.voices {
		heard = heard.With(v.signer)
	}
	return heard
}
