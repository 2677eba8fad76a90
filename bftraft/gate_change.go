package bftraft

import (
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte"

	"tangaroa/crypto"
	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

// Members returns what the newest change that the gate knows led to.
func (v *Verifier) Members() *Membership { return v.members }

// Changes returns the proofs of all changes since the genesis, oldest first.
func (v *Verifier) Changes() []*ChangeProof { return v.changes }

// Entry returns the log entry that a request stands in next (B2): one whose change can come into
// force changes the configuration; any other is executed.
func (v *Verifier) Entry(r *Request) Entry { return Entry{Kind: v.entryKind(r), Data: r.raw} }

func (v *Verifier) entryKind(r *Request) EntryKind {
	if ch, err := changeOf(r); ch == nil || err != nil || v.MayChange(r.Client, ch) != nil {
		return EntryRequest
	}
	return EntryConfiguration
}

// Genesis returns the gate of the cluster's genesis.
func (v *Verifier) Genesis() *Verifier {
	if v.first == nil {
		return v
	}
	return v.first
}

// ChangesUpTo returns the proofs of the changes up to index i.
func (v *Verifier) ChangesUpTo(i Index) []*ChangeProof {
	n := len(v.changes)
	for n > 0 && v.changes[n-1].Header.Last > i {
		n--
	}
	return v.changes[:n:n]
}

// MayChange says why a change that a client carries does not come into force next, nil if it does:
// J5, J6.
func (v *Verifier) MayChange(carrier crypto.PublicKey, ch *Change) error {
	_, err := v.membersAfter(carrier, ch)
	return err
}

func (v *Verifier) membersAfter(carrier crypto.PublicKey, ch *Change) (*Membership, error) {
	if c, ok := v.members.Client(carrier); !ok || c.Role < RoleAdmin {
		return nil, ErrChangeCarrier
	}
	if !v.members.follows(ch) {
		return nil, ErrChangeStale // before anything that takes time: any client may carry anything
	}
	if err := v.authorized(ch); err != nil {
		return nil, err
	}
	next, err := v.members.After(ch)
	if err != nil {
		return nil, err
	}
	for i := range ch.Steps {
		var err error
		switch s := &ch.Steps[i]; s.Kind {
		case AddClient, AddAdmin:
			_, err = v.scheme.Expand(s.Key)
		case AddNode:
			_, err = v.scheme.ExpandMember(s.Key)
		}
		if err != nil {
			return nil, fmt.Errorf("step %d: %w: %v: %w", i+1, ErrChangeKey, ch.Steps[i].Key, err)
		}
	}
	if err := v.ready(ch, next); err != nil {
		return nil, err
	}
	return next, nil
}

// ChangeResult returns the result of executing a request that carries a change, in a block that
// this gate judges: what the block ends with comes into force, anything else does not.
func (v *Verifier) ChangeResult(r *Request, e EntryKind) []byte {
	number := v.members.Number
	if e == EntryConfiguration {
		return ChangeResult(number+1, nil)
	}
	ch, err := changeOf(r)
	switch {
	case err != nil:
	case number > 0 && ch.Digest(v.cluster) == v.members.Digest:
		// The one in force, carried again.
	default:
		if err = v.MayChange(r.Client, ch); err == nil {
			err = ErrChangeStale // no block may hold it so
		}
	}
	return ChangeResult(number, err)
}

// authorized says whether enough administrators in office have signed, and nobody else.
func (v *Verifier) authorized(ch *Change) error {
	need := v.members.Quorum
	if mutant.On(mutant.M140) {
		need = min(need, 1)
	}
	if v.members.Quorum < 1 || len(ch.Endorsements) < need {
		return ErrChangeAuthority
	}
	for _, e := range ch.Endorsements {
		if _, found := v.members.findAdmin(e.Key); !found {
			return ErrChangeSignature
		}
	}
	if !v.endorsed(ch, crypto.DomainChange, ch.Endorsements) {
		return ErrChangeSignature
	}
	return nil
}

// ready says whether a quorum of those that are to vote have signed that they are ready for a
// change (J2), and nobody else has.
func (v *Verifier) ready(ch *Change, next *Membership) error {
	if !next.Joint() {
		if len(ch.Ready) > 0 {
			return ErrChangeNotReady // nobody is asked to be
		}
		return nil
	}
	need := quorumcert.ForNodes(len(next.Incoming)).Q
	if len(ch.Ready) < need && !mutant.On(mutant.M145) {
		return ErrChangeNotReady
	}
	for _, e := range ch.Ready {
		is := func(n quorumcert.Voter) bool { return n.Key == e.Key }
		if !slices.ContainsFunc(next.Incoming, is) {
			return ErrChangeNotReady
		}
	}
	if !v.endorsed(ch, crypto.DomainReadyToVote, ch.Ready) {
		return ErrChangeNotReady
	}
	return nil
}

// endorsed says whether all signatures under a change verify.
func (v *Verifier) endorsed(ch *Change, domain crypto.Domain, list []Endorsement) bool {
	digest := ch.Digest(v.cluster)
	checks := make([]crypto.Check, 0, len(list))
	for _, e := range list {
		key, err := v.scheme.Expand(e.Key)
		if err != nil {
			return false
		}
		checks = append(checks, crypto.Check{Key: key, Domain: domain, Msg: digest[:], Sig: e.Sig})
	}
	return v.scheme.VerifyAll(checks)
}

// After returns the gate behind a change that is proven to be committed.
func (v *Verifier) After(p *ChangeProof) (*Verifier, error) {
	if p.Header.First <= v.members.At.Index || !p.holds(v.cluster, v.configs.Latest()) {
		return nil, ErrChangeProof
	}
	next, err := v.membersBehind(p)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrChangeProof, err)
	}
	next.At = p.At()
	config, err := next.configuration(v.scheme)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrChangeProof, err)
	}
	w := *v
	if w.configs, err = v.configs.With(config); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrChangeProof, err)
	}
	w.changes = append(slices.Clip(v.changes), p)
	if w.first == nil {
		w.first = v
	}
	if err := w.enrol(next); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrChangeProof, err)
	}
	return &w, nil
}

// membersBehind returns what the entry of a proof makes of the membership.
func (v *Verifier) membersBehind(p *ChangeProof) (*Membership, error) {
	if p.closes() {
		if !v.members.Joint() {
			return nil, ErrChangeJoint
		}
		return v.members.close(), nil
	}
	r, err := v.decodeRequest(p.Entry)
	if err != nil {
		return nil, err
	}
	if !v.holdAll([]signedRequest{r}) {
		return nil, ErrRequestSignature
	}
	ch, err := changeOf(r.request)
	if err != nil || ch == nil {
		return nil, ErrChangeMalformed
	}
	next, err := v.membersAfter(r.request.Client, ch)
	if err != nil {
		return nil, err
	}
	next.Digest = ch.Digest(v.cluster)
	return next, nil
}

// configuration returns the configuration of the membership's voters.
func (m *Membership) configuration(s crypto.Scheme) (*quorumcert.Configuration, error) {
	if m.Joint() {
		return quorumcert.NewJoint(s, m.At.Index, m.Voters, m.Incoming)
	}
	return quorumcert.NewConfiguration(s, m.At.Index, m.Voters)
}

// enrol lets a gate that nobody else has seen go by a membership.
func (v *Verifier) enrol(m *Membership) error {
	var keys []crypto.KeyEntry
	v.nodes = 0
	for _, n := range slices.Concat(m.Nodes, m.Leaving) {
		v.nodes = v.nodes.With(n.ID)
		keys = append(keys, crypto.KeyEntry{ID: n.ID, Key: n.Key})
	}
	var err error
	if v.ring, err = crypto.NewKeyring(v.scheme, keys); err != nil {
		return err
	}
	v.members = m
	if v.clients != nil && mutant.On(mutant.M143) {
		return nil
	}
	clients := make([]clientKey, len(m.Clients))
	for i, c := range m.Clients {
		key, err := v.expandClient(c.Key)
		if err != nil {
			return err
		}
		clients[i] = clientKey{c.Key, key, c.Role}
	}
	v.clients = clients
	return nil
}

// expandClient expands a client's key, unless that was done before.
func (v *Verifier) expandClient(k crypto.PublicKey) (crypto.Verifier, error) {
	if i, ok := findClientKey(v.clients, k); ok {
		return v.clients[i].verifier, nil
	}
	return v.scheme.Expand(k)
}

// settled returns the gate once something is committed beyond its newest change: whom that took
// away is listened to no more (J4).
func (v *Verifier) settled() *Verifier {
	if len(v.members.Leaving) == 0 {
		return v
	}
	w := *v
	if err := w.enrol(v.members.settled()); err != nil {
		panic("bftraft: members less those that leave: " + err.Error())
	}
	return &w
}

// rewrites says whether a certificate of term t for a position goes another way than the newest
// change, though it is of a later term than what committed that: retired keys cannot rewrite
// history (J5).
func (v *Verifier) rewrites(t Term, at Position) bool {
	n := len(v.changes)
	if n == 0 || t <= v.changes[n-1].Commit.Term || mutant.On(mutant.M147) {
		return false
	}
	change := v.members.At
	return at.Index < change.Index || at.Index == change.Index && at.Hash != change.Hash
}

// rewritesByCommit is rewrites for a commit certificate, which may prove what lies before the
// change by acks behind it.
func (v *Verifier) rewritesByCommit(cc *quorumcert.Commit) bool {
	at := Position{cc.Index, cc.Hash}
	for _, h := range cc.Headers {
		if at.Index < v.members.At.Index && h.Last <= v.members.At.Index {
			at = Position{h.Last, h.Hash()}
		}
	}
	return v.rewrites(cc.Term, at) || slices.ContainsFunc(cc.Acks, func(a quorumcert.AckedAt) bool {
		return a.Index < at.Index && v.rewrites(cc.Term, Position{Index: a.Index})
	})
}

// holders returns those of some voters of a configuration whose ids are still theirs: what others
// sign under them, as ids go round, does not count in their place (J6).
func (v *Verifier) holders(cfg *quorumcert.Configuration, ids Set) Set {
	again := ids & v.members.Reissued
	for id := again.Next(0); id != 0; id = again.Next(id) {
		k, ok := cfg.Keyring().Key(id)
		if (!ok || k != v.members.keyOf(id)) && !mutant.On(mutant.M168) {
			ids = ids.Without(id)
		}
	}
	return ids
}

// Following returns the gate behind all of a list of changes, oldest first, of which those that it
// knows are left out.
func (v *Verifier) Following(list []*ChangeProof) (*Verifier, error) {
	for _, p := range list {
		if p.Header.Last <= v.members.At.Index {
			continue
		}
		next, err := v.After(p)
		if err != nil {
			return nil, fmt.Errorf("change %d: %w", v.members.Number+1, err)
		}
		v = next
	}
	return v, nil
}

// AgreesWith says whether a list of changes since the genesis is the one that the gate knows, as
// far as both go.
func (v *Verifier) AgreesWith(list []*ChangeProof) bool {
	for i, p := range list[:min(len(list), len(v.changes))] {
		if p.At() != v.changes[i].At() {
			return false
		}
	}
	return true
}

// changeCommit returns the certificate that the data of a commit entry is, if it proves that the
// change at a position is committed, which may be one that closes a joint configuration.
func (v *Verifier) changeCommit(at Position, closing bool, data []byte) *quorumcert.Commit {
	cc, by := &quorumcert.Commit{}, v.configs.For(at.Index)
	s := cryptobyte.String(data)
	if !quorumcert.ReadCommit(&s, cc) || !s.Empty() || at != (Position{cc.Index, cc.Hash}) ||
		!atItsEnd(cc) || cc.Verify(v.cluster, by) != nil || closing && !by.Closes(cc.Signers) {
		return nil
	}
	return cc
}

// newestCloses says whether the newest change closed a joint configuration.
func (v *Verifier) newestCloses() bool {
	return len(v.changes) > 0 && v.changes[len(v.changes)-1].closes()
}

// ProvesChange says whether an entry is what must stand first behind the newest change (J1).
func (v *Verifier) ProvesChange(e Entry) bool {
	return e.Kind == EntryCommit && v.members.At.Index > 0 &&
		v.changeCommit(v.members.At, v.newestCloses(), e.Data) != nil
}

// commitEntry returns the entry that stands first behind a change (J1).
func commitEntry(cc *quorumcert.Commit) Entry {
	return Entry{Kind: EntryCommit, Data: cc.AppendTo(nil)}
}
