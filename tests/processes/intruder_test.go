//go:build linux

package processes

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/kv"
	"tangaroa/crypto"
	"tangaroa/p2p"
	"tangaroa/quorumcert"
)

// intruder is an end of the network in our hands: it has a key, and sends what it likes.
type intruder struct {
	*p2p.Host

	mu    sync.Mutex
	heard map[crypto.NodeID][][]byte // the first frames from each node
}

func (i *intruder) FromNode(id crypto.NodeID, _ p2p.Class, frame []byte) {
	const kept = 20
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.heard[id]) < kept {
		i.heard[id] = append(i.heard[id], frame)
	}
}

func (*intruder) FromClient(crypto.PublicKey, p2p.ConnID, []byte) {}
func (*intruder) NodeUp(crypto.NodeID)                            {}
func (*intruder) NodeDown(crypto.NodeID)                          {}

// hearing returns a frame that came from a node, nil if there is none yet.
func (i *intruder) hearing(id crypto.NodeID) []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.heard[id]) == 0 {
		return nil
	}
	return i.heard[id][0]
}

// intrude starts an end with a key; as a node, or, with zero, as something that dials nodes. It
// keeps none of the limits that others do.
func (c *cluster) intrude(key crypto.PrivateKey, self crypto.NodeID) *intruder {
	c.t.Helper()
	i := &intruder{heard: map[crypto.NodeID][][]byte{}}
	cfg := p2p.DefaultConfig()
	cfg.Key, cfg.Self, cfg.Peers = key, self, c.file.peers(c.t, self)
	for _, n := range c.file.Nodes {
		if n.ID == self {
			cfg.Listen = []string{n.Address}
		}
	}
	cfg.MaxFrameBytes, cfg.MaxClientFrameBytes = 2*bftraft.MaxFrameBytes, 2*bftraft.MaxFrameBytes
	var err error
	i.Host, err = p2p.New(cfg, i)
	require.NoError(c.t, err)
	require.NoError(c.t, i.Start(context.Background()))
	c.t.Cleanup(func() { require.NoError(c.t, i.Close()) })
	return i
}

// sendUntil sends a frame to a node until one of the node's counters has risen.
func (c *cluster) sendUntil(i *intruder, to crypto.NodeID, class p2p.Class, frame []byte,
	series string) {
	c.t.Helper()
	before, _ := c.metric(to, series)
	await(c.t, fmt.Sprintf("node %d to count %s", to, series), func() bool {
		i.Send(to, class, frame)
		now, ok := c.metric(to, series)
		return ok && now > before
	})
}

// badFrame is a frame that a member may send, and why it is dropped.
type badFrame struct {
	name, reason string
	frame        []byte
}

func garbage(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// badFrames returns what a member with this key could try.
func badFrames(cluster crypto.Digest, key crypto.PrivateKey, id crypto.NodeID) []badFrame {
	suspect := func(cluster crypto.Digest, term bftraft.Term, key crypto.PrivateKey) []byte {
		st := quorumcert.Suspicion{Cluster: cluster, Term: term}
		return bftraft.Encode(&bftraft.Suspect{
			Term: term, Signer: id, Sig: quorumcert.Sign(crypto.NewSigner(id, key), st),
		})
	}
	ack := func(a quorumcert.Ack) []byte {
		a.Cluster = cluster
		return bftraft.Encode(&bftraft.AppendEntriesResponse{Ack: quorumcert.SignedAck{
			Ack: a, Signer: id, Sig: quorumcert.Sign(crypto.NewSigner(id, key), a),
		}})
	}
	good := suspect(cluster, 1, key)
	return []badFrame{
		{"noise", "malformed", append([]byte{0xee}, garbage(1000)...)},
		{"noise that begins well", "malformed", append(slices.Clone(good[:1]), garbage(5000)...)},
		{"truncated", "malformed", good[:len(good)-1]},
		{"with more behind", "malformed", append(slices.Clone(good), 0)},
		{"signed again by another", "bad_signature", suspect(cluster, 1, crypto.GenerateKey())},
		{"of another cluster", "bad_signature", suspect(crypto.Digest{1}, 1, key)},
		{"of the past", "stale", suspect(cluster, 0, key)},
		{"of the future", "future_term", suspect(cluster, 1<<40, key)},
		{"that claims too much", "void_ack",
			ack(quorumcert.Ack{Term: 1, Index: 1, Hash: crypto.Digest{1}, Certified: 2})},
		{"request of nobody", "unknown_sender",
			bftraft.RequestFrame(request(cluster, crypto.GenerateKey(), 1, "k"))},
		{"request that is noise", "malformed", bftraft.RequestFrame(garbage(300))},
	}
}

// request returns the signed request to put a key, in the first session.
func request(cluster crypto.Digest, key crypto.PrivateKey, sequence uint64, k string) []byte {
	op, err := kv.EncodeOp(kv.Put{Key: []byte(k), Value: []byte("intruder")})
	if err != nil {
		panic(err)
	}
	return bftraft.SignRequest(cluster, key, 1, sequence, [][]byte{op}).Raw()
}

func TestBadFramesOfAMemberAreDropped(t *testing.T) {
	t.Parallel()
	const member, at = crypto.NodeID(4), crypto.NodeID(1)
	c := newCluster(t, 1)
	for _, id := range c.but(member) {
		c.start(id)
	}
	c.awaitReady(c.but(member)...)
	w := c.user(1).write(t, "w")
	i := c.intrude(readKey(t, c.folder(member)), member)
	dropped := func(reason string) string {
		return fmt.Sprintf(`bft_drops_total{peer="%d",reason=%q}`, member, reason)
	}
	cluster := c.file.genesis(t).Hash()
	for _, bad := range badFrames(cluster, readKey(t, c.folder(member)), member) {
		t.Log(bad.name)
		c.sendUntil(i, at, p2p.Consensus, bad.frame, dropped(bad.reason))
		c.sendUntil(i, at, p2p.Bulk, bad.frame, dropped(bad.reason))
	}
	await(t, "something to repeat", func() bool { return i.hearing(2) != nil })
	c.sendUntil(i, at, p2p.Consensus, i.hearing(2), dropped("wrong_sender"))
	c.sendUntil(i, at, p2p.Consensus, make([]byte, bftraft.MaxFrameBytes+1),
		fmt.Sprintf(`bft_violations_total{peer="%d"}`, member))
	w.more(10)
	const flood = 50000 // frames of 2 kB
	sent, junk := 0, garbage(2000)
	await(t, "a flood", func() bool {
		for sent < flood && i.Send(at, p2p.Consensus, junk) {
			sent++
		}
		return sent == flood
	})
	w.more(50)
	memory := resident(t, c.nodes[at].cmd.Process.Pid)
	t.Logf("after a flood: %d MiB resident", memory>>20)
	require.Less(t, memory, 300<<20)
	w.check()
}

func TestBadFramesOfClientsAndStrangersAreDropped(t *testing.T) {
	t.Parallel()
	const at = crypto.NodeID(2)
	c := newCluster(t, 2)
	c.startAll()
	u := c.user(1)
	w := u.write(t, "w")
	cluster := c.file.genesis(t).Hash()
	key, other := readKey(t, c.path("client2")), readKey(t, c.path("client1"))

	c.sendUntil(c.intrude(crypto.GenerateKey(), 0), at, p2p.Client, garbage(10),
		"bft_strangers_total")
	line, err := net.Dial("tcp", c.file.Nodes[at-1].Address)
	require.NoError(t, err)
	_, _ = line.Write(garbage(100000)) // the node may hang up before the end
	require.NoError(t, line.Close())

	i := c.intrude(key, 0)
	refused := func(reason string) string {
		return fmt.Sprintf(`bft_client_refusals_total{reason=%q}`, reason)
	}
	signed := request(cluster, key, 1, "k")
	resigned := slices.Clone(signed)
	copy(resigned[len(resigned)-64:], garbage(64))
	for _, bad := range []badFrame{
		{"noise", "malformed", append([]byte{0xee}, garbage(100)...)},
		{"request that is noise", "malformed", bftraft.RequestFrame(garbage(500))},
		{"truncated request", "malformed", bftraft.RequestFrame(signed[:len(signed)-1])},
		{"signed again", "not_authorised", bftraft.RequestFrame(resigned)},
		{"of another cluster", "not_authorised",
			bftraft.RequestFrame(request(crypto.Digest{1}, key, 1, "k"))},
		{"in another's name", "not_authorised",
			bftraft.RequestFrame(request(cluster, other, 1, "k"))},
	} {
		t.Log(bad.name)
		c.sendUntil(i, at, p2p.Client, bad.frame, refused(bad.reason))
	}
	c.sendUntil(i, at, p2p.Client, make([]byte, bftraft.MaxFrameBytes),
		`bft_violations_total{peer=""}`)
	c.sendUntil(i, at, p2p.Client, bftraft.RequestFrame(request(cluster, key, 1000, "ahead")),
		refused("out_of_window"))
	// None of all this has got into the log. What is sent well, however often, is executed once.
	for range 100 {
		i.Send(at, p2p.Client, bftraft.RequestFrame(request(cluster, key, 1, "once")))
	}
	await(t, "the good request to be executed", func() bool {
		i.Send(at, p2p.Client, bftraft.RequestFrame(request(cluster, key, 1, "once")))
		return len(u.list(t, "once")) > 0
	})
	w.more(20)
	require.EqualValues(t, 1, u.list(t, "once")["once"].Version)
	require.Empty(t, u.list(t, "k"))
	require.Empty(t, u.list(t, "ahead"))
	w.check()
	u.awaitSame(t, c.all()...)
}
