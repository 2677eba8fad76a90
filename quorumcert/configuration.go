package quorumcert

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"tangaroa/crypto"
	"tangaroa/internal/mutant"
)

// Errors of building a configuration.
var (
	// ErrVoters is returned when the voters are none, too many, or not in ascending order.
	ErrVoters = errors.New("voters must be 1 to 64, in ascending order of id")
	// ErrIncoming is returned when a voter that stays has another key in the next configuration.
	ErrIncoming = errors.New("a voter that stays must keep its key")
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
//
// A joint one has incoming voters as well: those of the configuration that is to follow. Its voters
// go on certifying; only the entry that closes it needs a quorum of both (docs/PROTOCOL.md, J2).
type Configuration struct {
	entry    Index
	voters   []Voter
	members  Set
	size     Size
	incoming Set // joint: who votes behind the closing entry, and
	next     Size
	signers  Set             // who may stand in a certificate: voters and incoming
	ring     *crypto.Keyring // of all signers
	scheme   crypto.Scheme
}

// NewConfiguration returns the configuration that the entry at index entry describes (0: the
// genesis). It refuses weak and repeated keys, and voters that are not in ascending order.
func NewConfiguration(s crypto.Scheme, entry Index, voters []Voter) (*Configuration, error) {
	return newConfiguration(s, entry, voters, voters)
}

// NewJoint returns the joint configuration of voters and of those that are to take over from them.
// It refuses what NewConfiguration does of either.
func NewJoint(s crypto.Scheme, entry Index, voters, incoming []Voter) (*Configuration, error) {
	next, err := NewConfiguration(s, entry, incoming)
	if err != nil {
		return nil, err
	}
	all := slices.Concat(voters, incoming)
	slices.SortFunc(all, func(a, b Voter) int { return cmp.Compare(a.ID, b.ID) })
	all = slices.Compact(all)
	for i := range all[1:] {
		if all[i].ID == all[i+1].ID {
			return nil, ErrIncoming
		}
	}
	c, err := newConfiguration(s, entry, voters, all)
	if err != nil {
		return nil, err
	}
	c.incoming, c.next = next.members, next.size
	if mutant.On(mutant.M20) {
		c.members, c.size = next.members, next.size
	}
	return c, nil
}

// newConfiguration returns the configuration of voters in whose certificates all may stand.
func newConfiguration(s crypto.Scheme, entry Index, voters, all []Voter) (*Configuration, error) {
	c := &Configuration{entry: entry, voters: slices.Clone(voters), scheme: s}
	var err error
	if c.members, _, err = readVoters(voters); err != nil {
		return nil, err
	}
	var keys []crypto.KeyEntry
	if c.signers, keys, err = readVoters(all); err != nil {
		return nil, err
	}
	c.size = ForNodes(len(voters))
	if c.ring, err = crypto.NewKeyring(s, keys); err != nil {
		return nil, fmt.Errorf("configuration at entry %d: %w", entry, err)
	}
	return c, nil
}

func readVoters(voters []Voter) (set Set, keys []crypto.KeyEntry, err error) {
	if len(voters) == 0 || len(voters) > MaxVoters {
		return 0, nil, ErrVoters
	}
	for i, v := range voters {
		if v.ID == 0 || v.ID > MaxVoters || i > 0 && v.ID <= voters[i-1].ID {
			return 0, nil, ErrVoters
		}
		set = set.With(v.ID)
		keys = append(keys, crypto.KeyEntry{ID: v.ID, Key: v.Key})
	}
	return set, keys, nil
}

// Entry returns the index of the entry that describes this configuration, 0 for the genesis.
func (c *Configuration) Entry() Index { return c.entry }

// Size returns the quorum arithmetic.
func (c *Configuration) Size() Size { return c.size }

// Members returns the voters as a set.
func (c *Configuration) Members() Set { return c.members }

// Incoming returns those that vote behind the closing entry of a joint configuration, else none.
func (c *Configuration) Incoming() Set { return c.incoming }

// Closes says whether those who signed are a quorum of the voters and of the incoming ones, which
// is what the entry that closes a joint configuration needs, and an election whose base it is.
func (c *Configuration) Closes(signers Set) bool {
	return c.incoming != 0 && (signers&c.members).Len() >= c.size.Q && c.HasIncomingQuorum(signers)
}

// HasIncomingQuorum says whether a set holds a quorum of the incoming voters.
func (c *Configuration) HasIncomingQuorum(set Set) bool {
	return (set&c.incoming).Len() >= c.next.Q || mutant.On(mutant.M144)
}

// Has says whether id is a voter.
func (c *Configuration) Has(id crypto.NodeID) bool { return c.members.Has(id) }

// Voters returns the voters in ascending order of id. The caller must not change them.
func (c *Configuration) Voters() []Voter { return c.voters }

// Common returns the voters that vote by another configuration as well, with the same key.
func (c *Configuration) Common(other *Configuration) (set Set) {
	for _, v := range c.voters {
		if slices.Contains(other.voters, v) {
			set = set.With(v.ID)
		}
	}
	return set
}

// Keyring returns the keys of the voters and, in a joint configuration, of the incoming ones.
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

// ForReply returns the configuration whose voters may vouch for what was executed at index i, if
// they name its entry: the one that judges the index, or a later one, whose voters have the results
// from those before them (C2). It returns nil for any other entry.
func (cs *Configurations) ForReply(i, entry Index) *Configuration {
	at := cs.Behind(entry)
	if at.entry != entry || entry < cs.For(i).entry {
		return nil
	}
	return at
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

// Accusing returns the oldest configuration by which a proof holds, or why there is none: whoever
// has been found out is replaced, and the proof stands. It is judged once for each key that the
// culprit's id has had; if there was none, what contradicts itself is a crypto.ErrUnknownSigner.
func (cs *Configurations) Accusing(cluster crypto.Digest, e *Evidence) (*Configuration, error) {
	var tried crypto.PublicKey
	var err error
	for _, c := range cs.list {
		key, ok := c.ring.Key(e.Culprit())
		if !ok || key == tried {
			continue
		}
		if tried, err = key, e.Verify(cluster, c); err == nil {
			return c, nil
		}
	}
	if err == nil {
		err = e.Verify(cluster, cs.Latest())
	}
	return nil, err
}

// VerifyAll judges signatures under the configuration's scheme, all or nothing.
func (c *Configuration) VerifyAll(checks []crypto.Check) bool { return c.scheme.VerifyAll(checks) }
