package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tangaroa/bftraft"
	"tangaroa/bftraft/replica"
	"tangaroa/crypto"
	"tangaroa/p2p"
	"tangaroa/quorumcert"
)

// The roles of nodes in Status.
const (
	RoleVoter    = "voter"    // what it signs counts
	RoleLearner  = "learner"  // it follows the log and has no say
	RoleIncoming = "incoming" // it becomes a voter when the change under way is closed
	RoleLeaving  = "leaving"  // the change under way, or the newest one, takes it out
	RoleNone     = "none"     // it is no member
)

// nodesOf returns all whom a member talks to, itself included.
func nodesOf(m *bftraft.Membership) []bftraft.Node { return slices.Concat(m.Nodes, m.Leaving) }

// roleOf returns the role of the holder of a key.
func roleOf(m *bftraft.Membership, key crypto.PublicKey) string {
	is := func(v quorumcert.Voter) bool { return v.Key == key }
	votes, comes := slices.ContainsFunc(m.Voters, is), slices.ContainsFunc(m.Incoming, is)
	leaves := slices.ContainsFunc(m.Leaving, func(n bftraft.Node) bool { return n.Key == key })
	_, follows := m.Node(key)
	switch {
	case leaves, votes && m.Joint() && !comes:
		return RoleLeaving
	case votes:
		return RoleVoter
	case comes:
		return RoleIncoming
	case follows:
		return RoleLearner
	}
	return RoleNone
}

// LeftError is why Run ends, or New refuses, once this node has been taken out of the cluster. It
// wraps replica.ErrLeft.
type LeftError struct {
	Change uint64        // number of the change that took it out, 0 if it is not known any more
	Entry  bftraft.Index // which ends with this entry
}

// Error says what happened and what to do.
func (e *LeftError) Error() string {
	by := ""
	if e.Change > 0 {
		by = fmt.Sprintf(" by change %d at entry %d", e.Change, e.Entry)
	}
	return "this node was taken out of the cluster" + by +
		": its key is of no more use and should be erased"
}

// Unwrap returns replica.ErrLeft.
func (e *LeftError) Unwrap() error { return replica.ErrLeft }

// departure looks for the one of a list of changes, all since the genesis, that took a key out.
func departure(
	genesis *bftraft.Verifier, changes []*bftraft.ChangeProof, key crypto.PublicKey,
) *LeftError {
	for gate := genesis; len(changes) > 0; changes = changes[1:] {
		next, err := gate.After(changes[0])
		if err != nil {
			break
		}
		_, was := gate.Members().Node(key)
		gate = next
		if _, is := gate.Members().Node(key); was && !is {
			return &LeftError{gate.Members().Number, gate.Members().At.Index}
		}
	}
	return &LeftError{}
}

// informedStorage keeps the changes that a node is told of at its start beside those that it has
// seen committed. So all that the core goes by is in one place, whether its log has got there.
type informedStorage struct {
	replica.Storage
	told  []*bftraft.ChangeProof
	known []*bftraft.ChangeProof // what Load returned
}

// Load returns what a Core goes on from.
func (s *informedStorage) Load() (bftraft.Restored, error) {
	r, err := s.Storage.Load()
	if err != nil {
		return r, err
	}
	var newest bftraft.Index
	if n := len(r.Changes); n > 0 {
		newest = r.Changes[n-1].Header.Last
	}
	news := slices.DeleteFunc(slices.Clone(s.told), func(p *bftraft.ChangeProof) bool {
		return p.Header.Last <= newest
	})
	if len(news) > 0 {
		if err := s.Storage.Save(&bftraft.Ready{Changes: news, MustSync: true}); err != nil {
			return r, fmt.Errorf("save changes: %w", err)
		}
		r.Changes = slices.Concat(r.Changes, news)
	}
	s.known = r.Changes
	return r, nil
}

// follow lets a change of who may do what, and of who is a member, count for what comes in from now
// on.
func (n *Node) follow() {
	gate, old := n.replica.Verifier(), n.in.gate.Load()
	if gate == old {
		return
	}
	left := n.dismissed.note(old.Members(), gate.Members()) // before anybody closes its connections
	n.in.follow(gate)
	n.tellDismissed(left)
	n.dismiss(old.Members(), gate.Members())
	signal(n.relink)
	m := gate.Members()
	if m.Number == old.Members().Number {
		return // nobody is leaving any more
	}
	n.warnOverridden(old.Members(), m)
	n.log.Info("change in force", "number", m.Number, "index", m.At.Index, "joint", m.Joint(),
		"nodes", len(m.Nodes), "voters", len(m.Voters), "clients", len(m.Clients),
		"admins", len(m.Admins))
	key := n.cfg.Key.Public()
	if role, before := roleOf(m, key), roleOf(old.Members(), key); role != before {
		n.log.Info("this node has another role", "role", role, "before", before,
			"number", m.Number, "index", m.At.Index)
	}
}

const (
	// farewell is how long links outlive the membership of who is at their other end, or last with
	// who is none any more: the last thing that a node is told, that it is not needed any more, is
	// on its way then. Nothing that it says is listened to meanwhile.
	farewell = time.Second
	// absence is how long a node that has left is refused then. One that was down when it was let
	// go comes back, and is told.
	absence = 10 * time.Second
)

// guest is a node that has left, and what passed between it and this one since.
type guest struct {
	at      time.Time // when it was let go, or was greeted
	linked  bool      // it was let go just then, and its link must stay as it is
	greeted bool      // it came back and was told
}

// stays and returns say until when a guest may be linked, and from when on again.
func (g guest) stays() time.Time   { return g.at.Add(farewell) }
func (g guest) returns() time.Time { return g.at.Add(farewell + absence) }

// dismiss lets the links to members that have left end soon.
func (n *Node) dismiss(old, next *bftraft.Membership) {
	n.whereMu.Lock()
	defer n.whereMu.Unlock()
	for _, node := range nodesOf(old) {
		is := func(other bftraft.Node) bool { return other.Key == node.Key }
		if !slices.ContainsFunc(nodesOf(next), is) {
			n.guests[node.Key] = guest{at: time.Now(), linked: true}
		}
	}
	for key := range n.guests {
		is := func(other bftraft.Node) bool { return other.Key == key }
		if !slices.ContainsFunc(next.Former, is) {
			delete(n.guests, key) // another has its id
		}
	}
}

// guestPeers returns the nodes that have left and may be linked with this one now, and when that is
// to be asked again, zero for not before something happens. whereMu is held.
func (n *Node) guestPeers(m *bftraft.Membership) (peers []p2p.Peer, again time.Time) {
	now := time.Now()
	for _, node := range m.Former {
		if slices.ContainsFunc(m.Leaving, func(l bftraft.Node) bool { return l.Key == node.Key }) {
			continue // it is a peer still
		}
		g, next := n.guests[node.Key], time.Time{}
		switch {
		case now.Before(g.stays()):
			next = g.stays()
		case now.Before(g.returns()):
			next = g.returns()
		}
		if next.IsZero() || next.Equal(g.stays()) {
			p := p2p.Peer{ID: node.ID, Key: node.Key}
			if g.linked && !next.IsZero() {
				p.Addrs = n.where(node)
			}
			peers = append(peers, p)
		}
		if !next.IsZero() && (again.IsZero() || next.Before(again)) {
			again = next
		}
	}
	return peers, again
}

// greet has a member that comes back reminded of what it signed, and a node that is none any more
// told so, once; that link ends soon.
func (n *Node) greet(id crypto.NodeID) {
	m := n.replica.Verifier().Members()
	is := func(f bftraft.Node) bool { return f.ID == id }
	i := slices.IndexFunc(m.Former, is)
	if i < 0 || slices.ContainsFunc(m.Leaving, is) {
		n.replica.Greet(id)
		return
	}
	n.whereMu.Lock()
	defer n.whereMu.Unlock()
	now, g := time.Now(), n.guests[m.Former[i].Key]
	if g.greeted && now.Before(g.returns()) {
		return
	}
	n.replica.Farewell(id)
	linked := g.linked && now.Before(g.stays())
	n.guests[m.Former[i].Key] = guest{at: now, linked: linked, greeted: true}
	signal(n.relink)
}

// keepLinks has the network link this node with the members, whenever they have changed. It has a
// goroutine of its own, since the end of a link may wait for who is at its other end.
func (n *Node) keepLinks(ctx context.Context) {
	var later <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.relink:
		case <-later:
		}
		again, err := n.link()
		if err != nil && ctx.Err() == nil {
			n.log.Warn("links to the other nodes could not be changed", "err", err)
		}
		if due := n.dismissed.review(); again.IsZero() || !due.IsZero() && due.Before(again) {
			again = due
		}
		later = nil
		if !again.IsZero() {
			later = time.After(time.Until(again))
		}
		n.network.Review()
	}
}

// link has the network link this node with those whom it should be linked with now, and says when
// these are others.
func (n *Node) link() (again time.Time, err error) {
	n.linking.Lock()
	defer n.linking.Unlock()
	peers, again := n.peers()
	return again, n.network.SetPeers(peers)
}

// peers returns all whom this node should be linked with, and where they are. Who has left has to
// dial.
func (n *Node) peers() (peers []p2p.Peer, again time.Time) {
	n.whereMu.Lock()
	defer n.whereMu.Unlock()
	m := n.in.gate.Load().Members()
	peers, again = n.guestPeers(m)
	for _, node := range nodesOf(m) {
		if node.ID == n.cfg.ID || node.Key == n.cfg.Key.Public() {
			continue
		}
		peers = append(peers, p2p.Peer{ID: node.ID, Key: node.Key, Addrs: n.where(node)})
	}
	slices.SortFunc(peers, func(a, b p2p.Peer) int { return cmp.Compare(a.ID, b.ID) })
	return slices.DeleteFunc(peers, func(p p2p.Peer) bool { return p.ID == n.cfg.ID }), again
}

// where returns where a node is: where the settings say, or else the newest change that does, or
// else where this node was told. What a change says and is no address is as if it said nothing. Who
// is nowhere has to dial.
func (n *Node) where(node bftraft.Node) []string {
	if address := n.cfg.Addresses[node.ID]; address != "" {
		return []string{address}
	}
	if node.Address != "" && n.cfg.Network.CheckAddress(node.Address) == nil {
		return []string{node.Address}
	}
	return n.addresses[node.Key]
}

// warnOverridden says where the settings keep a change from having effect.
func (n *Node) warnOverridden(old, next *bftraft.Membership) {
	for _, node := range next.Nodes {
		before, _ := old.Node(node.Key)
		own := n.cfg.Addresses[node.ID]
		if node.ID == n.cfg.ID || own == "" || node.Address == "" || node.Address == own ||
			node.Address == before.Address {
			continue
		}
		n.log.Warn("a change says where a node is, and the settings of this node say otherwise",
			"peer", node.ID, "address", own, "change", node.Address)
	}
}

// fits says why the network could not use these peers.
func (n *Node) fits(peers ...p2p.Peer) error {
	network := n.cfg.Network
	network.Peers = peers
	return network.Validate()
}

// SetPeers replaces what this node was told about where the others are, once it has started. Who is
// linked with it, the changes of the members decide; where they are, those that say so.
func (n *Node) SetPeers(peers []p2p.Peer) error {
	select {
	case <-n.started:
	default:
		return errors.New("node: has not started")
	}
	if err := n.fits(peers...); err != nil {
		return err
	}
	n.whereMu.Lock()
	n.addresses = addressesOf(peers)
	n.whereMu.Unlock()
	_, err := n.link()
	return err
}

func addressesOf(peers []p2p.Peer) map[crypto.PublicKey][]string {
	addresses := make(map[crypto.PublicKey][]string)
	for _, p := range peers {
		addresses[p.Key] = p.Addrs
	}
	return addresses
}
