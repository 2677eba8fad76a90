package judge

import (
	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

// Question is a linearizable read that waits for answers (C3).
type Question struct {
	// Nonce is fresh and makes the answers those of this question. It never changes.
	Nonce bftraft.Digest
	// Query is what the state machine is asked. It never changes.
	Query []byte
	// Least is what a node must have executed that is asked for the first time.
	Least bftraft.Index
	// Tally counts the answers; nil if the first answer is taken as it is.
	Tally *ReadTally
	again quorumcert.Set // nodes that were asked to catch up with the read index
}

// Outcome says what a question has come to.
type Outcome uint8

// The outcomes.
const (
	Waiting    Outcome = iota // more answers are needed
	Answered                  // the tally has the result
	Superseded                // f+1 voters go by a newer configuration
	Unsettled                 // what is read keeps changing: ask anew, under a fresh nonce
)

// Frame returns the question for a node, to be answered once it has executed far enough.
func (q *Question) Frame(id bftraft.NodeID) []byte {
	r := bftraft.ReadRequest{Nonce: q.Nonce, MinIndex: q.Least, Query: q.Query}
	if q.again.Has(id) {
		r.MinIndex, _ = q.Tally.ReadIndex()
	}
	return r.Encode()
}

// Outcome looks at what the answers have come to.
func (q *Question) Outcome() Outcome {
	_, _, _, ok := q.Tally.Result()
	switch {
	case ok:
		return Answered
	case q.Tally.Superseded():
		return Superseded
	case q.Tally.Exhausted():
		return Unsettled
	}
	return Waiting
}

// Behind returns the nodes that had not executed as far as the read index when they answered, each
// once. From then on Frame asks them for no less.
func (q *Question) Behind() quorumcert.Set {
	behind := q.Tally.Behind() &^ q.again
	q.again |= behind
	return behind
}

// Stuck says that the read index is known: if still nobody agrees after long, a lock may have been
// given up, and the question should be asked anew.
func (q *Question) Stuck() bool {
	_, fixed := q.Tally.ReadIndex()
	return fixed
}
