package bftraft

import (
	"bytes"
	"slices"

	"tangaroa/crypto"
	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

// Verified is a message that passed the gate: canonical, signed by the voter the link names, its
// certificates valid. Only a Verifier makes one.
type Verified struct {
	from NodeID
	msg  Message
	by   *Membership // what the gate knew
}

// From returns the voter that sent the message.
func (v Verified) From() NodeID { return v.from }

// Message returns the message, which must not be changed.
func (v Verified) Message() Message { return v.msg }

// Verifier is the one gate from bytes to protocol. It is immutable; any number of goroutines may
// use it at once, if they may use its memory. Its verdict depends on the bytes and the
// configurations alone.
type Verifier struct {
	cluster Digest
	scheme  crypto.Scheme
	configs *quorumcert.Configurations
	members *Membership     // what the newest change led to
	nodes   Set             // whose messages are listened to, and
	ring    *crypto.Keyring // their keys
	changes []*ChangeProof  // all changes since the genesis
	clients []clientKey     // ascending by key
	first   *Verifier       // of the genesis; nil: this one
	memory  Memory          // nil: nothing is remembered
}

type clientKey struct {
	key      crypto.PublicKey
	verifier crypto.Verifier
	role     Role
}

// NewVerifier returns the gate of the cluster with genesis g under scheme s.
func NewVerifier(s crypto.Scheme, g *Genesis) (*Verifier, error) {
	c, err := g.Configuration(s)
	if err != nil {
		return nil, err
	}
	v := &Verifier{
		cluster: g.Hash(), scheme: s, configs: quorumcert.NewConfigurations(c),
	}
	return v, v.enrol(g.membership())
}

// Remembering returns a gate with the same verdicts that verifies no request which m knows, and
// tells m of those that it finds valid.
func (v *Verifier) Remembering(m Memory) *Verifier {
	w := *v
	w.memory = m
	if v.first != nil {
		w.first = v.first.Remembering(m)
	}
	return &w
}

// Configurations returns the chain of configurations the gate judges by.
func (v *Verifier) Configurations() *quorumcert.Configurations { return v.configs }

// Keyring returns the keys of all members, whether they have a say or not, and of those that the
// newest change took away as long as they may have to be told.
func (v *Verifier) Keyring() *crypto.Keyring { return v.ring }

// Cluster returns the cluster's id.
func (v *Verifier) Cluster() Digest { return v.cluster }

// Verify judges a frame that came over the authenticated link of node from.
func (v *Verifier) Verify(from NodeID, frame []byte) (Verified, Drop) {
	if !v.nodes.Has(from) {
		return Verified{}, UnknownSender
	}
	m, drop := DecodeMessage(frame)
	if drop != Accepted {
		return Verified{}, drop
	}
	if e, ok := m.(envelope); ok {
		drop = v.verifyWhole(from, e, frame)
	} else {
		drop = v.verifyStatement(from, m)
	}
	if drop == Accepted {
		drop = v.verifyContent(m)
	}
	if drop != Accepted {
		return Verified{}, drop
	}
	return Verified{from: from, msg: m, by: v.members}, Accepted
}

func (v *Verifier) verifyWhole(from NodeID, e envelope, frame []byte) Drop {
	s := e.envelope()
	if s.From != from && !mutant.On(mutant.M113) {
		return WrongSender
	}
	digest := messageDigest(v.cluster, frame[:len(frame)-len(s.Sig)])
	if v.ring.Verify(from, crypto.DomainMessage, digest[:], s.Sig) != nil {
		return BadSignature
	}
	return Accepted
}

func (v *Verifier) verifyStatement(from NodeID, m Message) Drop {
	switch m := m.(type) {
	case *AppendEntries:
		return v.verifyAck(from, &m.Ack)
	case *AppendEntriesResponse:
		return v.verifyAck(from, &m.Ack)
	case *Suspect:
		if m.Signer != from {
			return WrongSender
		}
		st := quorumcert.Suspicion{Cluster: v.cluster, Term: m.Term}
		return v.verifySigned(from, st, m.Sig)
	case *RequestVoteResponse:
		if m.Vote.Signer != from {
			return WrongSender
		}
		if m.Vote.Cluster != v.cluster {
			return BadSignature
		}
		return v.verifySigned(from, m.Vote.Vote, m.Vote.Sig)
	case *CheckpointVote:
		return v.verifyCheckpoint(from, &m.Checkpoint)
	}
	panic("bftraft: a message without signature")
}

func (v *Verifier) verifyAck(from NodeID, a *quorumcert.SignedAck) Drop {
	switch {
	case a.Signer != from:
		return WrongSender
	case a.Cluster != v.cluster:
		return BadSignature
	case (a.Certified > a.Index || a.Term == 0) && !mutant.On(mutant.M72):
		return VoidAck
	}
	return v.verifySigned(from, a.Ack, a.Sig)
}

// verifyCheckpoint judges a checkpoint by the configuration of its index (N5).
func (v *Verifier) verifyCheckpoint(from NodeID, s *quorumcert.SignedCheckpoint) Drop {
	switch {
	case s.Signer != from:
		return WrongSender
	case s.Cluster != v.cluster:
		return BadSignature
	case s.Configuration > v.members.At.Index:
		return UnknownChange
	case s.Index == 0 || s.Configuration != v.configs.Behind(s.Index).Entry():
		return BadCertificate
	}
	return v.verifySigned(from, s.Checkpoint, s.Sig)
}

func (v *Verifier) verifySigned(
	id NodeID, st quorumcert.Statement, sig crypto.Signature,
) Drop {
	if v.ring.Verify(id, st.Domain(), st.AppendTo(nil), sig) != nil && !mutant.On(mutant.M114) {
		return BadSignature
	}
	return Accepted
}

// verifyContent judges what a message carries beyond its sender's own signature.
func (v *Verifier) verifyContent(m Message) Drop {
	switch m := m.(type) {
	case *AppendEntries:
		if !follow(m.Blocks) || len(m.Blocks) > 0 && !endsAt(m.Blocks, m.Ack.Index, m.Ack.Hash) {
			return BrokenChain
		}
		v.CheckBlocks(m.Blocks)
		return v.verifyElection(m.Election, m.BaseQC)
	case *RequestVote:
		return v.verifyRequestVote(m)
	case *Proof:
		return v.verifyTermProof(&m.TermProof)
	case *Chain:
		return v.verifyChain(m)
	case *Committed:
		return v.verifyCommitted(m)
	case *Accusation:
		if !v.Accuses(&m.Evidence) {
			return NoProof
		}
	case *Reminder:
		if m.Ack.Cluster != v.cluster {
			return NoProof
		}
	case *Changes:
		next, err := v.Following(m.List)
		if err != nil {
			return NoProof
		}
		if m.Beyond != nil && !mutant.On(mutant.M166) && (m.Beyond.Index <= next.members.At.Index ||
			next.verifyCommit(m.Beyond) != Accepted) {
			return BadCertificate
		}
	case *StableCheckpoint:
		if m.Stable.Configuration > v.members.At.Index {
			return UnknownChange
		}
		if !v.verifyStable(m.Stable) {
			return BadCertificate
		}
	}
	return Accepted
}

// verifyStable judges a certified checkpoint by what is known.
func (v *Verifier) verifyStable(st *quorumcert.Stable) bool {
	behind := v.configs.Behind(st.Index).Entry()
	return st.VerifyBehind(v.cluster, v.configs.For(st.Index), behind) == nil
}

// follow says whether the blocks follow each other.
func follow(blocks []*Block) bool {
	for i := 1; i < len(blocks); i++ {
		if blocks[i].Before() != blocks[i-1].End() && !mutant.On(mutant.M18) {
			return false
		}
	}
	return true
}

func endsAt(blocks []*Block, i Index, h Digest) bool {
	return blocks[len(blocks)-1].End() == Position{i, h}
}

func (v *Verifier) verifyQC(qc *quorumcert.QC) Drop {
	if qc != nil && (qc.Verify(v.cluster, v.configs.For(qc.Index)) != nil ||
		v.rewrites(qc.Term, Position{qc.Index, qc.Hash})) {
		return BadCertificate
	}
	return Accepted
}

// verifyLock judges a lock by its certificate; the genesis lock has none.
func (v *Verifier) verifyLock(l Lock, qc *quorumcert.QC) Drop {
	if qc == nil {
		if l != (Lock{Hash: v.cluster}) {
			return BadCertificate
		}
		return Accepted
	}
	if qc.Lock != l {
		return BadCertificate
	}
	return v.verifyQC(qc)
}

func (v *Verifier) verifyTC(tc *quorumcert.TC) Drop {
	if tc != nil && tc.Verify(v.cluster, v.configs.Latest()) != nil {
		return BadCertificate
	}
	return Accepted
}

func (v *Verifier) verifyElection(ec *quorumcert.EC, base *quorumcert.QC) Drop {
	if ec == nil {
		if base != nil {
			return Malformed
		}
		return Accepted
	}
	if !v.elects(ec) && !mutant.On(mutant.M17) {
		return BadCertificate
	}
	return v.verifyLock(ec.Base, base)
}

// elects says whether an election certificate holds by the configuration behind its base (J3). If
// that is a closing entry, those who elected may not have known that it is committed: then it takes
// both quorums. Whether the base is such an entry may be known to nobody here; see Core.elected.
func (v *Verifier) elects(ec *quorumcert.EC) bool {
	base := Position{ec.Base.Index, ec.Base.Hash}
	if v.rewrites(ec.Term, base) {
		return false
	}
	if ec.Verify(v.cluster, v.configs.Behind(base.Index)) == nil {
		return true
	}
	before := v.configs.For(base.Index)
	return v.newestCloses() && base == v.members.At && before.Closes(ec.Signers) &&
		ec.Verify(v.cluster, before) == nil
}

func (v *Verifier) verifyRequestVote(m *RequestVote) Drop {
	if m.Term == 0 || m.Lock.Term >= m.Term || (m.TC == nil) != (m.Term == 1) {
		return BadCertificate
	}
	if m.TC != nil && m.TC.Term != m.Term-1 && !mutant.On(mutant.M42) {
		return BadCertificate
	}
	if drop := v.verifyLock(m.Lock, m.LockQC); drop != Accepted {
		return drop
	}
	return v.verifyTC(m.TC)
}

func (v *Verifier) verifyCommit(cc *quorumcert.Commit) Drop {
	if cc != nil && (cc.Verify(v.cluster, v.configs.For(cc.Index)) != nil ||
		v.rewritesByCommit(cc)) {
		return BadCertificate
	}
	return Accepted
}

func (v *Verifier) verifyTermProof(p *TermProof) Drop {
	for _, drop := range [...]Drop{
		v.verifyTC(p.TC), v.verifyElection(p.EC, p.BaseQC), v.verifyQC(p.QC), v.verifyCommit(p.Commit),
	} {
		if drop != Accepted {
			return drop
		}
	}
	return Accepted
}

func (v *Verifier) verifyChain(m *Chain) Drop {
	if !follow(m.Blocks) {
		return BrokenChain
	}
	v.CheckBlocks(m.Blocks)
	if m.LeaderAck == nil {
		return Accepted
	}
	a := m.LeaderAck
	if len(m.Blocks) == 0 || !endsAt(m.Blocks, a.Index, a.Hash) {
		return BrokenChain
	}
	return v.verifyAck(a.Signer, a)
}

// verifyCommitted judges the proof; that the first block follows what the receiver has is for the
// core to see. The entries are proven by the commit and need no further check.
func (v *Verifier) verifyCommitted(m *Committed) Drop {
	if m.Commit == nil || len(m.Blocks) == 0 && len(m.Bridge) > 0 {
		return Malformed
	}
	if drop := v.verifyCommit(m.Commit); drop != Accepted {
		return drop
	}
	if !follow(m.Blocks) {
		return BrokenChain
	}
	if len(m.Blocks) > 0 {
		end := m.Blocks[len(m.Blocks)-1].End()
		for _, h := range m.Bridge {
			if h.Prev != end.Hash || h.First != end.Index+1 || h.Last < h.First {
				return BrokenChain
			}
			end = Position{h.Last, h.Hash()}
		}
		if end != (Position{m.Commit.Index, m.Commit.Hash}) {
			return BrokenChain
		}
	}
	return v.verifyQC(m.LockQC)
}

// CheckBlocks judges the entries of blocks that were not judged before and notes the verdict in
// them: whether an entry may stand in a block is a function of the chain before it (B2), so all
// nodes come to the same one. It depends on what the newest change before the block led to, so a
// block is judged only where that is what this gate knows.
func (v *Verifier) CheckBlocks(blocks []*Block) {
	for _, b := range blocks {
		if b.checked == unchecked || b.judgedBy != nil && b.judgedBy != v.members {
			b.checked, b.judgedBy = v.checkBlock(b), v.members
		}
	}
}

// checkBlock judges a block, supposing that no change lies between the newest that is known and it.
// It says so where the block itself shows that it belongs elsewhere.
func (v *Verifier) checkBlock(b *Block) checkState {
	entries, at := b.entries, v.members.At
	switch {
	case b.First() <= at.Index:
		return entriesElsewhere // of before the newest change
	case b.Before() == at && at.Index > 0:
		if !v.ProvesChange(entries[0]) {
			return entriesInvalid // the certificate comes first (J1)
		}
		entries = entries[1:]
	case entries[0].Kind == EntryCommit && b.First() > at.Index+1:
		return entriesElsewhere // of behind a change that is not known here
	}
	if len(entries) == 0 {
		return entriesValid
	}
	return v.checkEntries(entries)
}

func (v *Verifier) checkEntries(entries []Entry) checkState {
	fresh := make([]signedRequest, 0, len(entries))
	for i, e := range entries {
		last := i == len(entries)-1
		switch {
		case e.Kind == EntryEvidence && v.provesFault(e.Data),
			e.Kind == EntryClosing && last && len(e.Data) == 0 && v.members.Joint():
			continue
		}
		r, err := v.decodeRequest(e.Data)
		if err != nil || v.entryKind(r.request) != e.Kind || e.Kind == EntryConfiguration && !last {
			return entriesInvalid
		}
		if !v.knows(&r) {
			fresh = append(fresh, r)
		}
	}
	if !v.holdAll(fresh) && !mutant.On(mutant.M33) {
		return entriesInvalid
	}
	return entriesValid
}

// provesFault says whether the data of an evidence entry is a proof that verifies.
func (v *Verifier) provesFault(data []byte) bool {
	e, ok := DecodeEvidence(data)
	return ok && v.Accuses(e)
}

// signedRequest is a request of an enrolled client whose signature is still to be judged.
type signedRequest struct {
	request *Request
	key     crypto.Verifier
	signed  SignedDigest
}

func (v *Verifier) decodeRequest(raw []byte) (signedRequest, error) {
	r, err := DecodeRequest(raw)
	if err != nil {
		return signedRequest{}, err
	}
	i, ok := findClientKey(v.clients, r.Client)
	switch {
	case !ok:
		return signedRequest{}, ErrUnknownClient
	case v.clients[i].role < RoleWrite:
		return signedRequest{}, ErrClientRole
	}
	return signedRequest{r, v.clients[i].verifier, SignedDigest{r.Digest(v.cluster), r.Sig}}, nil
}

func (v *Verifier) knows(r *signedRequest) bool {
	return v.memory != nil && v.memory.Knows(r.signed)
}

// holdAll judges signatures at once and remembers them if all of them hold.
func (v *Verifier) holdAll(list []signedRequest) bool {
	checks := make([]crypto.Check, len(list))
	for i := range list {
		r := &list[i]
		checks[i] = crypto.Check{
			Key: r.key, Domain: crypto.DomainRequest, Msg: r.signed.Digest[:], Sig: r.signed.Sig,
		}
	}
	if !v.configs.Latest().VerifyAll(checks) {
		return false
	}
	if v.memory != nil {
		for i := range list {
			v.memory.Keep(list[i].signed)
		}
	}
	return true
}

// VerifyRequest judges a client's request by the rule that also judges entries.
func (v *Verifier) VerifyRequest(raw []byte) (*Request, error) {
	requests, errs := v.VerifyRequests([][]byte{raw})
	return requests[0], errs[0]
}

// VerifyRequests judges requests as VerifyRequest does each of them; for each either the request or
// the error is nil. Many at once cost less than half of one by one, as long as all are valid.
func (v *Verifier) VerifyRequests(raws [][]byte) ([]*Request, []error) {
	requests, errs := make([]*Request, len(raws)), make([]error, len(raws))
	fresh := make([]signedRequest, 0, len(raws))
	places := make([]int, 0, len(raws))
	for i, raw := range raws {
		r, err := v.decodeRequest(raw)
		if errs[i] = err; err != nil {
			continue
		}
		requests[i] = r.request
		if !v.knows(&r) {
			fresh, places = append(fresh, r), append(places, i)
		}
	}
	if v.holdAll(fresh) {
		return requests, errs
	}
	for k, i := range places {
		if len(fresh) == 1 || !v.holdAll(fresh[k:k+1]) {
			requests[i], errs[i] = nil, ErrRequestSignature
		}
	}
	return requests, errs
}

// VerifyReply judges a reply that another node sends about a request that this node asked about
// (E5). Like Verify it may be used by any number of goroutines.
func (v *Verifier) VerifyReply(from NodeID, frame []byte) (*BlockReply, Drop) {
	r, err := DecodeBlockReply(frame)
	switch {
	case err != nil:
		return nil, Malformed
	case r.Signer != from:
		return nil, WrongSender
	case r.Reply.Configuration > v.members.At.Index:
		return nil, UnknownChange
	case r.Verify(v.cluster, v.configs) != nil:
		return nil, BadSignature
	}
	return r, Accepted
}

// findClientKey finds an enrolled key by binary search.
func findClientKey(list []clientKey, k crypto.PublicKey) (int, bool) {
	return slices.BinarySearchFunc(list, k,
		func(c clientKey, k crypto.PublicKey) int { return compareKeys(c.key, k) })
}

// IsClient says whether k is enrolled.
func (v *Verifier) IsClient(k crypto.PublicKey) bool {
	_, ok := findClientKey(v.clients, k)
	return ok
}

// MayWrite says whether k is enrolled and may have operations executed.
func (v *Verifier) MayWrite(k crypto.PublicKey) bool {
	i, ok := findClientKey(v.clients, k)
	return ok && v.clients[i].role >= RoleWrite
}

// MayAdminister says whether k is enrolled with the role admin.
func (v *Verifier) MayAdminister(k crypto.PublicKey) bool {
	i, ok := findClientKey(v.clients, k)
	return ok && v.clients[i].role >= RoleAdmin
}

func compareKeys(a, b crypto.PublicKey) int { return bytes.Compare(a[:], b[:]) }
