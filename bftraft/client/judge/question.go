package judge

import (
	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

// Question is linearizable reads under one nonce that wait for answers (C3). Each query has its own
// result, as if it had been asked alone.
type Question struct {
	// Nonce is fresh and makes the answers those of this question. It never changes.
	Nonce bftraft.Digest
	// Queries are what the state machine is asked. They never change.
	Queries [][]byte
	// Least is what a node must have executed that is asked for the first time.
	Least bftraft.Index
	// Tallies count the answers to each query; nil if the first answer is taken as it is.
	Tallies []ReadTally
	again   quorumcert.Set // nodes that were asked to catch up with the read index
}

// Linearizable returns the question for the linearizable results of queries, one or more, under a
// configuration.
func Linearizable(c *quorumcert.Configuration, queries ...[]byte) Question {
	q := Question{Queries: queries, Tallies: make([]ReadTally, len(queries))}
	for i := range q.Tallies {
		q.Tallies[i] = ReadTally{config: c, place: i}
	}
	return q
}

// Add counts an answer to the question in all tallies.
func (q *Question) Add(r *bftraft.ReadReply) {
	for i := range q.Tallies {
		q.Tallies[i].Add(r)
	}
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
	r := bftraft.ReadRequest{Nonce: q.Nonce, MinIndex: q.Least, Queries: q.Queries}
	if q.again.Has(id) {
		r.MinIndex, _ = q.open().ReadIndex()
	}
	return r.Encode()
}

// open returns a tally that has no result yet, if there is one. Those all have heard the same.
func (q *Question) open() *ReadTally {
	for i := range q.Tallies {
		if !q.Tallies[i].settled {
			return &q.Tallies[i]
		}
	}
	return &q.Tallies[0]
}

// Outdated says whether a configuration is newer than the one by which the question was asked: it
// should be asked anew, as those who go by the newer one do not count.
func (q *Question) Outdated(c *quorumcert.Configuration) bool {
	return len(q.Tallies) > 0 && c.Entry() > q.Tallies[0].config.Entry()
}

// Outcome looks at what the answers to a query have come to.
func (q *Question) Outcome(query int) Outcome {
	t := &q.Tallies[query]
	_, _, _, ok := t.Result()
	switch {
	case ok:
		return Answered
	case t.Superseded():
		return Superseded
	case t.Exhausted():
		return Unsettled
	}
	return Waiting
}

// Unheard returns the nodes that have not answered at all.
func (q *Question) Unheard() quorumcert.Set { return q.open().Unheard() }

// Behind returns the nodes that had not executed as far as the read index when they answered, each
// once. From then on Frame asks them for no less.
func (q *Question) Behind() quorumcert.Set {
	behind := q.open().Behind() &^ q.again
	q.again |= behind
	return behind
}

// Stuck says that the read index is known: if still nobody agrees after long, a lock may have been
// given up, and the question should be asked anew.
func (q *Question) Stuck() bool {
	_, fixed := q.open().ReadIndex()
	return fixed
}
