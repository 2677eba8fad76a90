//go:build linux

package processes

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	lcrypto "github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/p2p"
)

// hostile is a libp2p program that keeps to no rule of ours, with one node as its victim.
type hostile struct {
	c    *cluster
	at   crypto.NodeID
	ctx  context.Context
	wg   sync.WaitGroup
	done [attacks]atomic.Int64 // how often it did what
}

// The ways in which it attacks.
const (
	knocks  = iota // connections with a stranger's key
	silent         // connections that say nothing
	half           // connections that stop in the middle of the handshake
	garbled        // connections full of noise
	streams        // streams opened on a link
	attacks
)

// libp2pHost is an ordinary libp2p host with a key of our cluster, or with none of it.
func libp2pHost(t *testing.T, key crypto.PrivateKey) host.Host {
	t.Helper()
	seed := key.Seed()
	private, err := lcrypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(seed[:]))
	require.NoError(t, err)
	h, err := libp2p.New(libp2p.Identity(private), libp2p.NoListenAddrs, libp2p.DisableMetrics(),
		libp2p.ResourceManager(&network.NullResourceManager{}))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	return h
}

// victim is the attacked node as libp2p knows it.
func (x *hostile) victim() peer.AddrInfo {
	key := publicKey(x.c.t, x.c.file.Nodes[x.at-1].Key)
	public, err := lcrypto.UnmarshalEd25519PublicKey(key[:])
	require.NoError(x.c.t, err)
	id, err := peer.IDFromPublicKey(public)
	require.NoError(x.c.t, err)
	_, port, err := net.SplitHostPort(x.address())
	require.NoError(x.c.t, err)
	addr, err := ma.NewMultiaddr("/ip4/127.0.0.1/tcp/" + port)
	require.NoError(x.c.t, err)
	return peer.AddrInfo{ID: id, Addrs: []ma.Multiaddr{addr}}
}

func (x *hostile) address() string { return x.c.file.Nodes[x.at-1].Address }

// again runs an attack over and over, at several places at once, until the end.
func (x *hostile) again(kind, many int, attack func() error) {
	pause := 5 * time.Millisecond // between two attacks, so that the machine has other work too
	for range many {
		x.wg.Go(func() {
			pace := time.NewTicker(pause)
			defer pace.Stop()
			for {
				select {
				case <-x.ctx.Done():
					return
				case <-pace.C:
				}
				if attack() == nil {
					x.done[kind].Add(1)
				}
			}
		})
	}
}

// dial opens a connection, says something, and holds it until the node ends it or all is over.
func (x *hostile) dial(says []byte) error {
	conn, err := net.Dial("tcp", x.address())
	if err != nil {
		return err
	}
	stop := context.AfterFunc(x.ctx, func() { _ = conn.Close() })
	defer stop()
	defer conn.Close()
	_, _ = conn.Write(says)
	_, _ = io.Copy(io.Discard, conn) // what comes of it
	return nil
}

// flood connects with a key, opens raw streams and says the same on each, until the node hangs up.
func (x *hostile) flood(h host.Host, to peer.AddrInfo, says []byte) error {
	once, cancel := context.WithTimeout(x.ctx, 2*time.Second)
	defer cancel()
	if err := h.Connect(once, to); err != nil {
		return err
	}
	for range 64 {
		s, err := h.Network().NewStream(once, to.ID)
		if err != nil {
			return err
		}
		x.done[streams].Add(1)
		if _, err := s.Write(says); err != nil {
			return err
		}
	}
	return h.Network().ClosePeer(to.ID)
}

// attack begins everything at once. The member is one whose key we have, and does not run.
func (x *hostile) attack(member, client crypto.PrivateKey) {
	t, to := x.c.t, x.victim()
	stranger := libp2pHost(t, crypto.GenerateKey())
	x.again(knocks, 2, func() error {
		once, cancel := context.WithTimeout(x.ctx, 2*time.Second)
		defer cancel()
		if stranger.Connect(once, to) == nil {
			_ = stranger.Network().ClosePeer(to.ID) // TLS tells the dialler last
		}
		return once.Err()
	})
	x.again(silent, 40, func() error { return x.dial(nil) })
	x.again(half, 40, func() error {
		return x.dial([]byte("\x13/multistream/1.0.0\n\x0b/tls/1.0.0\n\x16\x03\x01\x02"))
	})
	x.again(garbled, 4, func() error { return x.dial(garbage(100000)) })
	stream := func(class p2p.Class, announced uint32, body []byte) []byte {
		says := []byte{'T', 'G', 1, byte(class)}
		return append(binary.BigEndian.AppendUint32(says, announced), body...)
	}
	oversize := stream(p2p.Consensus, 1<<31, garbage(1000))
	slow := stream(p2p.Bulk, bftraft.MaxFrameBytes, garbage(1000)) // its rest never comes
	noise := stream(p2p.Consensus, 1000, append([]byte{0xee}, garbage(999)...))
	alien := []byte("GET / HTTP/1.1\r\n\r\n")
	for _, says := range [][]byte{oversize, slow, noise, alien} {
		asMember, asClient := libp2pHost(t, member), libp2pHost(t, client)
		x.again(streams, 1, func() error { return x.flood(asMember, to, says) })
		x.again(streams, 1, func() error { return x.flood(asClient, to, says) })
	}
}

func TestHonestClientsAreServedUnderAHostileProgram(t *testing.T) {
	const member, most = crypto.NodeID(4), 10 * time.Second
	c := newCluster(t, 2)
	for _, id := range c.but(member) {
		c.start(id)
	}
	c.awaitReady(c.but(member)...)
	u := c.user(1)
	w := u.write(t, "w")
	w.more(50)
	victim := c.leader(c.but(member)...) // nothing is committed without each of the three
	ctx, cancel := context.WithCancel(context.Background())
	x := &hostile{c: c, at: victim, ctx: ctx}
	defer x.wg.Wait()
	defer cancel()
	counters := []string{
		"bft_strangers_total", `bft_violations_total{peer=""}`,
		fmt.Sprintf(`bft_violations_total{peer="%d"}`, member),
		fmt.Sprintf(`bft_drops_total{peer="%d",reason="malformed"}`, member),
	}
	x.attack(readKey(t, c.folder(member)), readKey(t, c.path("client2")))
	w.watch()
	for _, series := range counters {
		awaitFor(t, recovery, "node to count "+series, func() bool {
			n, ok := c.metric(victim, series)
			return ok && n > 2
		})
	}
	awaitFor(t, recovery, "floods", func() bool {
		return x.done[knocks].Load() > 10 && x.done[silent].Load() > 40 &&
			x.done[half].Load() > 40 && x.done[garbled].Load() > 40 &&
			x.done[streams].Load() > 100
	})
	awaitMore(t, w, 200)
	pause := w.pause()
	memory := resident(t, c.nodes[victim].cmd.Process.Pid)
	for k, name := range []string{"knocks", "silent", "half", "garbled", "streams"} {
		t.Logf("%s: %d", name, x.done[k].Load())
	}
	for _, series := range counters {
		n, _ := c.metric(victim, series)
		t.Logf("%s: %.0f", series, n)
	}
	t.Logf("writes paused for %d ms; %d MiB resident", pause.Milliseconds(), memory>>20)
	require.Less(t, pause, most)
	require.Less(t, memory, 400<<20)
	cancel()
	x.wg.Wait()
	w.more(20)
	w.check()
	u.awaitSame(t, c.but(member)...)
}

// awaitMore is more with the patience that a machine under attack needs.
func awaitMore(t *testing.T, w *writer, n int) {
	t.Helper()
	goal := w.count() + n
	awaitFor(t, recovery, fmt.Sprintf("%d more writes", n), func() bool {
		return w.count() >= goal
	})
}
