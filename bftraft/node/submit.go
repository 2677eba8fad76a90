package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	"tangaroa/bftraft"
	"tangaroa/bftraft/replica"
	"tangaroa/crypto"
)

// submitter turns calls of Submit into a client's requests. The results are this node's own: who
// runs the node believes it, so no other reply is needed.
type submitter struct {
	key     crypto.PrivateKey
	public  crypto.PublicKey
	cluster bftraft.Digest
	session uint64        // the clock at the start; sessions of a client only rise
	slots   chan struct{} // as many as the replica takes in of one client

	mu      sync.Mutex
	last    uint64 // the newest sequence
	waiting map[uint64]*submission
}

// submission is a request under way. Its results may be read once done is closed.
type submission struct {
	request *bftraft.Request
	done    chan struct{}
	results [][]byte
	err     error
}

func newSubmitter(key crypto.PrivateKey, cluster bftraft.Digest) *submitter {
	return &submitter{
		key: key, public: key.Public(), cluster: cluster,
		session: uint64(time.Now().UnixNano()),
		slots:   make(chan struct{}, replica.MaxOutstanding/2),
		waiting: make(map[uint64]*submission),
	}
}

// next signs the next request. Sequences have no gaps, or what follows would wait for ever.
func (s *submitter) next(ops [][]byte) (*submission, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := bftraft.SignRequest(s.cluster, s.key, s.session, s.last+1, ops)
	if _, err := bftraft.DecodeRequest(r.Raw()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	s.last++
	sub := &submission{request: r, done: make(chan struct{})}
	s.waiting[r.Sequence] = sub
	return sub, nil
}

// deliver takes in what the replica says to the client. The owner calls it.
func (s *submitter) deliver(frame []byte) {
	if reply, err := bftraft.DecodeBlockReply(frame); err == nil {
		if reply.Session == s.session {
			s.finish(reply.Sequence, reply.Results, nil)
		}
		return
	}
	refusal, err := bftraft.DecodeRefusal(frame)
	if err != nil || refusal.Session != s.session {
		return
	}
	// Only an executed sequence is over; for the others there is the next attempt.
	if refusal.Code == bftraft.RefusedExpired && refusal.Sequence <= refusal.Executed {
		s.finish(refusal.Sequence, nil, ErrForgotten)
	}
}

func (s *submitter) finish(sequence uint64, results [][]byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sub, ok := s.waiting[sequence]; ok {
		delete(s.waiting, sequence)
		sub.results, sub.err = results, err
		close(sub.done)
	}
}

// resubmitAfter is how long Submit waits before it hands its request in again.
const resubmitAfter = time.Second

// Submit has the operations ordered by the cluster and executed, one after the other and exactly
// once, and returns their results as this node's state machine gave them. It waits as long as it
// takes: when ctx ends first, the operations may still be executed later. Config.Client signs.
func (n *Node) Submit(ctx context.Context, ops ...[]byte) ([][]byte, error) {
	if n.local == nil {
		return nil, ErrNoClient
	}
	for _, op := range ops {
		if n.cfg.CheckOp == nil || bftraft.IsChange(op) {
			break // a change is no operation of the machine, and the only one of its request
		}
		if err := n.cfg.CheckOp(op); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRefused, err)
		}
	}
	select {
	case n.local.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-n.done:
		return nil, ErrStopped
	}
	sub, err := n.local.next(ops)
	if err != nil {
		<-n.local.slots
		return nil, err
	}
	// The request goes on being handed in when the caller has given up, as those that follow in
	// the session wait for it.
	go n.pursue(sub)
	select {
	case <-sub.done:
		return sub.results, sub.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-n.done:
		return nil, ErrStopped
	}
}

// pursue hands a request in, again and again, until it is executed.
func (n *Node) pursue(sub *submission) {
	defer func() { <-n.local.slots }()
	again := time.NewTicker(resubmitAfter)
	defer again.Stop()
	client := replica.ClientID{Key: sub.request.Client}
	for {
		select {
		case n.in.asks <- ask{client: client, request: sub.request}:
		case <-n.done:
			return
		}
		select {
		case <-sub.done:
			return
		case <-again.C:
		case <-n.done:
			return
		}
	}
}
