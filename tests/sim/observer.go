package sim

import (
	"fmt"
	"maps"
	"slices"

	"tangaroa/bftraft"
	"tangaroa/bftraft/kv"
	"tangaroa/bftraft/replica"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// observer sees everything, touches nothing, and checks the invariants after every event. The
// letters are those of docs/TESTING.md.
type observer struct {
	w   *World
	err error

	// B3: what an honest node acked at a place, and voted for in a term.
	acks  map[ackKey]crypto.Digest
	votes map[voteKey]bftraft.NodeID
	// B1: who acked what, and the positions acked at one place. S1: who voted for whom.
	signers map[position]quorumcert.Set
	rivals  map[place][]position
	leaders map[bftraft.Term]map[bftraft.NodeID]quorumcert.Set
	// B5: the highest that each node has signed.
	signed []signedState
	// B2, S5: one committed chain and one state at each index, for all nodes and for ever.
	committed map[bftraft.Index]crypto.Digest
	blocks    map[bftraft.Index]*bftraft.Block
	highest   bftraft.Index
	states    map[bftraft.Index]crypto.Digest
	executed  []bftraft.Position
	// S3: the block under each hash that an honest node has stored.
	stored map[bftraft.Position]*bftraft.Block
	// locked holds the positions that some honest node has locked.
	locked map[place]bool

	accepted bftraft.Index // highest index of an accepted write
	written  map[string]kv.Revision
	results  int
	healedAt int
	drops    map[string]int
	counts   map[string]int
}

type place struct {
	term  bftraft.Term
	index bftraft.Index
}

type position struct {
	place
	hash crypto.Digest
}

type ackKey struct {
	node bftraft.NodeID
	place
}

type voteKey struct {
	node bftraft.NodeID
	term bftraft.Term
}

// signedState is the highest a node has ever signed of each kind.
type signedState struct {
	mark      bftraft.Lock
	voteTerm  bftraft.Term
	vote      bftraft.NodeID
	certified bftraft.Lock // the highest lock claimed in an ack: term and index
}

func newObserver(w *World) *observer {
	return &observer{
		w: w, acks: make(map[ackKey]crypto.Digest), signers: make(map[position]quorumcert.Set),
		rivals: make(map[place][]position), votes: make(map[voteKey]bftraft.NodeID),
		leaders:   make(map[bftraft.Term]map[bftraft.NodeID]quorumcert.Set),
		signed:    make([]signedState, len(w.nodes)+1),
		committed: make(map[bftraft.Index]crypto.Digest),
		states:    make(map[bftraft.Index]crypto.Digest),
		executed:  make([]bftraft.Position, len(w.nodes)+1),
		blocks:    make(map[bftraft.Index]*bftraft.Block),
		locked:    make(map[place]bool),
		stored:    make(map[bftraft.Position]*bftraft.Block),
		written:   make(map[string]kv.Revision), drops: make(map[string]int),
		counts: make(map[string]int),
	}
}

// fail notes the first broken invariant.
func (o *observer) fail(invariant, format string, args ...any) {
	if o.err == nil {
		o.err = fmt.Errorf("%s broken at %d ms: %s", invariant, o.w.now,
			fmt.Sprintf(format, args...))
	}
}

func (o *observer) count(what string) { o.counts[what]++ }

func (o *observer) dropped(m *member, from bftraft.NodeID, d bftraft.Drop) {
	o.drops[d.String()]++
	if m.liar || o.w.nodes[from-1].liar {
		return
	}
	switch d {
	case bftraft.BadSignature, bftraft.BadCertificate, bftraft.Malformed, bftraft.Oversize,
		bftraft.WrongSender, bftraft.UnknownSender, bftraft.VoidAck, bftraft.BrokenChain,
		bftraft.InvalidEntry, bftraft.NoProof:
		o.fail("B7", "node %d refuses what honest node %d sent: %s", m.id, from, d)
	}
}

// watched is an honest core as the observer sees it: it looks at each Ready that leaves.
type watched struct {
	replica.Protocol
	w *World
	m *member
}

// Ready implements replica.Protocol.
func (p *watched) Ready() (bftraft.Ready, bool) {
	r, some := p.Protocol.Ready()
	for i := range r.Messages {
		p.w.watch.said(p.m, r.Messages[i].Msg)
	}
	p.w.watch.truncates(p.m, &r, p.Leader())
	for _, b := range r.Committed {
		p.w.watch.commits(p.m, b)
	}
	if hs := r.HardState; hs != nil && hs.LockQC != nil {
		p.w.watch.certified(p.m, hs.LockQC)
	}
	return r, some
}

// said checks what an honest node signs.
func (o *observer) said(m *member, msg bftraft.Message) {
	switch msg := msg.(type) {
	case *bftraft.AppendEntries:
		if msg.Ack.Signer == m.id {
			o.acked(m, &msg.Ack)
		}
		if msg.Election != nil {
			o.leads(m, msg.Election)
		}
	case *bftraft.AppendEntriesResponse:
		o.acked(m, &msg.Ack)
	case *bftraft.RequestVoteResponse:
		o.voted(m, &msg.Vote)
	case *bftraft.Accusation:
		if culprit := msg.Evidence.Culprit(); !o.w.nodes[culprit-1].liar {
			o.fail("B13", "node %d accuses honest node %d", m.id, culprit)
		}
	}
}

func (o *observer) acked(m *member, a *quorumcert.SignedAck) {
	at := place{a.Term, a.Index}
	key := ackKey{m.id, at}
	if old, ok := o.acks[key]; ok && old != a.Hash {
		o.fail("B3", "node %d acks two hashes at term %d index %d", m.id, a.Term, a.Index)
	}
	o.acks[key] = a.Hash
	pos := position{at, a.Hash}
	if o.signers[pos] == 0 {
		o.rivals[at] = append(o.rivals[at], pos)
	}
	o.signers[pos] = o.signers[pos].With(m.id)
	o.oneCertificate(at)
	s := &o.signed[m.id]
	mark := bftraft.Lock{Term: a.Term, Index: a.Index, Hash: a.Hash}
	if mark.Higher(s.mark) {
		s.mark = mark
	}
	if l := (bftraft.Lock{Term: a.Term, Index: a.Certified}); a.Certified > 0 &&
		l.Higher(s.certified) {
		s.certified = l
	}
}

// oneCertificate is B1 in its latent form: no two hashes at one place have, with all the liars on
// their side, a quorum each.
func (o *observer) oneCertificate(at place) {
	size := quorumcert.ForNodes(len(o.w.nodes))
	able := 0
	for _, pos := range o.rivals[at] {
		if o.signers[pos].Len()+o.liars() >= size.Q && at.index > 0 {
			able++
		}
	}
	if able > 1 {
		o.fail("B1", "two certificates are possible at term %d index %d", at.term, at.index)
	}
}

func (o *observer) liars() int {
	n := 0
	for _, m := range o.w.nodes {
		if m.liar {
			n++
		}
	}
	return n
}

func (o *observer) voted(m *member, v *quorumcert.SignedVote) {
	key := voteKey{m.id, v.Term}
	if old, ok := o.votes[key]; ok && old != v.Candidate {
		o.fail("B3", "node %d votes for %d and %d in term %d", m.id, old, v.Candidate, v.Term)
	}
	o.votes[key] = v.Candidate
	s := &o.signed[m.id]
	if v.Term >= s.voteTerm {
		s.voteTerm, s.vote = v.Term, v.Candidate
	}
	if o.leaders[v.Term] == nil {
		o.leaders[v.Term] = make(map[bftraft.NodeID]quorumcert.Set)
	}
	t := o.leaders[v.Term]
	t[v.Candidate] = t[v.Candidate].With(m.id)
	able := 0
	for _, id := range slices.Sorted(maps.Keys(t)) {
		if t[id].Len()+o.liars() >= quorumcert.ForNodes(len(o.w.nodes)).Q {
			able++
		}
	}
	if able > 1 {
		o.fail("S1", "two leaders are possible in term %d", v.Term)
	}
}

// leads is S4: an honest leader's log holds all that was committed in earlier terms.
func (o *observer) leads(m *member, ec *quorumcert.EC) {
	if ec.Leader != m.id || ec.Base.Index >= o.highest {
		return
	}
	if b, ok := m.disk.Block(o.highest); !ok || b.End() != (bftraft.Position{
		Index: o.highest, Hash: o.committed[o.highest],
	}) {
		o.leaderGap(m, ec)
	}
}

// leaderGap fails unless what the leader lacks was committed in this very term or later.
func (o *observer) leaderGap(m *member, ec *quorumcert.EC) {
	for _, other := range o.w.nodes {
		if other.liar || other.proc == nil {
			continue
		}
		c, ok := other.disk.Commit(o.highest)
		if ok && c.Term < ec.Term {
			o.fail("S4", "leader %d of term %d lacks entry %d of term %d", m.id, ec.Term,
				o.highest, c.Term)
		}
	}
}

// commits is B2 and S5: one chain, for all nodes and all time.
func (o *observer) commits(m *member, b *bftraft.Block) {
	if old, ok := o.committed[b.Last()]; ok && old != b.Hash() {
		o.fail("B2", "node %d commits %s at %d where %s was committed", m.id, b.Hash().Short(),
			b.Last(), old.Short())
	}
	if b.First() > 1 && o.committed[b.First()-1] != b.Header().Prev {
		o.fail("B2", "node %d commits a block at %d that does not follow what was committed",
			m.id, b.First())
	}
	o.committed[b.Last()] = b.Hash()
	o.blocks[b.Last()] = b
	o.highest = max(o.highest, b.Last())
}

// certified is B7: a second, naive check of what a node takes for a certificate.
func (o *observer) certified(m *member, qc *quorumcert.QC) {
	if l := (place{qc.Term, qc.Index}); !o.locked[l] {
		o.locked[l] = true
		o.w.lockdown(m)
	}
	n, voters := 0, len(o.w.nodes)
	for i, id := range qc.Signers.Members() {
		st := quorumcert.Ack{Cluster: o.w.cluster, Term: qc.Term, Index: qc.Index, Hash: qc.Hash,
			Certified: qc.Certified[i]}
		key, err := o.w.scheme.Expand(o.w.nodes[id-1].signer.Public())
		if err == nil && key.Verify(crypto.DomainAck, st.AppendTo(nil), qc.Sigs[i]) {
			n++
		}
	}
	if 2*n < voters+(voters-1)/3+1 {
		o.fail("B7", "node %d locks a certificate of %d signers", m.id, n)
	}
}

// restarts is B5: what a node finds on its disk is not behind anything it ever signed.
func (o *observer) restarts(m *member) {
	r, err := m.disk.Load()
	if err != nil {
		return // boot says so
	}
	s, hs := &o.signed[m.id], &r.HardState
	if s.mark.Higher(hs.Mark) {
		o.fail("B5", "node %d acked %d,%d and restarts with mark %d,%d", m.id, s.mark.Term,
			s.mark.Index, hs.Mark.Term, hs.Mark.Index)
	}
	if s.voteTerm > hs.Term || s.voteTerm == hs.Term && s.voteTerm > 0 &&
		s.vote != hs.Vote.Candidate {
		o.fail("B5", "node %d voted for %d in term %d and restarts in term %d, vote %d", m.id,
			s.vote, s.voteTerm, hs.Term, hs.Vote.Candidate)
	}
	if s.certified.Term == hs.Term && s.certified.Higher(hs.Lock) {
		o.fail("B5", "node %d claimed %d certified in term %d and restarts with lock %d,%d", m.id,
			s.certified.Index, s.certified.Term, hs.Lock.Term, hs.Lock.Index)
	}
}

// looksAt checks a node's state after an event.
func (o *observer) looksAt(m *member) {
	if m.liar || m.proc == nil {
		return
	}
	at := m.proc.Executed()
	if at == o.executed[m.id] {
		return
	}
	o.executed[m.id] = at
	if at.Index > 0 && o.committed[at.Index] != at.Hash {
		o.fail("S5", "node %d executed a block at %d that was not committed", m.id, at.Index)
	}
	d := crypto.Hash(crypto.DomainState, digestBytes(m.machine.Digest()),
		digestBytes(m.proc.SessionsDigest()))
	if old, ok := o.states[at.Index]; ok && old != d {
		o.fail("S5", "node %d has another state at %d", m.id, at.Index)
	}
	o.states[at.Index] = d
	for id := m.proc.Core().Faulty.Next(0); id != 0; id = m.proc.Core().Faulty.Next(id) {
		if !o.w.nodes[id-1].liar {
			o.fail("B13", "node %d holds honest node %d for faulty", m.id, id)
		}
	}
}

func digestBytes(d crypto.Digest) []byte { return d[:] }

// writeAccepted is B10: what a client believes was executed where it says, after all that was
// accepted before it began.
func (o *observer) writeAccepted(c *client, wr *write, r *bftraft.BlockReply) {
	if hash, ok := o.committed[r.Reply.Index]; !ok || hash != r.Reply.Hash {
		o.fail("B10", "client %d accepts a reply of a block that is not committed", c.index)
		return
	}
	if r.Reply.Index <= wr.after && !o.blockHolds(r.Reply.Index, wr) {
		o.fail("B10", "client %d: a write that began after %d was accepted got %d", c.index,
			wr.after, r.Reply.Index)
	}
	if !o.blockHolds(r.Reply.Index, wr) {
		o.fail("B10", "client %d: its request is not in block %d", c.index, r.Reply.Index)
	}
	o.results++
	o.accepted = max(o.accepted, r.Reply.Index)
	last, err := kv.DecodeResult(r.Results[len(r.Results)-1])
	if err != nil || last.Code != kv.CodeOK {
		o.fail("B10", "client %d: result is not that of its put: %v", c.index, err)
		return
	}
	o.written[wr.key] = max(o.written[wr.key], last.Revision)
}

func (o *observer) blockHolds(i bftraft.Index, wr *write) bool {
	b := o.blocks[i]
	return b != nil && slices.ContainsFunc(b.Entries(), func(e bftraft.Entry) bool {
		return string(e.Data) == string(wr.request.Raw())
	})
}

// readAccepted is B14: a read sees every write of its key that was accepted before it began.
func (o *observer) readAccepted(c *client, r *read, result []byte) {
	o.count("read")
	decoded, err := kv.DecodeQueryResult(result)
	res, ok := decoded.(kv.RangeResult)
	if err != nil || !ok {
		o.fail("B14", "client %d: read of %s gives no result: %v", c.index, r.key, err)
		return
	}
	var mod kv.Revision
	if len(res.KVs) == 1 {
		mod = res.KVs[0].Mod
	}
	if mod < r.floor {
		o.fail("B14", "client %d reads %s at revision %d after %d was written", c.index, r.key,
			mod, r.floor)
	}
}

func (o *observer) healed() { o.healedAt = o.w.now }

// settled says whether everything asked for after the healing is done and all nodes agree.
func (o *observer) settled() bool {
	for _, c := range o.w.clients {
		if len(c.writes) > 0 || c.read != nil || c.final < 3 {
			return false
		}
	}
	for _, m := range o.w.nodes {
		if !m.liar && (m.proc == nil || m.proc.Executed().Index < o.highest) {
			return false
		}
	}
	return true
}

// atEnd is L1 and L3: after the healing every request is served and every node has caught up; and
// the state is the one that a naive replay of the log gives.
func (o *observer) atEnd() {
	for _, c := range o.w.clients {
		if len(c.writes) > 0 {
			o.fail("L1", "client %d still waits for sequence %d since %d ms", c.index,
				c.writes[0].request.Sequence, c.writes[0].since)
		}
		if c.read != nil {
			o.fail("L1", "client %d still waits for a read since %d ms", c.index, c.read.since)
		}
	}
	want := o.replay()
	for _, m := range o.w.nodes {
		if m.liar || m.proc == nil {
			continue
		}
		if m.proc.Executed().Index < o.highest {
			o.fail("L3", "node %d has executed %d of %d", m.id, m.proc.Executed().Index, o.highest)
			continue
		}
		if got := contents(m.machine); !maps.Equal(got, want) {
			o.fail("B10", "node %d holds %v, a replay gives %v", m.id, got, want)
		}
	}
}

// replay executes the committed log in the simplest way there is.
func (o *observer) replay() map[string]string {
	state := make(map[string]string)
	last := make(map[string]uint64)
	var at bftraft.Index
	for at < o.highest {
		b := o.next(at)
		if b == nil {
			o.fail("B2", "there is no committed block after %d", at)
			return state
		}
		for _, e := range b.Entries() {
			req, err := bftraft.DecodeRequest(e.Data)
			session := fmt.Sprint(req.Client, req.Session)
			if err != nil || req.Sequence != last[session]+1 {
				continue
			}
			last[session] = req.Sequence
			for _, raw := range req.Ops {
				if op, err := kv.DecodeOp(raw); err == nil {
					put := op.(kv.Put)
					state[string(put.Key)] = string(put.Value)
				}
			}
		}
		at = b.Last()
	}
	return state
}

func (o *observer) next(at bftraft.Index) *bftraft.Block {
	for i := at + 1; i <= o.highest; i++ {
		if b := o.blocks[i]; b != nil {
			return b
		}
	}
	return nil
}

func contents(m *kv.Machine) map[string]string {
	query, err := kv.EncodeQuery(kv.Range{Span: kv.All()})
	if err != nil {
		panic(err)
	}
	res, err := kv.DecodeQueryResult(m.Query(query))
	if err != nil {
		panic(err)
	}
	state := make(map[string]string)
	for _, kv := range res.(kv.RangeResult).KVs {
		state[string(kv.Key)] = string(kv.Value)
	}
	return state
}
