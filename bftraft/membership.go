package bftraft

import (
	"fmt"
	"slices"

	"tangaroa/crypto"
	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

// Client is an enrolled client.
type Client struct {
	Enrolled
	Role Role
}

// Membership is what the changes up to some entry have made of the genesis: who has a say in what.
// It is immutable; its slices must not be changed.
type Membership struct {
	// Number is that of the newest change, 0 for none, Digest what its administrators signed, and
	// Bytes how large all changes are together.
	Number uint64
	Digest Digest
	Bytes  int
	// At is the end of the block that ends with it; index 0 and the cluster's id for none.
	At      Position
	Voters  []quorumcert.Voter
	Clients []Client   // ascending by key
	Admins  []Enrolled // ascending by key
	// Quorum is how many administrators together have authority; 0: nobody has.
	Quorum int
	// Retired are the keys that were enrolled once, ascending. They are never enrolled again (J6).
	Retired []crypto.PublicKey
}

// membership returns what the cluster is born with.
func (g *Genesis) membership() *Membership {
	m := &Membership{At: Position{Hash: g.Hash()}, Voters: g.Voters, Quorum: g.AdminQuorum}
	for _, e := range g.Clients {
		m.Clients = append(m.Clients, Client{e, RoleAdmin})
	}
	m.Admins = append(m.Admins, g.Admins...)
	slices.SortFunc(m.Clients, func(a, b Client) int { return compareKeys(a.Key, b.Key) })
	slices.SortFunc(m.Admins, func(a, b Enrolled) int { return compareKeys(a.Key, b.Key) })
	return m
}

// Client returns the client with a key.
func (m *Membership) Client(k crypto.PublicKey) (Client, bool) {
	i, found := m.findClient(k)
	if !found {
		return Client{}, false
	}
	return m.Clients[i], true
}

func (m *Membership) findClient(k crypto.PublicKey) (int, bool) {
	return slices.BinarySearchFunc(m.Clients, k,
		func(c Client, k crypto.PublicKey) int { return compareKeys(c.Key, k) })
}

func (m *Membership) findAdmin(k crypto.PublicKey) (int, bool) {
	return slices.BinarySearchFunc(m.Admins, k,
		func(e Enrolled, k crypto.PublicKey) int { return compareKeys(e.Key, k) })
}

// After returns what the change makes of the membership, or why it makes nothing of it. It judges
// neither signatures nor keys: see Verifier.After.
func (m *Membership) After(ch *Change) (*Membership, error) {
	if !m.follows(ch) {
		return nil, ErrChangeStale
	}
	next := *m
	next.Number, next.Bytes = ch.Number, m.Bytes+len(ch.Op())
	if next.Number > MaxChanges || next.Bytes > MaxChangesBytes {
		return nil, ErrChangeLimit
	}
	next.Clients, next.Admins = slices.Clone(m.Clients), slices.Clone(m.Admins)
	next.Retired = slices.Clone(m.Retired)
	for i := range ch.Steps {
		if err := next.take(&ch.Steps[i]); err != nil {
			return nil, fmt.Errorf("step %d: %w", i+1, err)
		}
	}
	if next.Quorum < 1 || next.Quorum > len(next.Admins) || len(next.Admins) > maxGenesisNames ||
		len(next.Clients) > maxGenesisNames {
		return nil, ErrChangeEmpty
	}
	return &next, nil
}

// follows says whether a change was made for what this is.
func (m *Membership) follows(ch *Change) bool {
	return ch.Number == m.Number+1 && ch.Replaces == m.At || mutant.On(mutant.M141)
}

// take takes one step, in a membership that nobody else has seen.
func (m *Membership) take(s *ChangeStep) error {
	client, isClient := m.findClient(s.Key)
	admin, isAdmin := m.findAdmin(s.Key)
	switch s.Kind {
	case AddClient:
		named := slices.ContainsFunc(m.Clients, func(c Client) bool { return c.Name == s.Name })
		if isClient || named || m.retired(s.Key) {
			return ErrChangeKey
		}
		m.Clients = slices.Insert(m.Clients, client, Client{Enrolled{s.Name, s.Key}, s.Role})
	case AddAdmin:
		named := slices.ContainsFunc(m.Admins, func(e Enrolled) bool { return e.Name == s.Name })
		if isAdmin || named || m.retired(s.Key) {
			return ErrChangeKey
		}
		m.Admins = slices.Insert(m.Admins, admin, Enrolled{s.Name, s.Key})
	case SetRole:
		if !isClient {
			return ErrChangeUnknown
		}
		m.Clients[client].Role = s.Role
	case RemoveClient:
		if !isClient {
			return ErrChangeUnknown
		}
		m.Clients = slices.Delete(m.Clients, client, client+1)
		m.retire(s.Key)
	case RemoveAdmin:
		if !isAdmin {
			return ErrChangeUnknown
		}
		m.Admins = slices.Delete(m.Admins, admin, admin+1)
		m.retire(s.Key)
	case SetQuorum:
		m.Quorum = int(s.Quorum)
	default:
		return ErrChangeMalformed
	}
	return nil
}

func (m *Membership) retired(k crypto.PublicKey) bool {
	_, found := slices.BinarySearchFunc(m.Retired, k, compareKeys)
	return found && !mutant.On(mutant.M142)
}

func (m *Membership) retire(k crypto.PublicKey) {
	if i, found := slices.BinarySearchFunc(m.Retired, k, compareKeys); !found {
		m.Retired = slices.Insert(m.Retired, i, k)
	}
}
