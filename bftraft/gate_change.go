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
		if s := &ch.Steps[i]; s.Kind == AddClient || s.Kind == AddAdmin {
			if _, err := v.scheme.Expand(s.Key); err != nil {
				return nil, fmt.Errorf("step %d: %w: %w", i+1, ErrChangeKey, err)
			}
		}
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
	digest := ch.Digest(v.cluster)
	checks := make([]crypto.Check, 0, len(ch.Endorsements))
	for _, e := range ch.Endorsements {
		if _, found := v.members.findAdmin(e.Admin); !found {
			return ErrChangeSignature
		}
		key, err := v.scheme.Expand(e.Admin)
		if err != nil {
			return ErrChangeSignature
		}
		checks = append(checks, crypto.Check{
			Key: key, Domain: crypto.DomainChange, Msg: digest[:], Sig: e.Sig,
		})
	}
	if !v.scheme.VerifyAll(checks) {
		return ErrChangeSignature
	}
	return nil
}

// After returns the gate behind a change that is proven to be committed.
func (v *Verifier) After(p *ChangeProof) (*Verifier, error) {
	if p.Header.First <= v.members.At.Index || !p.holds(v.cluster, v.configs.Latest()) {
		return nil, ErrChangeProof
	}
	r, err := v.decodeRequest(p.Entry)
	if err != nil || !v.holdAll([]signedRequest{r}) {
		return nil, ErrChangeProof
	}
	ch, err := changeOf(r.request)
	if err != nil || ch == nil {
		return nil, ErrChangeProof
	}
	next, err := v.membersAfter(r.request.Client, ch)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrChangeProof, err)
	}
	next.At, next.Digest = p.At(), ch.Digest(v.cluster)
	config, err := quorumcert.NewConfiguration(v.scheme, next.At.Index, next.Voters)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrChangeProof, err)
	}
	w := *v
	if w.configs, err = v.configs.With(config); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrChangeProof, err)
	}
	w.members = next
	w.changes = append(slices.Clip(v.changes), p)
	w.clients, err = v.clientsAfter(ch)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrChangeProof, err)
	}
	return &w, nil
}

// clientsAfter returns the clients' keys behind a change.
func (v *Verifier) clientsAfter(ch *Change) ([]clientKey, error) {
	list := slices.Clone(v.clients)
	if mutant.On(mutant.M143) {
		return list, nil
	}
	for i := range ch.Steps {
		s := &ch.Steps[i]
		switch at, _ := findClientKey(list, s.Key); s.Kind {
		case AddClient:
			key, err := v.scheme.Expand(s.Key)
			if err != nil {
				return nil, err
			}
			list = slices.Insert(list, at, clientKey{s.Key, key, s.Role})
		case SetRole:
			list[at].role = s.Role
		case RemoveClient:
			list = slices.Delete(list, at, at+1)
		}
	}
	return list, nil
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
			return nil, err
		}
		v = next
	}
	return v, nil
}

// changeCommit returns the certificate that the data of a commit entry is, if it proves that the
// change at a position is committed.
func (v *Verifier) changeCommit(at Position, data []byte) *quorumcert.Commit {
	cc := &quorumcert.Commit{}
	s := cryptobyte.String(data)
	if !quorumcert.ReadCommit(&s, cc) || !s.Empty() || at != (Position{cc.Index, cc.Hash}) ||
		!atItsEnd(cc) || cc.Verify(v.cluster, v.configs.For(at.Index)) != nil {
		return nil
	}
	return cc
}

// ProvesChange says whether an entry is what must stand first behind the newest change (J1).
func (v *Verifier) ProvesChange(e Entry) bool {
	return e.Kind == EntryCommit && v.members.At.Index > 0 &&
		v.changeCommit(v.members.At, e.Data) != nil
}

// commitEntry returns the entry that stands first behind a change (J1).
func commitEntry(cc *quorumcert.Commit) Entry {
	return Entry{Kind: EntryCommit, Data: cc.AppendTo(nil)}
}
