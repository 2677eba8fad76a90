// Package rogue makes clients that lie, to show that a cluster serves the others all the same. A
// rogue is enrolled like any client and signs with its own key only. Each attack has a file that
// opens with its three sentences: what it does, what a naive protocol would lose, and what becomes
// of it.
//
// # Contract
//
// Deterministic: what it sends is a function of its seed. It may run only in a cluster whose
// genesis says that it is a testnet; that is for the caller to check.
//
// # Threads
//
// A Rogue belongs to one goroutine.
package rogue

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/internal/chance"
)

// ErrUnknown is returned when there is no attack of a name.
var ErrUnknown = errors.New("there is no such dishonest client")

// Attack describes an attack on the cluster by one of its clients.
type Attack struct {
	Name string `json:"name"`
	// Does says in half a sentence what it does.
	Does string `json:"does"`
	// Caught says in half a sentence what becomes of it.
	Caught string `json:"caught"`

	tick func(r *Rogue, leader bftraft.NodeID)
}

// attacks is the registry, in alphabetical order.
var attacks = []Attack{
	equivocator, flood, followers, hoard, jumper, reader, replay,
	thief,
}

// All lists the attacks of clients in alphabetical order.
func All() []Attack { return slices.Clone(attacks) }

// Names lists their names.
func Names() []string {
	names := make([]string, len(attacks))
	for i := range attacks {
		names[i] = attacks[i].Name
	}
	return names
}

// Options are what a dishonest client needs.
type Options struct {
	// Key is its own, which is enrolled like any other.
	Key bftraft.RequestSigner
	// Cluster is the cluster's id and Voters are its nodes.
	Cluster bftraft.Digest
	Voters  bftraft.Set
	// Seed decides what is left to chance.
	Seed uint64
	// Session is the number of its first session; later ones count up from there.
	Session uint64
	// Op makes an operation that the state machine takes; Query a query. Other numbers make
	// others.
	Op    func(k uint64) []byte
	Query func(k uint64) []byte
	// Rate is how many requests a flood has in each tick; zero stands for 20.
	Rate int
}

// Rogue is a dishonest client. It belongs to one goroutine.
type Rogue struct {
	Options
	attack   *Attack
	random   *chance.Stream
	sequence uint64
	ops      uint64
	ticks    uint64
	old      [][]byte
	out      []Frame
}

// Frame is a frame on its way to a node.
type Frame struct {
	To    bftraft.NodeID
	Frame []byte
}

// New returns a client that attacks as the name says.
func New(name string, o Options) (*Rogue, error) {
	if o.Rate == 0 {
		o.Rate = 20
	}
	o.Session = max(o.Session, 1)
	for i := range attacks {
		if attacks[i].Name == name {
			return &Rogue{Options: o, attack: &attacks[i], random: chance.NewStream(o.Seed)}, nil
		}
	}
	return nil, fmt.Errorf("%w as %q, only %s", ErrUnknown, name,
		strings.Join(Names(), ", "))
}

// Tick returns what it sends now; leader is the node that leads as far as it knows, or 0.
func (r *Rogue) Tick(leader bftraft.NodeID) []Frame {
	r.out = nil
	r.ticks++
	r.attack.tick(r, leader)
	return r.out
}

// sign returns the frame of a request of its own with a new operation.
func (r *Rogue) sign(session, sequence uint64) []byte {
	r.ops++
	request := bftraft.SignRequest(r.Cluster, r.Key, session, sequence, [][]byte{r.Op(r.ops)})
	return bftraft.RequestFrame(request.Raw())
}

// tell sends a frame to some nodes.
func (r *Rogue) tell(to bftraft.Set, frame []byte) {
	for id := to.Next(0); id != 0; id = to.Next(id) {
		r.out = append(r.out, Frame{id, frame})
	}
}

// nonce returns one that was not used before.
func (r *Rogue) nonce() crypto.Digest {
	var d crypto.Digest
	copy(d[:], r.random.Bytes(len(d)))
	return d
}
