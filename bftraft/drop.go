package bftraft

// Drop says what became of a message: Accepted, or why it was ignored. The same word is the
// return value, the log attribute, the metric label and what tests of attacks look for.
type Drop uint8

// The outcomes. "Honest" says that a correct peer can cause it (by loss, delay or reordering);
// the others show a faulty peer or a broken link.
const (
	Accepted       Drop = iota // the message did something, or was good to know
	Duplicate                  // honest: nothing new in it
	Stale                      // honest: of an earlier term or below what is settled
	FutureTerm                 // honest: of a later term, and without proof of it
	NoElection                 // honest: a leader's message whose election is not known here yet
	NotLeader                  // honest: its sender does not lead this term here
	TooEarly                   // honest: a candidate whose window has not come
	AlreadyVoted               // honest: this node's vote in the term is given
	LowerLock                  // honest: the candidate's lock is below this node's
	MissingBlocks              // honest: it builds on blocks that are not here yet
	TooFarAhead                // honest: beyond what this node is willing to hold
	Unasked                    // honest: an answer to no question, or to an old one
	Unserved                   // honest: a question this node has no answer to
	FaultySender               // the sender was proven faulty
	Malformed                  // not a canonical message
	Oversize                   // larger than a limit
	WrongSender                // its signer is not who the link says
	UnknownSender              // no voter of the configuration
	BadSignature               // the signature does not verify
	BadCertificate             // an embedded certificate does not verify
	VoidAck                    // an ack that claims a certified index beyond its own
	BrokenChain                // blocks that do not link up, or not to what signs them
	Conflict                   // contradicts what this node has acked, locked or committed (A4, A5)
	InvalidEntry               // a block with an entry that may not stand there (A6)
	BadBase                    // a proposal whose chain lacks the base of its election (A2)
	NoProof                    // evidence that proves nothing
	PoisonedState              // a part of a state that is not the certified one (K1)
	UnknownChange              // honest: names a change that is not known here yet (J5)
	numDrops
)

var dropNames = [numDrops]string{
	Accepted: "accepted", Duplicate: "duplicate", Stale: "stale", FutureTerm: "future_term",
	NoElection: "no_election", NotLeader: "not_leader", TooEarly: "too_early",
	AlreadyVoted: "already_voted", LowerLock: "lower_lock", MissingBlocks: "missing_blocks",
	TooFarAhead: "too_far_ahead", Unasked: "unasked", Unserved: "unserved",
	FaultySender: "faulty_sender", Malformed: "malformed", Oversize: "oversize",
	WrongSender: "wrong_sender", UnknownSender: "unknown_sender", BadSignature: "bad_signature",
	BadCertificate: "bad_certificate", VoidAck: "void_ack", BrokenChain: "broken_chain",
	Conflict: "conflict", InvalidEntry: "invalid_entry", BadBase: "bad_base", NoProof: "no_proof",
	PoisonedState: "poisoned_state", UnknownChange: "unknown_change",
}

// String returns the word for metrics and logs.
func (d Drop) String() string {
	if d < numDrops {
		return dropNames[d]
	}
	return "unknown"
}

// Drops lists all outcomes, for metrics that want every label from the start.
func Drops() []Drop {
	all := make([]Drop, numDrops)
	for i := range all {
		all[i] = Drop(i)
	}
	return all
}
