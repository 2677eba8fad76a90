package quorumcert

import (
	"errors"
	"fmt"

	"tangaroa/crypto"
	"tangaroa/internal/mutant"
)

// Errors of building a configuration.
var (
	// ErrVoters is returned when the voters are none, too many, or not in ascending order.
	ErrVoters = errors.New("voters must be 1 to 64, in ascending order of id")
	// ErrHistory is returned when a configuration is not younger than the one before it.
	ErrHistory = errors.New("configurations must be in ascending order of their entries")
)

// Voter is one member with a say.
type Voter struct {
	ID  crypto.NodeID
	Key crypto.PublicKey
}

// Configuration is a set of voters with their keys, in force from one log position on. It is
// immutable.
type Configuration struct {
	entry   Index
	voters  []Voter
	members Set
	size    Size
	ring    *crypto.Keyring
	scheme  crypto.Scheme
}

// NewConfiguration returns the configuration that the entry at index entry describes (0: the
// genesis). It refuses weak and repeated keys, and voters that are not in ascending order.
func NewConfiguration(s crypto.Scheme, entry Index, voters []Voter) (*Configuration, error) {
	if len(voters) == 0 || len(voters) > MaxVoters {
		return nil, ErrVoters
	}
	c := &Configuration{entry: entry, size: ForNodes(len(voters)), scheme: s}
	c.voters = append(c.voters, voters...)
	keys := make([]crypto.KeyEntry, 0, len(voters))
	for i, v := range voters {
		if v.ID == 0 || v.ID > MaxVoters || i > 0 && v.ID <= voters[i-1].ID {
			return nil, ErrVoters
		}
		c.members = c.members.With(v.ID)
		keys = append(keys, crypto.KeyEntry{ID: v.ID, Key: v.Key})
	}
	ring, err := crypto.NewKeyring(s, keys)
	if err != nil {
		return nil, fmt.Errorf("configuration at entry %d: %w", entry, err)
	}
	c.ring = ring
	return c, nil
}

// Entry returns the index of the entry that describes this configuration, 0 for the genesis.
func (c *Configuration) Entry() Index { return c.entry }

// Size returns the quorum arithmetic.
func (c *Configuration) Size() Size { return c.size }

// Members returns the voters as a set.
func (c *Configuration) Members() Set { return c.members }

// Has says whether id is a voter.
func (c *Configuration) Has(id crypto.NodeID) bool { return c.members.Has(id) }

// Voters returns the voters in ascending order of id. The caller must not change them.
func (c *Configuration) Voters() []Voter { return c.voters }

// Keyring returns the voters' keys.
func (c *Configuration) Keyring() *crypto.Keyring { return c.ring }

// Rank returns the rank of voter id in term t: the voter at position (t + r) mod N has rank r
// (docs/PROTOCOL.md, E3). It returns false when id is no voter.
func (c *Configuration) Rank(t Term, id crypto.NodeID) (int, bool) {
	n := uint64(len(c.voters))
	if mutant.On(mutant.M48) {
		t = 0
	}
	for i, v := range c.voters {
		if v.ID == id {
			return int((uint64(i) + n - uint64(t)%n) % n), true
		}
	}
	return 0, false
}

// Configurations is the chain of configurations a node knows, oldest first.
type Configurations struct {
	list []*Configuration
}

// NewConfigurations starts a chain with the configuration of the genesis.
func NewConfigurations(genesis *Configuration) *Configurations {
	return &Configurations{list: []*Configuration{genesis}}
}

// With returns a new chain with c at its end.
func (cs *Configurations) With(c *Configuration) (*Configurations, error) {
	if c.entry <= cs.Latest().entry {
		return nil, ErrHistory
	}
	next := &Configurations{list: make([]*Configuration, 0, len(cs.list)+1)}
	next.list = append(append(next.list, cs.list...), c)
	return next, nil
}

// For returns the configuration that judges index i: the last whose entry lies strictly before i
// (docs/PROTOCOL.md, N5). For index 0 that is the genesis.
func (cs *Configurations) For(i Index) *Configuration {
	if mutant.On(mutant.M21) {
		return cs.Behind(i)
	}
	if i == 0 {
		return cs.list[0]
	}
	return cs.Behind(i - 1)
}

// Behind returns the configuration in force at index i, an entry at i included: elections go by
// the one behind their base (docs/PROTOCOL.md, J3).
func (cs *Configurations) Behind(i Index) *Configuration {
	found := cs.list[0]
	for _, c := range cs.list[1:] {
		if c.entry > i {
			break
		}
		found = c
	}
	return found
}

// Latest returns the newest configuration.
func (cs *Configurations) Latest() *Configuration { return cs.list[len(cs.list)-1] }

// VerifyAll judges signatures under the configuration's scheme, all or nothing.
func (c *Configuration) VerifyAll(checks []crypto.Check) bool { return c.scheme.VerifyAll(checks) }
