package bftraft

import (
	"encoding/binary"
	"errors"
	"fmt"

	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// ErrGenesis is returned when a genesis does not describe a cluster; the text says why.
var ErrGenesis = errors.New("genesis is not valid")

// maxGenesisNames bounds the number of clients and administrators.
const maxGenesisNames = 1 << 14

// Enrolled is a key with the name people know it by.
type Enrolled struct {
	Name string
	Key  crypto.PublicKey
}

// Genesis is what a cluster is born with. Its hash is the cluster's id and the hash of the empty
// log, so every signature in the cluster is bound to all of it.
type Genesis struct {
	Name    string
	Nonce   Digest // makes two clusters of the same members differ
	Testnet bool   // adversaries may run only where this is set
	Voters  []quorumcert.Voter
	Clients []Enrolled
	// Admins may change the members: AdminQuorum of them together.
	Admins      []Enrolled
	AdminQuorum int
	// Upkeep keeps what the members store within bounds.
	Upkeep Upkeep
	// Origin is the state that the cluster begins with; the zero value stands for the empty one.
	Origin Origin
}

// Origin names a state that another cluster has certified, with which a new one begins: its
// cluster, where it stood in its log, and its root. Of sessions and receipts nothing is taken over:
// they name the other cluster.
type Origin struct {
	Cluster Digest
	At      Position
	State   Digest
}

// Upkeep says what all members must do alike so that nothing grows for ever.
type Upkeep struct {
	// CheckpointEntries and CheckpointBytes are how much log there is from one checkpoint to the
	// next, whichever comes first (K1). 0 stands for no bound; both 0: no checkpoints are taken.
	CheckpointEntries, CheckpointBytes uint64
	// History is how many revisions of the state stay readable; 0: all.
	History uint64
}

// DefaultUpkeep suits a state of up to some GiB.
func DefaultUpkeep() Upkeep {
	return Upkeep{CheckpointEntries: 1_000_000, CheckpointBytes: 1 << 30, History: 100_000}
}

// Validate says whether the genesis describes a cluster, without judging the keys.
func (g *Genesis) Validate() error {
	switch {
	case len(g.Name) == 0 || len(g.Name) > 255:
		return fmt.Errorf("%w: name must have 1 to 255 bytes", ErrGenesis)
	case g.Nonce.IsZero():
		return fmt.Errorf("%w: nonce must not be zero", ErrGenesis)
	case len(g.Voters) == 0 || len(g.Voters) > quorumcert.MaxVoters:
		return fmt.Errorf("%w: it needs 1 to 64 voters", ErrGenesis)
	case len(g.Clients) > maxGenesisNames || len(g.Admins) > maxGenesisNames:
		return fmt.Errorf("%w: too many clients or administrators", ErrGenesis)
	case g.AdminQuorum < 0 || g.AdminQuorum > len(g.Admins):
		return fmt.Errorf("%w: admin quorum must be at most the number of admins", ErrGenesis)
	case g.Origin != (Origin{}) && (g.Origin.Cluster.IsZero() || g.Origin.State.IsZero() ||
		g.Origin.At.Index == 0 || g.Origin.At.Hash.IsZero()):
		return fmt.Errorf("%w: the origin must name cluster, index, hash and state", ErrGenesis)
	case g.AdminQuorum == 0 && len(g.Admins) > 0:
		return fmt.Errorf("%w: admin quorum must be at least 1 where there are admins", ErrGenesis)
	}
	if err := validateEnrolled("client", g.Clients); err != nil {
		return err
	}
	return validateEnrolled("admin", g.Admins)
}

func validateEnrolled(what string, list []Enrolled) error {
	for i, e := range list {
		if len(e.Name) == 0 || len(e.Name) > 255 {
			return fmt.Errorf("%w: name of %s %d must have 1 to 255 bytes", ErrGenesis, what, i+1)
		}
		for _, other := range list[:i] {
			switch {
			case other.Key == e.Key:
				return fmt.Errorf("%w: key of %s %q is also that of %q", ErrGenesis, what, e.Name,
					other.Name)
			case other.Name == e.Name:
				return fmt.Errorf("%w: %s %q appears twice", ErrGenesis, what, e.Name)
			}
		}
	}
	return nil
}

// Encode returns the canonical bytes that Hash covers.
func (g *Genesis) Encode() []byte {
	b := appendString(nil, g.Name)
	b = append(b, g.Nonce[:]...)
	if g.Testnet {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	b = append(b, byte(len(g.Voters)))
	for _, v := range g.Voters {
		b = append(append(b, byte(v.ID)), v.Key[:]...)
	}
	b = appendEnrolled(b, g.Clients)
	b = appendEnrolled(b, g.Admins)
	b = binary.BigEndian.AppendUint32(b, uint32(g.AdminQuorum))
	for _, v := range []uint64{
		g.Upkeep.CheckpointEntries, g.Upkeep.CheckpointBytes, g.Upkeep.History,
	} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	if o := &g.Origin; *o != (Origin{}) { // nothing else can follow
		b = appendPosition(append(b, o.Cluster[:]...), o.At)
		b = append(b, o.State[:]...)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(append(b, byte(len(s))), s...)
}

func appendEnrolled(b []byte, list []Enrolled) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(list)))
	for _, e := range list {
		b = appendString(b, e.Name)
		b = append(b, e.Key[:]...)
	}
	return b
}

// Hash returns the cluster's id, which is also h(0).
func (g *Genesis) Hash() Digest { return crypto.Hash(crypto.DomainGenesis, g.Encode()) }

// Configuration returns the first configuration. It judges all keys: voters', clients' and admins'.
func (g *Genesis) Configuration(s crypto.Scheme) (*quorumcert.Configuration, error) {
	if err := g.Validate(); err != nil {
		return nil, err
	}
	c, err := quorumcert.NewConfiguration(s, 0, g.Voters)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrGenesis, err)
	}
	if err := expandAll(s, "client", g.Clients); err != nil {
		return nil, err
	}
	if err := expandAll(s, "admin", g.Admins); err != nil {
		return nil, err
	}
	return c, nil
}

// expandAll refuses keys for which anybody could sign.
func expandAll(s crypto.Scheme, what string, list []Enrolled) error {
	for _, e := range list {
		if _, err := s.Expand(e.Key); err != nil {
			return fmt.Errorf("%w: key of %s %q: %w", ErrGenesis, what, e.Name, err)
		}
	}
	return nil
}
