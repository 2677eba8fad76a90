package replica

import (
	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

// executedRequest is a request of a block that was executed, with what its client is to be told.
type executedRequest struct {
	request *bftraft.Request
	result  result
}

// apply executes a block that has just been committed and answers the clients in it.
func (r *Replica) apply(b *bftraft.Block) {
	done := r.execute(b)
	if len(done) == 0 {
		return
	}
	for i := range done {
		d := &done[i]
		r.serves(d.request)
		r.pool.executed(d.request, r.clock)
		if reply := r.blockReply(d.request, &d.result); reply != nil {
			r.cfg.Transport.Reply(ClientID{Key: d.request.Client}, reply)
		}
	}
}

// execute drives the state machine with a block: each request in it at most once ever (C1). One
// Merkle tree holds the results of all, so one signature answers all (C2).
func (r *Replica) execute(b *bftraft.Block) []executedRequest {
	if b.Before() != r.executed {
		panic("replica: blocks are executed in order, each once")
	}
	leaves := make([]bftraft.Digest, len(b.Entries()))
	done := make([]executedRequest, 0, len(leaves))
	for i, e := range b.Entries() {
		switch e.Kind {
		case bftraft.EntryEvidence:
			leaves[i] = r.evidence.execute(b.First()+bftraft.Index(i), e)
			continue
		case bftraft.EntryCommit, bftraft.EntryClosing:
			leaves[i] = bftraft.ResultLeaf(e.Digest(), bftraft.Executed, nil)
			continue
		}
		req, err := bftraft.DecodeRequest(e.Data)
		if err != nil {
			panic("replica: an entry that may not stand in a block was committed")
		}
		digest := req.Digest(r.cluster)
		outcome := r.sessions.admit(req)
		if outcome == bftraft.OutOfOrder {
			r.pool.again(req)
		}
		var results [][]byte
		if outcome == bftraft.Executed {
			results = r.executeOps(b.First()+bftraft.Index(i), req, e.Kind)
			done = append(done, executedRequest{req, result{
				sequence: req.Sequence, request: digest, results: results, place: uint32(i),
			}})
		}
		leaves[i] = bftraft.ResultLeaf(digest, outcome, results)
	}
	tree := crypto.NewMerkleTree(leaves)
	reply := quorumcert.Reply{
		Cluster: r.cluster, Configuration: r.configs().For(b.Last()).Entry(),
		Index: b.Last(), Hash: b.Hash(), Results: tree.Root(),
	}
	for i := range done {
		res := &done[i].result
		res.reply, res.leaves = reply, uint32(len(leaves))
		res.branch = tree.Branch(int(res.place))
		r.sessions.remember(done[i].request, *res)
	}
	r.executed = b.End()
	r.stats.Blocks++
	if b.EndsChange() {
		r.changed()
	}
	return done
}

// MaxRequestWork is the work after which no further operation of a request is begun, in keys that
// the state machine looks at: a tenth of a second. All nodes share it.
const MaxRequestWork = 1 << 20

// executeOps runs the operations of a request in order. Together their results stay below a
// limit that every node applies alike; what would exceed it is left out, which clients see. So it
// is with their work: who enrolls as a client must not be able to keep all nodes busy for minutes
// with a request. An operation that is not begun for that says so in its result.
func (r *Replica) executeOps(
	index bftraft.Index, req *bftraft.Request, kind bftraft.EntryKind,
) [][]byte {
	results := make([][]byte, len(req.Ops))
	if bftraft.IsChange(req.Ops[0]) {
		results[0] = r.gate.ChangeResult(req, kind)
		return results
	}
	size, before := 0, r.work()
	for i, op := range req.Ops {
		if r.work()-before >= MaxRequestWork {
			results[i] = r.cfg.Machine.(worker).TooMuchWork()
			continue
		}
		res := r.cfg.Machine.Apply(uint64(index), op)
		if mutant.On(mutant.M28) {
			res = r.cfg.Machine.Apply(uint64(index), op)
		}
		if size += len(res); size > bftraft.MaxResultBytes {
			size -= len(res)
			res = nil
		}
		results[i] = res
	}
	r.stats.Requests++
	r.stats.Ops += uint64(len(req.Ops))
	return results
}

// blockReply returns the signed reply to a request, nil if nobody asks for this node's word.
func (r *Replica) blockReply(req *bftraft.Request, res *result) []byte {
	reply, ok := r.vouches(res.reply)
	if !ok {
		return nil
	}
	b := &bftraft.BlockReply{
		Client: req.Client, Session: req.Session, Sequence: req.Sequence,
		Request: res.request, Results: res.results, Reply: reply, Signer: r.id,
		Sig: r.signReply(reply), Place: res.place, Leaves: res.leaves, Branch: res.branch,
	}
	return b.Encode()
}

// vouches returns the statement that this node makes about a block: as a voter of the configuration
// that judged it, if enough of these vote still, or else of the newest, whose voters have the
// results from those before them. Who is no voter makes none.
func (r *Replica) vouches(reply quorumcert.Reply) (quorumcert.Reply, bool) {
	by, newest := r.configs().ForReply(reply.Index, reply.Configuration), r.configs().Latest()
	if by != nil && by.Has(r.id) && (!newest.Has(r.id) || suffices(by, newest)) {
		return reply, true
	}
	reply.Configuration = newest.Entry()
	return reply, newest.Has(r.id)
}

// suffices says whether the honest ones alone of those who vote by both configurations are as many
// as have to vouch for results by either.
func suffices(by, newest *quorumcert.Configuration) bool {
	honest := by.Common(newest).Len() - newest.Size().F
	return by == newest || honest > by.Size().F && honest > newest.Size().F
}

// answerAgain returns the reply to a request that was executed before, or nil when its result is
// no longer remembered. A replaced node can answer too: all it needs is replicated state.
func (r *Replica) answerAgain(req *bftraft.Request) []byte {
	res, ok := r.sessions.find(req.Client, req.Session, req.Sequence)
	if !ok {
		return nil
	}
	return r.blockReply(req, res)
}

// rememberedReplies is how many of the newest signatures under replies are kept: clients in a hurry
// ask for what has just been executed.
const rememberedReplies = 64

// signedReplies are the newest statements of this node about blocks; it need not sign them again.
type signedReplies struct {
	list [rememberedReplies]struct {
		reply quorumcert.Reply
		sig   crypto.Signature
	}
	next int // the oldest in list
}

// signReply signs a statement, unless it has lately.
func (r *Replica) signReply(reply quorumcert.Reply) crypto.Signature {
	s := &r.signed
	for i := range s.list {
		if s.list[i].reply == reply {
			return s.list[i].sig
		}
	}
	of := &s.list[s.next]
	of.reply, of.sig = reply, quorumcert.Sign(r.cfg.Core.Signer, reply)
	s.next = (s.next + 1) % len(s.list)
	return of.sig
}
