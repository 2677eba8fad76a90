package p2p

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"tangaroa/crypto"
)

func TestTwoNodesExchangeFramesInAllClasses(t *testing.T) {
	for _, c := range []struct{ transport, security string }{
		{TransportTCP, SecurityTLS}, {TransportTCP, SecurityNoise}, {TransportQUIC, SecurityTLS},
	} {
		t.Run(c.transport+" "+c.security, func(t *testing.T) {
			a, b := twoNodes(t, func(cfg *Config) {
				cfg.Transport, cfg.Security = c.transport, c.security
			})
			for _, class := range []Class{Consensus, Bulk, Client} {
				sendUntil(t, a, b, class, fmt.Appendf(nil, "to b in %v", class))
				sendUntil(t, b, a, class, fmt.Appendf(nil, "to a in %v", class))
			}
			large := bytes.Repeat([]byte("0123456789abcdef"), a.cfg.MaxFrameBytes/16)
			sendUntil(t, a, b, Bulk, large)
			require.False(t, a.Send(2, Bulk, append(large, 1)), "a frame above the limit")
			require.False(t, a.Send(2, Bulk, nil), "an empty frame")
			require.False(t, a.Send(3, Bulk, []byte("x")), "an unknown node")
			require.False(t, a.Send(1, Bulk, []byte("x")), "ourselves")
			require.False(t, a.Send(0, Bulk, []byte("x")), "nobody")
			require.False(t, a.Send(2, classCount, []byte("x")), "an unknown class")
		})
	}
}

func TestFourNodesHoldOneConnectionPerPair(t *testing.T) {
	var nodes []*party
	for id := 1; id <= 4; id++ {
		nodes = append(nodes, start(t, testConfig(id)))
	}
	introduce(t, nodes...)
	for i, from := range nodes {
		for _, to := range nodes {
			if from != to {
				sendUntil(t, from, to, Consensus, numbered(i, 64))
			}
		}
	}
	for _, n := range nodes {
		require.Eventually(t, func() bool { return len(n.swarm.Conns()) == 3 }, patience,
			time.Millisecond)
	}
	require.Equal(t, 3, nodes[0].SendMany([]crypto.NodeID{1, 2, 3, 4}, Bulk, []byte("shared")))
	for _, n := range nodes[1:] {
		for e := take(t, n.frames); string(e.frame) != "shared"; e = take(t, n.frames) {
			require.Equal(t, Consensus, e.class, "a repetition of before")
		}
	}
}

func TestFramesOfOneClassArriveInOrder(t *testing.T) {
	const count = 3000
	a, b := twoNodes(t, asIs)
	for _, class := range []Class{Consensus, Bulk, Client} {
		sendUntil(t, a, b, class, []byte("settled"))
	}
	go func() {
		for i := 0; i < count; {
			sent := true
			for _, class := range []Class{Consensus, Client} {
				sent = a.Send(2, class, numbered(i, i%5000)) && sent
			}
			if !sent {
				return
			}
			i++
		}
	}()
	next := map[Class]int{}
	for next[Consensus] < count || next[Client] < count {
		e := take(t, b.frames)
		if string(e.frame) == "settled" {
			continue
		}
		require.Equal(t, numbered(next[e.class], next[e.class]%5000), e.frame)
		next[e.class]++
	}
}

func TestFullQueueDropsTheNewestAndNeverBlocks(t *testing.T) {
	for name, limit := range map[string]QueueLimit{
		"frames": {Frames: 8, Bytes: 64 << 20}, "bytes": {Frames: 1000, Bytes: 4 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := twoNodes(t, func(cfg *Config) {
				cfg.MaxFrameBytes, cfg.MaxClientFrameBytes = 1<<20, 1<<20
				cfg.Queues[Bulk] = limit
			})
			accepted, refused := 0, 0
			for refused == 0 || accepted < 12 {
				if a.Send(2, Bulk, make([]byte, 1<<19)) { // nobody takes what b receives
					accepted++
				} else {
					refused++
				}
				require.Less(t, accepted, 1000)
				require.LessOrEqual(t, a.Stats().Peers[0].Classes[Bulk].Queued, 8)
			}
			require.Equal(t, uint64(refused), a.Stats().Peers[0].Classes[Bulk].Dropped)
			sendUntil(t, a, b, Consensus, []byte("consensus goes on"))
		})
	}
}

func TestFullQueueKeepsWhatItAccepted(t *testing.T) {
	a, b := twoNodes(t, func(cfg *Config) {
		cfg.Queues[Consensus] = QueueLimit{Frames: 4, Bytes: 32 << 20}
	})
	var accepted [][]byte
	for i := 0; len(accepted) < 500; i++ {
		frame := numbered(i, 9000)
		if a.Send(2, Consensus, frame) {
			accepted = append(accepted, frame)
		}
		if len(accepted) > 0 && i%3 == 0 {
			require.Equal(t, accepted[0], take(t, b.frames).frame)
			accepted = accepted[1:]
			if i > 3000 {
				break
			}
		}
	}
	for _, want := range accepted {
		require.Equal(t, want, take(t, b.frames).frame)
	}
}

func TestDroppedLinkIsMadeAgain(t *testing.T) {
	a, b := twoNodes(t, asIs)
	require.False(t, a.LastReceived(2).IsZero())
	a.Drop(2)
	require.Equal(t, crypto.NodeID(2), take(t, a.downs))
	require.Equal(t, crypto.NodeID(2), take(t, a.ups))
	sendUntil(t, a, b, Consensus, []byte("again"))
	a.Drop(3)
	a.Drop(0)
	require.True(t, a.LastReceived(3).IsZero())
	require.Equal(t, uint64(2), a.Stats().Peers[0].Connects)
}

func TestNodeThatDialledAloneIsAnsweredWhenTheLowerDoesNotDial(t *testing.T) {
	a, b := start(t, testConfig(1)), start(t, testConfig(2))
	known := b.peer()
	known.Addrs = nil
	require.NoError(t, a.SetPeers([]Peer{known}))
	require.NoError(t, b.SetPeers([]Peer{a.peer()}))
	sendUntil(t, a, b, Consensus, []byte("over the connection that b dialled"))
}

func TestSimultaneousDialsLeaveOneLink(t *testing.T) {
	for range 10 {
		a, b := twoNodes(t, func(cfg *Config) { cfg.StandbyDelay = time.Nanosecond })
		single := func() bool {
			return len(a.swarm.Conns()) == 1 && len(b.swarm.Conns()) == 1 &&
				a.linkTo(2) != nil && b.linkTo(1) != nil
		}
		require.Eventually(t, single, patience, time.Millisecond)
		sendUntil(t, a, b, Consensus, []byte("x"))
		sendUntil(t, b, a, Consensus, []byte("y"))
		require.LessOrEqual(t, a.Stats().Peers[0].Connects, uint64(3))
	}
}

func TestRestartedNodeIsFoundOnTheSamePort(t *testing.T) {
	a, b := twoNodes(t, asIs)
	b.stop()
	require.Equal(t, crypto.NodeID(2), take(t, a.downs))
	again := testConfig(2)
	again.Listen = b.Addrs()
	if len(again.Listen) == 0 {
		again.Listen = []string{hostPort(a.peers.Load().byNode[2].addrs[0])}
	}
	again.Peers = []Peer{a.peer()}
	began := time.Now()
	b = start(t, again)
	require.Equal(t, crypto.NodeID(2), take(t, a.ups))
	sendUntil(t, a, b, Consensus, []byte("welcome"))
	require.Less(t, time.Since(began), 2*time.Second)
}

func TestHealedLinkIsUsedAgainWithinTwoSeconds(t *testing.T) {
	for name, fault := range map[string]func(*proxy){
		"cut": (*proxy).sever, "stalled": (*proxy).stall,
	} {
		t.Run(name, func(t *testing.T) {
			a, b, line := proxied(t, func(cfg *Config) {
				cfg.ReadTimeout, cfg.KeepAlive = time.Second, 200*time.Millisecond
			})
			sendUntil(t, a, b, Consensus, []byte("before"))
			fault(line)
			require.Equal(t, crypto.NodeID(2), take(t, a.downs))
			require.Equal(t, crypto.NodeID(1), take(t, b.downs))
			require.False(t, a.Send(2, Consensus, []byte("nowhere to go")))
			require.Eventually(t, func() bool { // until the pauses have reached their cap
				return a.Stats().Peers[0].DialFailures >= 3
			}, patience, time.Millisecond)
			began := time.Now()
			line.heal()
			sendUntil(t, a, b, Consensus, []byte("after"))
			require.Less(t, time.Since(began), 2*time.Second)
		})
	}
}

func TestStallShorterThanTheTimeoutKeepsTheLink(t *testing.T) {
	a, b, line := proxied(t, asIs)
	sendUntil(t, a, b, Consensus, []byte("before"))
	line.stall()
	require.True(t, a.Send(2, Consensus, []byte("held up")))
	line.heal()
	for string(take(t, b.frames).frame) != "held up" {
	}
	require.Empty(t, a.downs)
}

func TestRemovedPeerIsDisconnectedAndRefused(t *testing.T) {
	a, b := twoNodes(t, asIs)
	require.NoError(t, a.SetPeers(nil))
	require.Equal(t, crypto.NodeID(2), take(t, a.downs))
	require.Eventually(t, func() bool { return a.Stats().Refused > 0 }, patience, time.Millisecond)
	require.Nil(t, a.linkTo(2))
	require.NoError(t, a.SetPeers([]Peer{b.peer()}))
	sendUntil(t, a, b, Consensus, []byte("welcome back"))
	require.NoError(t, a.SetPeers([]Peer{b.peer()}))
	require.Empty(t, a.downs, "an unchanged peer keeps its link")
	require.ErrorIs(t, a.SetPeers([]Peer{b.peer(), b.peer()}), ErrConfig)
}

func TestCloseEndsEveryGoroutine(t *testing.T) {
	for _, transport := range []string{TransportTCP, TransportQUIC} {
		t.Run(transport, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			a, b := twoNodes(t, func(cfg *Config) { cfg.Transport = transport })
			sendUntil(t, a, b, Bulk, []byte("x"))
			a.stop()
			require.Equal(t, crypto.NodeID(1), take(t, b.downs))
			b.stop()
			goleak.VerifyNone(t, before)
			require.False(t, a.Send(2, Bulk, []byte("x")))
			require.ErrorIs(t, a.SetPeers(nil), ErrClosed)
			require.ErrorIs(t, a.Start(context.Background()), ErrClosed)
			require.NoError(t, a.Close())
		})
	}
}

func TestHostClosesWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	h, err := New(testConfig(1), newRecorder())
	require.NoError(t, err)
	require.NoError(t, h.Start(ctx))
	require.ErrorIs(t, h.Start(ctx), ErrStarted)
	cancel()
	take(t, h.swarm.Done())
	require.NoError(t, h.Close())
}

func TestHostThatNeverStartedCanBeClosed(t *testing.T) {
	h, err := New(testConfig(1), newRecorder())
	require.NoError(t, err)
	require.NoError(t, h.Close())
}

func TestStartFailsWhereTheAddressIsTaken(t *testing.T) {
	a := start(t, testConfig(1))
	cfg := testConfig(2)
	cfg.Listen = a.Addrs()
	h, err := New(cfg, newRecorder())
	require.NoError(t, err)
	require.Error(t, h.Start(context.Background()))
	require.ErrorIs(t, h.SetPeers(nil), ErrClosed)
}
