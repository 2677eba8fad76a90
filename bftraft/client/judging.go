package client

import (
	"sync"

	"tangaroa/bftraft"
	"tangaroa/bftraft/client/judge"
	"tangaroa/quorumcert"
)

// What is believed is decided in package judge, which has no clock and no goroutine. These are its
// names for the users of this package.
type (
	// Verdict says what a tally made of an answer.
	Verdict = judge.Verdict
	// Known is what one knows of the configurations of a cluster.
	Known = judge.Known
	// Tally counts the replies to one request until f+1 voters have said the same (C2).
	Tally = judge.Tally
	// Answer is what f+1 voters said alike.
	Answer = judge.Answer
	// ReadTally counts the answers to one question until a linearizable result stands (C3).
	ReadTally = judge.ReadTally
	// Receipt proves to anybody who knows the genesis that the cluster executed a request, and with
	// which results.
	Receipt = judge.Receipt
	// Proven is what a receipt proves.
	Proven = judge.Proven
)

// The verdicts. An honest node causes only the first four, unless another process uses the same
// request id.
const (
	Counted   = judge.Counted   // it counts; more are needed
	Settled   = judge.Settled   // it made f+1: the result is accepted
	Agrees    = judge.Agrees    // it is the same as what has been accepted
	Repeats   = judge.Repeats   // the node had said the same before
	Dissents  = judge.Dissents  // it differs from what was accepted, or from the node's own word
	Alien     = judge.Alien     // it is about something else
	Malformed = judge.Malformed // it does not fit the request
)

// MaxReceiptBytes bounds the text of a receipt.
const MaxReceiptBytes = judge.MaxReceiptBytes

// NewTally returns the tally of a request in a cluster.
func NewTally(
	cluster bftraft.Digest, known Known, r *bftraft.Request,
) *Tally {
	return judge.NewTally(cluster, known, r)
}

// NewReadTally returns the tally of a question that is asked under a configuration.
func NewReadTally(c *quorumcert.Configuration) *ReadTally { return judge.NewReadTally(c) }

// DecodeReceipt reads what Receipt.Encode wrote, and nothing else. It verifies nothing.
func DecodeReceipt(text []byte) (*Receipt, error) { return judge.DecodeReceipt(text) }

// judges verify what nodes say. Nodes are judged concurrently, and the replies of one apart from
// its reads.
type judges struct {
	replies [quorumcert.MaxVoters + 1]struct {
		mu    sync.Mutex
		judge judge.Replies
	}
	reads [quorumcert.MaxVoters + 1]struct {
		mu    sync.Mutex
		judge judge.Reads
	}
}

func (j *judges) init(cluster bftraft.Digest, known Known) {
	for i := range j.replies {
		j.replies[i].judge = judge.NewReplies(cluster, known, bftraft.NodeID(i))
		j.reads[i].judge = judge.NewReads(cluster, known, bftraft.NodeID(i))
	}
}

func (j *judges) reply(from bftraft.NodeID, r *bftraft.BlockReply) bool {
	of := &j.replies[from]
	of.mu.Lock()
	defer of.mu.Unlock()
	return of.judge.Verify(r)
}

func (j *judges) read(
	from bftraft.NodeID, r *bftraft.ReadReply, queries [][]byte,
) bool {
	of := &j.reads[from]
	of.mu.Lock()
	defer of.mu.Unlock()
	return of.judge.Verify(r, queries)
}
