package gate

import (
	"errors"
	"fmt"

	"tangaroa/bftraft"
	"tangaroa/bftraft/kv"
	"tangaroa/bftraft/replica"
	"tangaroa/bftraft/store"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// World is members, their network, and clients.
type World struct {
	Counts  Counts
	genesis *bftraft.Genesis
	members []*member // by position; member k has identity k+1
	clients []crypto.PrivateKey
	wire    []packet
	answers []packet // to clients
	failed  error
}

// packet is a frame under way; from or to is 0 for a client.
type packet struct {
	from, to crypto.NodeID
	client   replica.ClientID
	frame    []byte
}

// member is a replica and its verifier.
type member struct {
	*replica.Replica
	world    *World
	id       crypto.NodeID
	verifier *bftraft.Verifier
	dead     bool
}

// Send implements replica.Transport.
func (m *member) Send(to bftraft.NodeID, _ bftraft.Class, frame []byte) {
	m.world.count(frame)
	m.world.wire = append(m.world.wire, packet{from: m.id, to: to, frame: frame})
}

// Reply implements replica.Transport.
func (m *member) Reply(to replica.ClientID, frame []byte) {
	m.world.count(frame)
	m.world.answers = append(m.world.answers, packet{from: m.id, client: to, frame: frame})
}

func (w *World) count(frame []byte) {
	w.Counts.Messages++
	w.Counts.Bytes += uint64(len(frame))
}

func seeded(n byte) crypto.PrivateKey { return crypto.KeyFromSeed([32]byte{n}) }

// NewWorld makes so many members and clients, and lets time pass until there is a leader.
func NewWorld(nodes, clients int) (*World, error) {
	w := &World{genesis: &bftraft.Genesis{Name: "gate", Nonce: crypto.Digest{1}}}
	for i := range clients {
		key := seeded(byte(100 + i))
		w.clients = append(w.clients, key)
		w.genesis.Clients = append(w.genesis.Clients,
			bftraft.Enrolled{Name: fmt.Sprint("client", i), Key: key.Public()})
	}
	for id := 1; id <= nodes; id++ {
		w.genesis.Voters = append(w.genesis.Voters,
			quorumcert.Voter{ID: crypto.NodeID(id), Key: seeded(byte(id)).Public()})
	}
	for id := 1; id <= nodes; id++ {
		m, err := w.join(crypto.NodeID(id))
		if err != nil {
			return nil, err
		}
		w.members = append(w.members, m)
	}
	return w, w.until("a leader", func() bool { return w.leader() != nil })
}

// rememberedRequests is as many as a node remembers.
const rememberedRequests = 16 << 10

// join makes a member with a verifier of its own, because what one remembers is its own too.
func (w *World) join(id crypto.NodeID) (*member, error) {
	m := &member{world: w, id: id}
	gate, err := bftraft.NewVerifier(scheme{crypto.ZIP215(), &w.Counts}, w.genesis)
	if err != nil {
		return nil, err
	}
	m.verifier = gate.Remembering(bftraft.NewRecent(rememberedRequests))
	core := bftraft.DefaultConfig()
	core.Cluster, core.Verifier = m.verifier.Cluster(), m.verifier
	core.Signer, core.Seed = signer{crypto.NewSigner(id, seeded(byte(id))), &w.Counts}, uint64(id)
	disk := store.NewMemory(store.Identity{
		Cluster: core.Cluster, Node: id, Key: core.Signer.Public(),
	})
	m.Replica, err = replica.New(replica.Config{
		Core: core, Machine: kv.New(), Transport: m, Storage: storage{disk, &w.Counts},
		CheckOp: kv.CheckOp,
	})
	return m, err
}

// leader returns whom a quorum follows and who knows that it leads; nil if there is none.
func (w *World) leader() *member {
	for _, m := range w.members {
		if m.dead || !m.Core().Leading {
			continue
		}
		followers := 0
		for _, other := range w.members {
			if s := other.Core(); !other.dead && s.Leader == m.id && s.Term == m.Core().Term {
				followers++
			}
		}
		if followers >= quorumcert.ForNodes(len(w.members)).Q {
			return m
		}
	}
	return nil
}

// step delivers what is on the wire, then lets every member do what follows from it.
func (w *World) step() {
	delivered := w.wire
	w.wire = nil
	touched := make([]bool, len(w.members))
	for i := range delivered {
		p := &delivered[i]
		if m := w.members[p.to-1]; !m.dead {
			touched[p.to-1] = true
			w.fail(m.take(p))
		}
	}
	for i, m := range w.members {
		if touched[i] {
			w.fail(m.Flush())
		}
	}
}

// take judges a frame and hands it to the replica, as a node does.
func (m *member) take(p *packet) error {
	switch p.frame[0] {
	case bftraft.FrameRequest:
		r, err := m.verifier.VerifyRequest(p.frame[1:])
		if err != nil {
			return err
		}
		m.Request(p.client, p.from, r)
	case bftraft.FrameReply:
		r, drop := m.verifier.VerifyReply(p.from, p.frame)
		if drop != bftraft.Accepted {
			return fmt.Errorf("a reply does not verify: %v", drop)
		}
		m.StepReply(p.from, r)
	case bftraft.FrameRead:
		r, err := bftraft.DecodeReadRequest(p.frame)
		if err != nil {
			return err
		}
		m.Read(p.client, r)
	default:
		v, drop := m.verifier.Verify(p.from, p.frame)
		if drop != bftraft.Accepted {
			return fmt.Errorf("a message does not verify: %v", drop)
		}
		m.Step(v)
	}
	return nil
}

func (w *World) fail(err error) {
	if w.failed == nil {
		w.failed = err
	}
}

// tick lets one tick pass for all.
func (w *World) tick() {
	for _, m := range w.members {
		if !m.dead {
			m.Tick()
			w.fail(m.Flush())
		}
	}
}

// manyTicks is more than anything here takes.
const manyTicks = 20000

// until delivers, and ticks when nothing is under way, until the condition holds.
func (w *World) until(what string, holds func() bool) error {
	for range manyTicks {
		for len(w.wire) > 0 && w.failed == nil {
			w.step()
			if holds() {
				return w.failed
			}
		}
		switch {
		case w.failed != nil:
			return w.failed
		case holds():
			return nil
		}
		w.tick()
	}
	return fmt.Errorf("never: %s", what)
}

// settle delivers until nothing is under way, without a tick.
func (w *World) settle() error {
	for len(w.wire) > 0 && w.failed == nil {
		w.step()
	}
	return w.failed
}

var errWrongState = errors.New("gate: members do not hold the same")

// agree makes sure that what was counted was the work of a sound cluster.
func (w *World) agree() error {
	var first *member
	for _, m := range w.members {
		switch {
		case m.dead:
		case first == nil:
			first = m
		case m.Machine().Digest() != first.Machine().Digest():
			return errWrongState
		}
	}
	return nil
}
