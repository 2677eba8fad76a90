package replica

import (
	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/internal/mutant"
)

// Limits of reads that wait for execution to come along, and how long they may.
const (
	maxWaitingReads          = 1024
	maxWaitingReadsPerClient = 64
	readPatienceTimeouts     = 8 // election timeouts
)

type waitingRead struct {
	client  ClientID
	request *bftraft.ReadRequest
	since   uint64
}

// Read answers a client's read (C3) once this node has executed as far as it asks, or with what
// there is when that takes too long. Nothing here can slow ordered requests: what is too much is
// answered at once.
func (r *Replica) Read(client ClientID, req *bftraft.ReadRequest) {
	if r.stopped != nil {
		return
	}
	if req.MinIndex <= r.executed.Index && !r.core.Undecided() || mutant.On(mutant.M123) ||
		len(r.reads) >= maxWaitingReads ||
		r.waitingOf(client.Key) >= maxWaitingReadsPerClient {
		r.answerRead(client, req)
		return
	}
	r.reads = append(r.reads, waitingRead{client, req, r.now})
}

func (r *Replica) waitingOf(key crypto.PublicKey) int {
	n := 0
	for i := range r.reads {
		if r.reads[i].client.Key == key {
			n++
		}
	}
	return n
}

// tickReads answers the reads whose index has been executed, or whose time is up.
func (r *Replica) tickReads() {
	kept := r.reads[:0]
	for _, w := range r.reads {
		late := r.now-w.since >= readPatienceTimeouts*r.core.Timeout()
		if late || w.request.MinIndex <= r.executed.Index && !r.core.Undecided() {
			r.answerRead(w.client, w.request)
			continue
		}
		kept = append(kept, w)
	}
	clear(r.reads[len(kept):])
	r.reads = kept
}

// answerRead signs what this node knows: its lock, with the certificate, as the bound of what may
// be committed, and the result where it has executed to.
// A node that cannot say whether the incoming voters have taken over says nothing.
func (r *Replica) answerRead(client ClientID, req *bftraft.ReadRequest) {
	if r.checkStorage(); r.stopped != nil || r.core.Undecided() {
		return
	}
	lock, qc := r.core.LockWithQC()
	executed := r.executed.Index
	if mutant.On(mutant.M123) {
		executed = max(executed, req.MinIndex)
	}
	reply := &bftraft.ReadReply{
		Nonce: req.Nonce, Lock: lock, LockQC: qc, Configuration: r.configs().Latest().Entry(),
		Executed: executed, Results: r.results(req.Queries),
	}
	reply.Sign(r.cfg.Core.Signer, r.cluster, req.Queries)
	r.cfg.Transport.Reply(client, reply.Encode())
}

// maxReadWork is the work after which no further query under one nonce is begun, in keys looked at:
// some milliseconds. A question may hold thousands of queries, each of which looks at all there is.
const maxReadWork = 1 << 15

// worker is a state machine that says how much work it has done. What operations cost is the same
// on all nodes.
type worker interface {
	Work() uint64
	// TooMuchWork returns the result of an operation that is not executed for want of time.
	TooMuchWork() []byte
}

// work returns how much work the state machine has done, 0 if it does not say.
func (r *Replica) work() uint64 {
	if m, ok := r.cfg.Machine.(worker); ok {
		return m.Work()
	}
	return 0
}

// results asks the state machine one query after the other, until a result does not fit into the
// answer any more or they have been much work: who asked will ask for the rest anew. The first
// result is left empty if it is too large by itself.
func (r *Replica) results(queries [][]byte) [][]byte {
	results := make([][]byte, 0, len(queries))
	size, before := 0, r.work()
	for i, q := range queries {
		if i > 0 && r.work()-before >= maxReadWork {
			break
		}
		result := r.cfg.Machine.Query(q)
		if size += len(result); size > bftraft.MaxResultBytes {
			if i > 0 {
				break
			}
			size, result = 0, nil
		}
		results = append(results, result)
	}
	return results
}
