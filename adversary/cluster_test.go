package adversary

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/replica"
	"tangaroa/bftraft/store"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// chainOf is a state machine whose digest depends on every operation and their order.
type chainOf struct{ digest crypto.Digest }

func (c *chainOf) Apply(_ uint64, op []byte) []byte {
	c.digest = crypto.Hash(crypto.DomainState, c.digest[:], op)
	return c.digest[:4]
}
func (c *chainOf) Query([]byte) []byte      { return c.digest[:] }
func (c *chainOf) Digest() crypto.Digest    { return c.digest }
func (c *chainOf) Snapshot(io.Writer) error { return nil }
func (c *chainOf) Restore(io.Reader) error  { return nil }

// cluster is a few members with a network that loses nothing and takes one tick.
type cluster struct {
	t        *testing.T
	verifier *bftraft.Verifier
	client   crypto.PrivateKey
	members  []*member // by position; member k has identity k+1
	wire     []packet
	requests uint64
	spy      func(packet) // sees all that is delivered
}

type packet struct {
	from, to crypto.NodeID
	frame    []byte
}

// member is a replica and the drops it met, by sender.
type member struct {
	*replica.Replica
	cluster *cluster
	id      crypto.NodeID
	disk    *store.Memory
	replies int
	drops   map[crypto.NodeID]map[bftraft.Drop]int
}

func (m *member) Send(to bftraft.NodeID, _ bftraft.Class, frame []byte) {
	m.cluster.wire = append(m.cluster.wire, packet{m.id, to, frame})
}

func (m *member) Reply(replica.ClientID, []byte) { m.replies++ }

func seeded(n byte) crypto.PrivateKey { return crypto.KeyFromSeed([32]byte{n}) }

// newCluster makes n members of which those in liars lie.
func newCluster(t *testing.T, n int, liars map[crypto.NodeID]string) *cluster {
	c := &cluster{t: t, client: seeded(200)}
	g := &bftraft.Genesis{
		Name: "test", Nonce: crypto.Digest{1}, Testnet: true,
		Clients: []bftraft.Enrolled{{Name: "client", Key: c.client.Public()}},
	}
	for id := 1; id <= n; id++ {
		g.Voters = append(g.Voters, quorumcert.Voter{
			ID: crypto.NodeID(id), Key: seeded(byte(id)).Public(),
		})
	}
	var err error
	c.verifier, err = bftraft.NewVerifier(crypto.ZIP215(), g)
	require.NoError(t, err)
	for id := 1; id <= n; id++ {
		c.members = append(c.members, c.join(crypto.NodeID(id), liars[crypto.NodeID(id)]))
	}
	return c
}

// config returns what a member's core is made with.
func (c *cluster) config(id crypto.NodeID) bftraft.Config {
	core := bftraft.DefaultConfig()
	core.Cluster, core.Verifier = c.verifier.Cluster(), c.verifier
	core.Signer, core.Seed = crypto.NewSigner(id, seeded(byte(id))), uint64(id)
	return core
}

func (c *cluster) join(id crypto.NodeID, attack string) *member {
	m := &member{cluster: c, id: id, drops: map[crypto.NodeID]map[bftraft.Drop]int{}}
	core := c.config(id)
	m.disk = store.NewMemory(store.Identity{
		Cluster: core.Cluster, Node: id, Key: core.Signer.Public(),
	})
	cfg := replica.Config{Core: core, Machine: &chainOf{}, Transport: m, Storage: m.disk}
	if attack != "" {
		spec, err := Parse(attack)
		require.NoError(c.t, err)
		liar, err := New([]Spec{spec}, Options{Core: core, Seed: uint64(id)})
		require.NoError(c.t, err)
		cfg.Wrap, cfg.Transport = liar.Core, liar.Transport(m)
		cfg.Machine = liar.Machine(cfg.Machine)
	}
	var err error
	m.Replica, err = replica.New(cfg)
	require.NoError(c.t, err)
	return m
}

func (c *cluster) member(id crypto.NodeID) *member { return c.members[id-1] }

// honest returns all but the given.
func (c *cluster) honest(liar crypto.NodeID) []*member {
	var out []*member
	for _, m := range c.members {
		if m.id != liar {
			out = append(out, m)
		}
	}
	return out
}

// request gives a new request to every member, as a client does whose answer is late.
func (c *cluster) request() {
	c.requests++
	r := bftraft.SignRequest(c.verifier.Cluster(), c.client, 1, c.requests,
		[][]byte{{byte(c.requests)}})
	for _, m := range c.members {
		m.Request(replica.ClientID{Key: c.client.Public(), Conn: 1}, 0, r)
	}
}

// tick delivers what is on the wire and lets one tick pass.
func (c *cluster) tick() {
	delivered := c.wire
	c.wire = nil
	for _, p := range delivered {
		if c.spy != nil {
			c.spy(p)
		}
		if p.frame[0] == bftraft.FrameRequest || p.frame[0] == bftraft.FrameReply {
			continue
		}
		v, drop := c.verifier.Verify(p.from, p.frame)
		require.Equal(c.t, bftraft.Accepted, drop, "nobody here sends what does not verify")
		m := c.member(p.to)
		if m.drops[p.from] == nil {
			m.drops[p.from] = map[bftraft.Drop]int{}
		}
		m.drops[p.from][m.Step(v)]++
	}
	for _, m := range c.members {
		m.Tick()
		require.NoError(c.t, m.Flush())
	}
}

// until lets time pass until the condition holds.
func (c *cluster) until(what string, holds func() bool) {
	c.t.Helper()
	for range 20000 {
		if holds() {
			return
		}
		c.tick()
	}
	c.t.Fatalf("never: %s", what)
}

// agree requires that all the given have executed everything, in one order.
func (c *cluster) agree(members []*member) {
	c.t.Helper()
	c.until("all execute everything", func() bool {
		for _, m := range members {
			if m.Stats().Requests < c.requests {
				return false
			}
		}
		return true
	})
	for _, m := range members {
		require.Equal(c.t, c.requests, m.Stats().Requests)
		require.Equal(c.t, members[0].Machine().Digest(), m.Machine().Digest(), "node %d", m.id)
		require.Equal(c.t, members[0].SessionsDigest(), m.SessionsDigest(), "node %d", m.id)
	}
}
