package sim

import (
	"bytes"
	"slices"

	"tangaroa/bftraft"
	"tangaroa/bftraft/client/judge"
	"tangaroa/bftraft/kv"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// ledger is what the committed log means: a replay by rules written down once more, one request
// after the other, on a state machine that no node has.
type ledger struct {
	at       bftraft.Index // replayed up to here
	machine  *kv.Machine
	last     map[crypto.PublicKey]*naiveSessions
	outcomes map[ledgerRequest]*outcome
	versions map[string][]version // of each key, ascending
}

type ledgerSession struct {
	client  crypto.PublicKey
	session uint64
}

type ledgerRequest struct {
	ledgerSession
	sequence uint64
}

// outcome is what a request came to: the end of its block, and its results.
type outcome struct {
	at      bftraft.Index
	raw     []byte
	results [][]byte
}

// version is what a key held from the block with this end on.
type version struct {
	at    bftraft.Index
	mod   kv.Revision
	value string
}

func newLedger() *ledger {
	return &ledger{
		machine: kv.New(), last: make(map[crypto.PublicKey]*naiveSessions),
		outcomes: make(map[ledgerRequest]*outcome), versions: make(map[string][]version),
	}
}

// turns replays what has been committed since.
func (o *observer) turns() {
	for l := o.ledger; l.at < o.highest; {
		b := o.next(l.at)
		if b == nil {
			return
		}
		for i, e := range b.Entries() {
			if e.Kind != bftraft.EntryRequest && e.Kind != bftraft.EntryConfiguration {
				continue
			}
			if req, err := bftraft.DecodeRequest(e.Data); err == nil {
				done := l.execute(b.First()+bftraft.Index(i), b.Last(), req)
				if done != nil && bftraft.IsChange(req.Ops[0]) {
					done.results = [][]byte{o.w.gateBefore(b).ChangeResult(req, e.Kind)}
				}
			}
		}
		l.at = b.Last()
	}
}

func (l *ledger) execute(index, end bftraft.Index, req *bftraft.Request) *outcome {
	s := ledgerSession{req.Client, req.Session}
	if l.last[req.Client] == nil {
		l.last[req.Client] = &naiveSessions{last: make(map[uint64]uint64)}
	}
	if !l.last[req.Client].runs(req.Session, req.Sequence) {
		return nil
	}
	done := &outcome{at: end, raw: req.Raw()}
	for _, op := range req.Ops {
		result := l.machine.Apply(uint64(index), op)
		done.results = append(done.results, result)
		decoded, err := kv.DecodeOp(op)
		put, ok := decoded.(kv.Put)
		res, bad := kv.DecodeResult(result)
		if err == nil && ok && bad == nil && res.Code == kv.CodeOK {
			key := string(put.Key)
			l.versions[key] = append(l.versions[key],
				version{end, res.Revision, string(put.Value)})
		}
	}
	l.outcomes[ledgerRequest{s, req.Sequence}] = done
	return done
}

// outcomeOf returns what a write came to; nil if it was not executed.
func (o *observer) outcomeOf(c *client, wr *write) *outcome {
	o.turns()
	s := ledgerSession{c.key.Public(), wr.request.Session}
	return o.ledger.outcomes[ledgerRequest{s, wr.request.Sequence}]
}

// writeAccepted is B10: what a client believes was executed where it says, after all that was
// accepted before it began, and with these results; and the receipt convinces others.
func (o *observer) writeAccepted(c *client, wr *write, a *judge.Answer) {
	r := a.Reply
	if hash, ok := o.committed[r.Reply.Index]; !ok || hash != r.Reply.Hash {
		if o.blind && !ok {
			return // only liars know of it as yet
		}
		o.fail("B10", "client %d accepts a reply of a block that is not committed", c.index)
		return
	}
	if !a.Mine {
		o.fail("B10", "client %d believes that another request was executed for its own", c.index)
		return
	}
	done := o.outcomeOf(c, wr)
	switch {
	case done == nil || !bytes.Equal(done.raw, wr.request.Raw()):
		o.fail("B10", "client %d accepts a result of what was not executed", c.index)
	case done.at != r.Reply.Index:
		o.fail("B10", "client %d: its request is in block %d, not %d", c.index, done.at,
			r.Reply.Index)
	case done.at <= wr.after:
		o.fail("B10", "client %d: a write that began after %d was accepted got %d", c.index,
			wr.after, done.at)
	case !slices.EqualFunc(done.results, r.Results, bytes.Equal):
		o.fail("B10", "client %d accepts results that are not those of its request", c.index)
	}
	o.served(wr, r)
	o.results++
	o.accepted = max(o.accepted, r.Reply.Index)
	if !o.receipt(c, wr, judge.NewReceipt(wr.request, a)) {
		o.fail("B10", "client %d has a receipt that convinces nobody", c.index)
	}
}

// receipt shows a receipt to somebody who knows the genesis only, and says whether it convinces: if
// it does, what it proves was executed.
func (o *observer) receipt(c *client, wr *write, r *judge.Receipt) bool {
	proven, err := r.VerifyBy(o.w.gates[0])
	if err != nil {
		o.hit(seenForged)
		return false
	}
	done := o.outcomeOf(c, wr)
	if done == nil || done.at != proven.Block.Index ||
		!slices.EqualFunc(done.results, proven.Results, bytes.Equal) {
		if !o.blind {
			o.fail("B10", "a receipt proves of a request of client %d what was not executed", c.index)
		}
	}
	return true
}

// blames is B13 for clients: nobody honest differs from what they believe.
func (o *observer) blames(c *client, nodes quorumcert.Set) {
	for id := nodes.Next(0); id != 0; id = nodes.Next(id) {
		o.hit(seenBlame)
		if !o.w.nodes[id-1].faulty() && !o.blind {
			o.fail("B13", "client %d blames honest node %d for its answer", c.index, id)
		}
	}
}

// readAccepted is B14: a read gives what its key held at some moment after all that clients knew
// when it began.
func (o *observer) readAccepted(c *client, r *read, key string, result []byte) {
	o.reads++
	decoded, err := kv.DecodeQueryResult(result)
	res, ok := decoded.(kv.RangeResult)
	if err != nil || !ok || len(res.KVs) > 1 {
		o.fail("B14", "client %d: read of %s gives no result: %v", c.index, key, err)
		return
	}
	o.turns()
	versions := o.ledger.versions[key]
	next := 0 // the version that follows what was read
	if len(res.KVs) == 1 {
		got := res.KVs[0]
		i := slices.IndexFunc(versions, func(v version) bool { return v.mod == got.Mod })
		if i < 0 || versions[i].value != string(got.Value) || int(got.Version) != i+1 ||
			string(got.Key) != key {
			o.fail("B14", "client %d reads %s as %q of revision %d, which it never held", c.index,
				key, got.Value, got.Mod)
			return
		}
		next = i + 1
		o.accepted = max(o.accepted, versions[i].at)
	}
	if next < len(versions) && versions[next].at <= r.after {
		o.fail("B14", "client %d reads %s as before %d, though %d was known when it asked", c.index,
			key, versions[next].at, r.after)
	}
}
