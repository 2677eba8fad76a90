package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// plan is which voters are wanted.
type plan struct {
	Nodes []plannedNode `json:"nodes"`
}

// plannedNode is one of them. The address may be left out of one that is a member.
type plannedNode struct {
	Key     crypto.PublicKey `json:"key"`
	Address string           `json:"address,omitempty"`
}

// readPlan reads a plan and judges it by itself.
func readPlan(path string) (*plan, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p := &plan{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(p); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: there is more behind the plan", path)
	}
	if err := p.validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

func (p *plan) validate() error {
	if n := len(p.Nodes); n == 0 || n > quorumcert.MaxVoters {
		return fmt.Errorf("it has %d nodes, not 1 to %d", n, quorumcert.MaxVoters)
	}
	seen := map[crypto.PublicKey]bool{}
	for i, n := range p.Nodes {
		err := checkNode(n.Key, n.Address, true)
		if err == nil && seen[n.Key] {
			err = errors.New("its key is in the plan already")
		}
		if err != nil {
			return fmt.Errorf("nodes[%d]: %w", i, err)
		}
		seen[n.Key] = true
	}
	return nil
}

// checkNode says why a node cannot be enrolled so, whatever the cluster.
func checkNode(key crypto.PublicKey, address string, mayLack bool) error {
	if _, err := crypto.ZIP215().ExpandMember(key); err != nil {
		return err
	}
	if address == "" && mayLack {
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	if err == nil && (host == "" || port == "") || len(address) > maxAddressBytes {
		err = fmt.Errorf("address %q is not of the form HOST:PORT", address)
	}
	return err
}

// maxAddressBytes is what the name in a step can hold.
const maxAddressBytes = 255

// planOf returns the plan that leaves the voters as they are.
func planOf(m *bftraft.Membership) *plan {
	p := &plan{}
	for _, v := range m.Voters {
		p.Nodes = append(p.Nodes, plannedNode{Key: v.Key})
	}
	return p
}

// without returns the plan less one node.
func (p *plan) without(k crypto.PublicKey) *plan {
	less := &plan{}
	for _, n := range p.Nodes {
		if n.Key != k {
			less.Nodes = append(less.Nodes, n)
		}
	}
	return less
}

// next returns the steps of the change that comes next on the way to what is planned, none if that
// is reached. First all that are to vote follow the log, then they vote, and the others leave, at
// once. Learners that are not in the plan stay. Where says where a member is thought to be, "" for
// nowhere.
func (p *plan) next(
	m *bftraft.Membership, where func(bftraft.Node) string,
) ([]bftraft.ChangeStep, error) {
	var first, then []bftraft.ChangeStep
	for _, n := range p.Nodes {
		member, found := m.Node(n.Key)
		switch {
		case !found && n.Address == "":
			return nil, fmt.Errorf("node %v is no member yet: it needs an address", n.Key)
		case !found:
			first = append(first,
				bftraft.ChangeStep{Kind: bftraft.AddNode, Key: n.Key, Name: n.Address})
		case n.Address != "" && n.Address != where(member):
			first = append(first,
				bftraft.ChangeStep{Kind: bftraft.SetAddress, Key: n.Key, Name: n.Address})
		}
		if !m.Votes(member.ID) {
			then = append(then, bftraft.ChangeStep{Kind: bftraft.Promote, Key: n.Key})
		}
	}
	for _, v := range m.Voters {
		if !p.has(v.Key) {
			then = append(then, bftraft.ChangeStep{Kind: bftraft.RemoveNode, Key: v.Key})
		}
	}
	if len(first) > 0 {
		return first, nil
	}
	return then, nil
}

func (p *plan) has(k crypto.PublicKey) bool {
	for _, n := range p.Nodes {
		if n.Key == k {
			return true
		}
	}
	return false
}
