package node

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"tangaroa/bftraft"
	"tangaroa/bftraft/replica"
	"tangaroa/crypto"
	"tangaroa/p2p"
)

// peerClasses are the classes between nodes; each has a queue and a goroutine of its own for every
// peer, so that bulk never delays consensus.
const peerClasses = 2

// inbound is the way of bytes to the owner. It implements p2p.Handler.
type inbound struct {
	log     *slog.Logger
	self    crypto.NodeID
	limit   p2p.QueueLimit                   // of each peer and class
	gate    atomic.Pointer[bftraft.Verifier] // behind the newest change; set by follow
	metrics *metrics
	ctx     context.Context // of all goroutines; set by start

	peers   [crypto.MaxNodeID + 1]atomic.Pointer[peer] // nil for who is no member; set by follow
	budgets [crypto.MaxNodeID + 1]budget
	clients *fairQueue
	forgers forgers
	steps   chan step // to the owner
	asks    chan ask  // to the owner
	ups     chan crypto.NodeID
	network Network // set before anything arrives
	wg      sync.WaitGroup
}

// peer is another member, to whom this node listens.
type peer struct {
	key    crypto.PublicKey // the same id may be given to another key, later on
	queues [peerClasses]*queue
	stop   context.CancelFunc // ends the goroutines; nil before start
}

// step is what another node sent: a verified message, or a reply to a question of this node's.
type step struct {
	from  crypto.NodeID
	msg   bftraft.Verified
	reply *bftraft.BlockReply // if not nil, msg is empty
	cost  int                 // what it costs its sender if there is no use for it
}

// ask is what a client, or the program around the node, wants: exactly one of the last six.
type ask struct {
	client  replica.ClientID
	from    crypto.NodeID // the node that forwarded it, if one did
	request *bftraft.Request
	read    *bftraft.ReadRequest
	status  bool
	proofs  bool
	resign  bftraft.Term    // the node shall hand over if it leads this term
	ready   *bftraft.Change // is the node ready for it?
	look    func(*replica.Replica)
}

// The channels to the owner are short: what waits, waits in the queues, which count bytes.
const (
	stepsWaiting = 64
	asksWaiting  = 64
)

func newInbound(cfg *Config, v *bftraft.Verifier, m *metrics) *inbound {
	in := &inbound{
		log: cfg.logger(), self: cfg.ID, limit: cfg.PeerQueue, metrics: m,
		clients: newFairQueue(cfg.ClientQueue, cfg.MaxClientQueueBytes),
		steps:   make(chan step, stepsWaiting), asks: make(chan ask, asksWaiting),
		ups: make(chan crypto.NodeID, crypto.MaxNodeID),
	}
	in.follow(v)
	return in
}

// follow has a gate judge what comes in from now on: members that it knows are listened to, and
// nobody else is. Only the owner calls it.
func (in *inbound) follow(gate *bftraft.Verifier) {
	in.gate.Store(gate)
	var keys [crypto.MaxNodeID + 1]crypto.PublicKey
	for _, n := range nodesOf(gate.Members()) {
		keys[n.ID] = n.Key
	}
	keys[in.self] = crypto.PublicKey{}
	for i := range in.peers {
		id, old := crypto.NodeID(i), in.peers[i].Load()
		if old != nil && old.key == keys[i] {
			continue
		}
		if old != nil {
			in.peers[i].Store(nil)
			if old.stop != nil {
				old.stop()
			}
		}
		if keys[i].IsZero() {
			continue
		}
		in.metrics.watchPeer(id)
		p := &peer{
			key: keys[i], queues: [peerClasses]*queue{newQueue(in.limit), newQueue(in.limit)},
		}
		if in.ctx != nil {
			in.listen(id, p)
		}
		in.peers[i].Store(p)
	}
}

// listen begins to verify what a peer sends.
func (in *inbound) listen(id crypto.NodeID, p *peer) {
	ctx, stop := context.WithCancel(in.ctx)
	p.stop = stop
	for _, q := range p.queues {
		in.wg.Go(func() { in.verifyPeer(ctx, id, q) })
	}
}

// start begins to verify, until ctx ends.
func (in *inbound) start(ctx context.Context, workers int) {
	in.ctx = ctx
	for id := range in.peers {
		if p := in.peers[id].Load(); p != nil {
			in.listen(crypto.NodeID(id), p)
		}
	}
	for range workers {
		in.wg.Go(func() { in.serveClients(ctx) })
	}
}

// peer returns the member with an id other than this node, nil if there is none.
func (in *inbound) peer(id crypto.NodeID) *peer {
	if !id.Valid() {
		return nil
	}
	return in.peers[id].Load()
}

// FromNode queues a frame of another node.
func (in *inbound) FromNode(id crypto.NodeID, class p2p.Class, frame []byte) {
	p := in.peer(id)
	if p == nil {
		return // the network refuses them, and counts that; or it is about to
	}
	fits := false
	switch {
	case len(frame) > 0 && frame[0] == bftraft.FrameRequest:
		fits = in.clients.push(clientFrame{source: source{node: id}, frame: frame})
	case class == p2p.Consensus:
		fits = p.queues[0].push(frame)
	default:
		fits = p.queues[1].push(frame)
	}
	if !fits {
		in.metrics.full(id)
	}
}

// FromClient queues a frame of a client.
func (in *inbound) FromClient(key crypto.PublicKey, conn p2p.ConnID, frame []byte) {
	if !in.clients.push(clientFrame{source: source{key: key}, conn: conn, frame: frame}) {
		in.metrics.clientFull.Inc()
	}
}

// NodeUp has a node greeted, in case it is none any more, or has forgotten what it signed. What it
// missed it learns from the next heartbeat (N6). Where too many come at once, some have to come
// again.
func (in *inbound) NodeUp(id crypto.NodeID) {
	select {
	case in.ups <- id:
	default:
	}
}

// NodeDown has nothing to do: silence shows in the protocol.
func (in *inbound) NodeDown(crypto.NodeID) {}

func (in *inbound) verifyPeer(ctx context.Context, id crypto.NodeID, q *queue) {
	var frames [][]byte
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.ready:
		}
		frames = q.take(frames)
		for i, frame := range frames {
			frames[i] = nil // the message holds what it needs
			if !in.afford(ctx, id) {
				return
			}
			s, drop := in.verify(id, frame)
			in.charge(id, frame, &s, drop)
			if drop != bftraft.Accepted {
				in.metrics.drop(id, drop)
				in.log.Debug("message dropped", "peer", id, "drop", drop)
				continue
			}
			select {
			case in.steps <- s:
			case <-ctx.Done():
				return
			}
		}
	}
}

// afford waits until a peer has earned what it has spent. It is false when ctx has ended.
func (in *inbound) afford(ctx context.Context, id crypto.NodeID) bool {
	wait := in.budgets[id].wait(time.Now())
	if wait == 0 {
		return true
	}
	in.metrics.slowed[id].Inc()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// charge lets a peer pay for a frame that was of no use, or that it may not send at will.
func (in *inbound) charge(id crypto.NodeID, frame []byte, s *step, drop bftraft.Drop) {
	cost := costOf(frame)
	if drop == bftraft.Accepted && (s.reply != nil || !atOnce(s.msg.Message())) {
		s.cost = cost
		return
	}
	in.budgets[id].spend(cost, time.Now())
}

// refused lets a peer pay for a message that the protocol had no use for.
func (in *inbound) refused(s *step, drop bftraft.Drop) {
	if s.cost > 0 && drop != bftraft.Accepted {
		in.budgets[s.from].spend(refusedCost(drop, s.cost), time.Now())
	}
}

func (in *inbound) verify(id crypto.NodeID, frame []byte) (step, bftraft.Drop) {
	if len(frame) > 0 && frame[0] == bftraft.FrameReply {
		reply, drop := in.gate.Load().VerifyReply(id, frame)
		return step{from: id, reply: reply}, drop
	}
	msg, drop := in.gate.Load().Verify(id, frame)
	return step{from: id, msg: msg}, drop
}

// serveClients judges what clients sent. Requests that wait together are verified together.
func (in *inbound) serveClients(ctx context.Context) {
	var frames []clientFrame
	for {
		frames = in.clients.pop(frames, clientBatch)
		if len(frames) == 0 {
			select {
			case <-in.clients.ready:
				continue
			case <-ctx.Done():
				return
			}
		}
		for _, a := range in.judge(frames) {
			select {
			case in.asks <- a:
			case <-ctx.Done():
				return
			}
		}
	}
}

// clientBatch is how many frames of clients are judged together at most: a batch of signatures
// costs hardly less for each when it is longer.
const clientBatch = 64

// judge decodes and verifies what clients sent, and returns what is worth handing on, in order.
func (in *inbound) judge(frames []clientFrame) []ask {
	requests, errs := in.verifyRequests(frames)
	asks := make([]ask, 0, len(frames))
	gate := in.gate.Load()
	for i := range frames {
		f := &frames[i]
		a := ask{
			client: replica.ClientID{Key: f.source.key, Conn: uint64(f.conn)}, from: f.source.node,
		}
		var err error
		switch {
		case len(f.frame) == 0:
			err = bftraft.ErrClientMessage
		case !mayAsk(gate, f):
			err = bftraft.ErrUnknownClient // not any more: its connection is about to be closed
		case f.frame[0] == bftraft.FrameRequest:
			if a.request = in.admit(f, requests[i], errs[i]); a.request != nil {
				asks = append(asks, a)
			}
			continue
		case f.frame[0] == bftraft.FrameRead:
			a.read, err = bftraft.DecodeReadRequest(f.frame)
		case f.frame[0] == bftraft.FrameStatus && len(f.frame) == 1:
			a.status = true
		case f.frame[0] == bftraft.FrameEvidence && len(f.frame) == 1:
			a.proofs = true
		case f.frame[0] == bftraft.FrameResign:
			if a.resign, err = bftraft.DecodeResignRequest(f.frame); err == nil &&
				!gate.MayAdminister(f.source.key) {
				err = bftraft.ErrClientRole
			}
		case f.frame[0] == bftraft.FrameReady:
			if a.ready, err = bftraft.DecodeReadyRequest(f.frame); err == nil &&
				!gate.MayAdminister(f.source.key) {
				err = bftraft.ErrClientRole
			}
		case f.frame[0] == bftraft.FrameChanges:
			var number uint64
			if number, err = bftraft.DecodeChangesRequest(f.frame); err == nil {
				in.network.ReplyClient(f.conn, gate.EncodeChanges(number))
				continue
			}
		default:
			err = bftraft.ErrClientMessage
		}
		if err != nil {
			in.metrics.refused(codeOf(err))
			continue
		}
		asks = append(asks, a)
	}
	return asks
}

// verifyRequests verifies the requests among the frames, those together whose senders never sent a
// forged one; who did makes nobody else's verification dearer.
func (in *inbound) verifyRequests(frames []clientFrame) ([]*bftraft.Request, []error) {
	requests, errs := make([]*bftraft.Request, len(frames)), make([]error, len(frames))
	raws, places := make([][]byte, 0, len(frames)), make([]int, 0, len(frames))
	for i := range frames {
		f := &frames[i]
		switch {
		case len(f.frame) == 0 || f.frame[0] != bftraft.FrameRequest:
		case in.forgers.has(f.source):
			requests[i], errs[i] = in.gate.Load().VerifyRequest(f.frame[1:])
		default:
			raws, places = append(raws, f.frame[1:]), append(places, i)
		}
	}
	verified, refused := in.gate.Load().VerifyRequests(raws)
	for k, i := range places {
		requests[i], errs[i] = verified[k], refused[k]
		if errors.Is(errs[i], bftraft.ErrRequestSignature) {
			in.forgers.add(frames[i].source)
		}
	}
	return requests, errs
}

// admit returns the verified request of a frame if its sender may send it; otherwise the sender is
// told.
func (in *inbound) admit(f *clientFrame, r *bftraft.Request, err error) *bftraft.Request {
	if err == nil && f.source.node == 0 && r.Client != f.source.key {
		err = bftraft.ErrUnknownClient // one client does not speak for another
	}
	if err == nil {
		return r
	}
	if f.source.node != 0 {
		in.metrics.drop(f.source.node, dropOf(err))
		return nil
	}
	refusal := bftraft.Refusal{Code: codeOf(err)}
	if r, err := bftraft.DecodeRequest(f.frame[1:]); err == nil {
		refusal.Session, refusal.Sequence = r.Session, r.Sequence
	}
	in.metrics.refused(refusal.Code)
	in.network.ReplyClient(f.conn, refusal.Encode())
	return nil
}

// dropOf says in the words for peers why a request is not taken in.
func dropOf(err error) bftraft.Drop {
	switch {
	case errors.Is(err, bftraft.ErrRequestTooLarge):
		return bftraft.Oversize
	case errors.Is(err, bftraft.ErrUnknownClient):
		return bftraft.UnknownSender
	case errors.Is(err, bftraft.ErrRequestSignature):
		return bftraft.BadSignature
	}
	return bftraft.Malformed
}

// codeOf says the same in the words for clients.
func codeOf(err error) bftraft.RefusalCode {
	switch {
	case errors.Is(err, bftraft.ErrRequestTooLarge):
		return bftraft.RefusedTooLarge
	case errors.Is(err, bftraft.ErrUnknownClient), errors.Is(err, bftraft.ErrRequestSignature):
		return bftraft.RefusedClient
	case errors.Is(err, bftraft.ErrClientRole):
		return bftraft.RefusedRole
	}
	return bftraft.RefusedMalformed
}
