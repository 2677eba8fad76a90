package node

import (
	"context"
	"time"

	"tangaroa/bftraft"
	"tangaroa/bftraft/replica"
	"tangaroa/crypto"
	"tangaroa/p2p"
)

// Network carries frames; *p2p.Host is one. Its methods are safe for concurrent use, and those
// that send never block.
type Network interface {
	Start(ctx context.Context) error
	Close() error
	Send(to crypto.NodeID, class p2p.Class, frame []byte) bool
	ReplyClient(conn p2p.ConnID, frame []byte) bool
	ReplyKey(key crypto.PublicKey, frame []byte) int
	SetPeers(peers []p2p.Peer) error
	Review()
	Addrs() []string
	Stats() p2p.Stats
}

// transport is the replica's way to the network. The owner calls it.
type transport struct {
	network Network
	metrics *metrics
	local   *submitter // nil without one
}

// Send queues a frame for a node. What is lost is counted by the network, and sent again by the
// protocol.
func (t *transport) Send(to bftraft.NodeID, class bftraft.Class, frame []byte) {
	on := p2p.Consensus
	if class == bftraft.ClassBulk {
		on = p2p.Bulk
	}
	t.network.Send(to, on, frame)
}

// Reply queues a frame for a client: this program itself, one connection, or all of a key.
func (t *transport) Reply(to replica.ClientID, frame []byte) {
	if frame[0] == bftraft.FrameRefusal {
		if refusal, err := bftraft.DecodeRefusal(frame); err == nil {
			t.metrics.refused(refusal.Code)
		}
	}
	if t.local != nil && to.Key == t.local.public && to.Conn == 0 {
		t.local.deliver(frame)
		return
	}
	if to.Conn != 0 {
		t.network.ReplyClient(p2p.ConnID(to.Conn), frame)
		return
	}
	t.network.ReplyKey(to.Key, frame)
}

// timedStorage measures how long it takes to make things durable, and to commit them.
type timedStorage struct {
	replica.Storage
	metrics *metrics
	turns   *turns
	saved   []savedBlock // not committed yet, ascending
}

type savedBlock struct {
	last bftraft.Index
	at   time.Time
}

// Save saves and takes the time.
func (s *timedStorage) Save(r *bftraft.Ready) error {
	start := time.Now()
	err := s.Storage.Save(r)
	now := time.Now()
	s.turns.stored += now.Sub(start)
	if err == nil && r.MustSync {
		s.metrics.save.Observe(now.Sub(start).Seconds())
	}
	if r.Truncated {
		k := len(s.saved)
		for k > 0 && s.saved[k-1].last > r.Truncate {
			k--
		}
		s.saved = s.saved[:k]
	}
	for _, b := range r.Blocks {
		s.saved = append(s.saved, savedBlock{b.Last(), start})
	}
	if n := len(r.Committed); n > 0 {
		s.committed(r.Committed[n-1].Last(), now)
	}
	return err
}

func (s *timedStorage) committed(to bftraft.Index, now time.Time) {
	k := 0
	for k < len(s.saved) && s.saved[k].last <= to {
		s.metrics.commit.Observe(now.Sub(s.saved[k].at).Seconds())
		k++
	}
	s.saved = append(s.saved[:0], s.saved[k:]...)
}
