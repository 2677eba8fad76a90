package sim

import (
	"maps"
	"slices"

	"tangaroa/bftraft"
	"tangaroa/bftraft/kv"
	"tangaroa/crypto"
)

const (
	// maxElections is how many terms may begin in a minute in which all is at rest (L7).
	maxElections = 3
	// termsUnderWay is how many terms beyond f+2 may begin between the healing and the moment when
	// all is served (L1): those that were on their way when the network healed.
	termsUnderWay = 4
)

// recoveryMillis is how long, for each of the f+2 terms that may be needed, a cluster whose nodes
// have all been restarted may take until each is back: an election timeout with its jitter, the
// windows of f+1 ranks, and the time that others wait before they suspect who leads (L5).
const recoveryMillis = 5000

// recovery is the bound of L5 in milliseconds.
func (o *observer) recovery() int { return (o.chart.most() + 2) * recoveryMillis }

func (o *observer) healed() { o.healedAt, o.healTerm = o.w.now, o.highTerm }

// termsAfterHealing returns how many terms began since the network healed.
func (o *observer) termsAfterHealing() int { return int(o.highTerm - o.healTerm) }

// served notes how a client came to its answer.
func (o *observer) served(wr *write, r *bftraft.BlockReply) {
	if wr.sends > 1 {
		o.hit(cliLate)
	}
	if r.Reply.Index <= wr.height {
		o.hit(cliCache)
	}
	if o.w.calm {
		o.worst = max(o.worst, o.w.now-max(wr.since, o.healedAt))
	}
}

// settled says whether everything asked for after the healing is done and all nodes agree.
func (o *observer) settled() bool {
	for _, c := range o.w.clients {
		if len(c.writes) > 0 || c.read != nil || c.final < 3 && c.enrolled() {
			return false
		}
	}
	for _, r := range o.w.rogues {
		if !r.stopped() {
			return false
		}
	}
	for _, m := range o.w.nodes {
		if o.w.answers(m) && (m.proc == nil || m.proc.Executed().Index < o.highest) {
			return false
		}
	}
	return !o.w.verifier.Members().Joint()
}

// restsFrom and restedUntil enclose a minute in which nothing happens but what liars do: few
// leaders may change in it (L7).
func (o *observer) restsFrom() { o.restTerm = o.highTerm }

func (o *observer) restedUntil() {
	if n := o.highTerm - o.restTerm; n > maxElections {
		o.fail("L7", "%d terms began while all was at rest", n)
	} else if n == 0 {
		o.calmsDown()
	}
}

// restartsAll notes where all nodes are, before they are restarted.
func (o *observer) restartsAll() {
	o.fellAt, o.fallen, o.healTerm = o.w.now, o.highest, o.highTerm
	for _, m := range o.w.nodes {
		if o.w.answers(m) && m.proc != nil {
			o.sameState(m)
			o.goesBy(m)
		}
	}
	for _, c := range o.w.clients {
		c.final = 0 // each asks for a few writes more
	}
}

// comesBack is L5: within the bound of a restart of all nodes each honest one has executed what was
// committed before and after, the clients have been served, and few terms have begun. That the
// state is the one it had is S5, which restartsAll and looksAt see to.
func (o *observer) comesBack() {
	for _, m := range o.w.nodes {
		switch {
		case !o.w.answers(m):
		case m.proc == nil:
			o.fail("L5", "node %d is down %d ms after all were restarted", m.id, o.w.now-o.fellAt)
		case m.proc.Executed().Index < o.highest:
			o.fail("L5", "node %d has executed %d of %d entries, %d of them older than the restart "+
				"of all %d ms ago", m.id, m.proc.Executed().Index, o.highest, o.fallen,
				o.w.now-o.fellAt)
		}
	}
	for _, c := range o.w.clients {
		if len(c.writes) > 0 || c.read != nil || c.final < 3 && c.enrolled() {
			o.fail("L5", "client %d is not served %d ms after all were restarted", c.index,
				o.w.now-o.fellAt)
		}
	}
	if n := o.termsAfterHealing(); n > o.chart.most()+2+termsUnderWay {
		o.fail("L5", "%d terms began after the restart of all", n)
	}
}

// atEnd is L1, L3 and, of nodes that were all restarted, L5: after the healing every request is
// served and every node has caught up; and the state is the one that a naive replay of the log
// gives.
func (o *observer) atEnd() {
	if o.w.again {
		o.comesBack()
	}
	for _, c := range o.w.clients {
		if len(c.writes) > 0 {
			o.fail("L1", "client %d still waits for sequence %d since %d ms", c.index,
				c.writes[0].request.Sequence, c.writes[0].since)
		}
		if c.read != nil {
			o.fail("L1", "client %d still waits for a read since %d ms", c.index, c.read.since)
		}
	}
	if o.w.verifier.Members().Joint() {
		o.fail("L1", "the change of the voters at %d is not closed", o.w.verifier.Members().At.Index)
	}
	if bound := o.chart.most() + 2 + termsUnderWay; o.termsAfterHealing() > bound {
		o.fail("L1", "%d terms began after the healing", o.termsAfterHealing())
	}
	want, sentences := o.replay(), o.sentences()
	for _, m := range o.w.nodes {
		if !o.w.answers(m) {
			continue
		}
		if m.proc == nil || m.proc.Executed().Index < o.highest {
			o.fail("L3", "node %d has not executed all of %d entries", m.id, o.highest)
			continue
		}
		o.sameState(m)
		o.convicts(m, sentences)
		if got := contents(m.machine); !maps.Equal(got, want) {
			o.fail("B10", "node %d holds %v, a replay gives %v", m.id, got, want)
		}
	}
}

// replay executes the committed log in the simplest way there is.
func (o *observer) replay() map[string]content {
	state := make(map[string]content)
	last := make(map[crypto.PublicKey]*naiveSessions)
	var at bftraft.Index
	for at < o.highest {
		b := o.next(at)
		if b == nil {
			o.fail("B2", "there is no committed block after %d", at)
			return state
		}
		for _, e := range b.Entries() {
			if e.Kind == bftraft.EntryRequest || e.Kind == bftraft.EntryConfiguration {
				o.replayRequest(e.Data, state, last)
			}
		}
		at = b.Last()
	}
	return state
}

func (o *observer) replayRequest(
	data []byte, state map[string]content, last map[crypto.PublicKey]*naiveSessions,
) {
	req, err := bftraft.DecodeRequest(data)
	if err != nil {
		o.fail("B10", "what is committed is no request: %v", err)
		return
	}
	if last[req.Client] == nil {
		last[req.Client] = &naiveSessions{last: make(map[uint64]uint64)}
	}
	if !last[req.Client].runs(req.Session, req.Sequence) {
		return
	}
	for _, raw := range req.Ops {
		op, err := kv.DecodeOp(raw)
		if put, ok := op.(kv.Put); ok && err == nil {
			version := state[string(put.Key)].version + 1
			state[string(put.Key)] = content{string(put.Value), version}
		}
	}
}

// naiveSessions are the sessions of a client that are remembered, with the last sequence of each,
// and the highest that was forgotten.
type naiveSessions struct {
	last  map[uint64]uint64
	floor uint64
}

// naiveMost is how many sessions of a client are remembered.
const naiveMost = 32

// runs says whether a request is executed, being the next in a session that is not forgotten.
func (s *naiveSessions) runs(session, sequence uint64) bool {
	if sequence != s.last[session]+1 || s.last[session] == 0 && session <= s.floor {
		return false
	}
	s.last[session] = sequence
	if len(s.last) > naiveMost {
		s.floor = slices.Min(slices.Collect(maps.Keys(s.last)))
		delete(s.last, s.floor)
	}
	return true
}

func (o *observer) next(at bftraft.Index) *bftraft.Block {
	for i := at + 1; i <= o.highest; i++ {
		if b := o.blocks[i]; b != nil {
			return b
		}
	}
	return nil
}

// content is what a key holds, and how often it was written.
type content struct {
	value   string
	version uint64
}

func contents(m *kv.Machine) map[string]content {
	query, err := kv.EncodeQuery(kv.Range{Span: kv.All()})
	if err != nil {
		panic(err)
	}
	res, err := kv.DecodeQueryResult(m.Query(query))
	if err != nil {
		panic(err)
	}
	state := make(map[string]content)
	for _, kv := range res.(kv.RangeResult).KVs {
		state[string(kv.Key)] = content{string(kv.Value), kv.Version}
	}
	return state
}
