package bftraft

import (
	"cmp"
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

// Node is a member of the cluster: a voter, one that is to become one, or a learner, who follows
// the log and has no say.
type Node struct {
	ID      NodeID
	Key     crypto.PublicKey
	Address string // where it can be reached, as the change that enrolled it says; "" if it does not
}

// Membership is what the changes up to some entry have made of the genesis: who has a say in what.
// It is immutable; its slices must not be changed.
type Membership struct {
	// Number is that of the newest change, 0 for none, Digest what administrators signed last, and
	// Bytes how large all changes are together. The closing entry of a joint configuration counts.
	Number uint64
	Digest Digest
	Bytes  int
	// At is the end of the block that ends with it; index 0 and the cluster's id for none.
	At Position
	// Nodes are all members, ascending by id, and Voters those that certify and elect.
	Nodes  []Node
	Voters []quorumcert.Voter
	// Incoming are those that take over with the closing entry, where the configuration is joint;
	// otherwise there are none (J2).
	Incoming []quorumcert.Voter
	// Leaving are whom the newest change took away. They are listened to no more, but told, until
	// something is committed beyond it (J4).
	Leaving []Node
	// Former are all that have left and whose ids nobody has, in the order in which they left.
	Former []Node
	// Reissued are the ids that more than one node has had.
	Reissued quorumcert.Set
	// Newest is the id that was given last.
	Newest  NodeID
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
	for _, v := range g.Voters {
		m.Nodes = append(m.Nodes, Node{ID: v.ID, Key: v.Key})
		m.Newest = v.ID
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
	next.Retired, next.Nodes, next.Leaving = slices.Clone(m.Retired), slices.Clone(m.Nodes), nil
	next.Former = slices.Clone(m.Former)
	rollBack := slices.ContainsFunc(ch.Steps, func(s ChangeStep) bool { return s.Kind == RollBack })
	if m.Joint() != rollBack || rollBack && len(ch.Steps) > 1 {
		return nil, ErrChangeJoint
	}
	voters := slices.Clone(m.Voters)
	for i := range ch.Steps {
		s := &ch.Steps[i]
		var err error
		if s.Kind.ofNodes() {
			voters, err = next.takeNode(s, voters)
		} else {
			err = next.take(s)
		}
		if err != nil {
			return nil, fmt.Errorf("step %d: %w: %v", i+1, err, s.Key)
		}
	}
	if len(voters) == 0 {
		return nil, ErrChangeEmpty
	}
	if next.Incoming = nil; !slices.Equal(voters, m.Voters) {
		next.Incoming = voters
		if next.Number+1 > MaxChanges || next.Bytes+MaxChangeBytes > MaxChangesBytes {
			return nil, ErrChangeLimit // there has to be room for what closes it, or rolls it back
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

// takeNode takes one step about members, of which voters are to become the voters.
func (m *Membership) takeNode(
	s *ChangeStep, voters []quorumcert.Voter,
) ([]quorumcert.Voter, error) {
	if s.Kind == RollBack {
		return voters, nil
	}
	n, found := m.Node(s.Key)
	if s.Kind == AddNode {
		id := m.freeID()
		if found || m.retired(s.Key) || id == 0 {
			return nil, ErrChangeKey
		}
		at, _ := m.findNode(id)
		m.Nodes = slices.Insert(m.Nodes, at, Node{ID: id, Key: s.Key, Address: s.Name})
		m.Newest = id
		m.reissue(id)
		return voters, nil
	}
	at, votes := slices.BinarySearchFunc(voters, n.ID, compareVoter)
	place, _ := m.findNode(n.ID)
	wasVoter := slices.ContainsFunc(m.Voters, func(v quorumcert.Voter) bool { return v.ID == n.ID })
	switch {
	case !found:
		return nil, ErrChangeUnknown
	case s.Kind == SetAddress:
		m.Nodes[place].Address = s.Name
	case s.Kind == Promote:
		if votes || wasVoter {
			return nil, ErrChangeKey
		}
		voters = slices.Insert(voters, at, quorumcert.Voter{ID: n.ID, Key: n.Key})
	case votes != wasVoter:
		return nil, ErrChangeUnknown // promoted or removed by a step before
	case votes:
		voters = slices.Delete(voters, at, at+1) // it leaves with the closing entry
	default:
		m.remove(place)
	}
	return voters, nil
}

// reissue notes that an id is somebody else's, if it was anybody's.
func (m *Membership) reissue(id NodeID) {
	i := slices.IndexFunc(m.Former, func(n Node) bool { return n.ID == id })
	if i >= 0 {
		m.Former, m.Reissued = slices.Delete(m.Former, i, i+1), m.Reissued.With(id)
	}
}

// remove takes a member away for ever.
func (m *Membership) remove(place int) {
	m.Leaving, m.Former = append(m.Leaving, m.Nodes[place]), append(m.Former, m.Nodes[place])
	m.retire(m.Nodes[place].Key)
	m.Nodes = slices.Delete(m.Nodes, place, place+1)
}

// freeID returns the id of the next node: those that were given before come round only when there
// are no others, 0 if all are in use.
func (m *Membership) freeID() NodeID {
	id := m.Newest
	for range quorumcert.MaxVoters {
		id = id%quorumcert.MaxVoters + 1
		_, used := m.findNode(id)
		leaves := slices.ContainsFunc(m.Leaving, func(n Node) bool { return n.ID == id })
		if !used && !leaves {
			return id
		}
	}
	return 0
}

// Joint says whether the voters are being changed.
func (m *Membership) Joint() bool { return m.Incoming != nil }

// close returns what the closing entry makes of a joint membership.
func (m *Membership) close() *Membership {
	next := *m
	next.Number++
	next.Voters, next.Incoming, next.Leaving = m.Incoming, nil, nil
	next.Nodes, next.Retired = slices.Clone(m.Nodes), slices.Clone(m.Retired)
	next.Former = slices.Clone(m.Former)
	for _, v := range m.Voters {
		if _, stays := slices.BinarySearchFunc(next.Voters, v.ID, compareVoter); !stays {
			place, _ := next.findNode(v.ID)
			next.remove(place)
		}
	}
	return &next
}

// settled returns the membership once something is committed beyond its change: nobody is leaving
// any more.
func (m *Membership) settled() *Membership {
	next := *m
	next.Leaving = nil
	return &next
}

// Node returns the member with a key.
func (m *Membership) Node(k crypto.PublicKey) (Node, bool) {
	i := slices.IndexFunc(m.Nodes, func(n Node) bool { return n.Key == k })
	if i < 0 {
		return Node{}, false
	}
	return m.Nodes[i], true
}

// keyOf returns the key of a node that is listened to, zero if there is none.
func (m *Membership) keyOf(id NodeID) (k crypto.PublicKey) {
	for _, n := range slices.Concat(m.Nodes, m.Leaving) {
		if n.ID == id {
			k = n.Key
		}
	}
	return k
}

// Votes says whether what a node signs counts for something: it is a voter or to become one.
func (m *Membership) Votes(id NodeID) bool {
	is := func(v quorumcert.Voter) bool { return v.ID == id }
	return slices.ContainsFunc(m.Voters, is) || slices.ContainsFunc(m.Incoming, is)
}

// Left says whether a key was enrolled once and is no node's any more, though it may be leaving.
func (m *Membership) Left(k crypto.PublicKey) bool {
	_, is := m.Node(k)
	_, found := slices.BinarySearchFunc(m.Retired, k, compareKeys)
	return found && !is
}

// leaves says whether the newest change took a key away, and it may still have to be told.
func (m *Membership) leaves(k crypto.PublicKey) bool {
	return slices.ContainsFunc(m.Leaving, func(n Node) bool { return n.Key == k })
}

func (m *Membership) findNode(id NodeID) (int, bool) {
	return slices.BinarySearchFunc(m.Nodes, id,
		func(n Node, id NodeID) int { return cmp.Compare(n.ID, id) })
}

func compareVoter(v quorumcert.Voter, id NodeID) int { return cmp.Compare(v.ID, id) }

func (m *Membership) retired(k crypto.PublicKey) bool {
	_, found := slices.BinarySearchFunc(m.Retired, k, compareKeys)
	return found && !mutant.On(mutant.M142)
}

func (m *Membership) retire(k crypto.PublicKey) {
	if i, found := slices.BinarySearchFunc(m.Retired, k, compareKeys); !found {
		m.Retired = slices.Insert(m.Retired, i, k)
	}
}
