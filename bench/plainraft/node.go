package plainraft

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"tangaroa/bftraft"
	"tangaroa/bftraft/kv"
	"tangaroa/crypto"
	"tangaroa/p2p"
)

// Config is what a Node is made with.
type Config struct {
	ID     crypto.NodeID
	Key    crypto.PrivateKey
	Voters []crypto.NodeID // all of them
	Client crypto.PublicKey
	Dir    string
	// Lie, if set, stands between the node and everybody else.
	Lie Lie
}

// Lie is what a dishonest member does. It is called by the goroutine that owns the node.
type Lie interface {
	// Send returns what is sent in place of a message.
	Send(n *Node, m *pb.Message) []*pb.Message
	// Propose sees what a client wants, and may answer it. False keeps it from the log.
	Propose(n *Node, conn p2p.ConnID, frame []byte) bool
	// Hear sees what arrives, before it is taken in.
	Hear(n *Node, from crypto.NodeID, frame []byte)
	// Tick is called in each tick.
	Tick(n *Node)
}

// The times, in ticks; a leader that is silent for one to two seconds is replaced, as is ours.
const (
	tick           = 10 * time.Millisecond
	electionTicks  = 100
	heartbeatTicks = 10
)

// The most that waits for the owner, and that it takes in at once.
const (
	inboxFrames = 1024
	takeAtOnce  = 256
)

// keptEntries of the log at least are in memory; the disk has all of it.
const keptEntries = 1024

// errBehind ends a node that would need a snapshot. There are none: no run is long enough.
var errBehind = errors.New("plainraft: this node is too far behind the leader's log")

// incoming is a frame of a node or, if from is 0, of a client.
type incoming struct {
	from  crypto.NodeID
	conn  p2p.ConnID
	frame []byte
	look  func(*Node) // something to be done by the owner, if not nil
}

// asker is a client that waits for an answer.
type asker struct {
	conn     p2p.ConnID
	sequence uint64
}

// waitingRead is a question whose read index is known.
type waitingRead struct {
	index   uint64
	asker   asker
	queries [][]byte
}

// Node is one member.
type Node struct {
	cfg   Config
	host  *p2p.Host
	inbox chan incoming
	ended chan struct{}
	err   error // once ended is closed
	stop  context.CancelFunc

	// Counters, which anybody may read. Blocks are entries executed.
	Frames, Bytes, Saves, Blocks atomic.Uint64
	leader, applied, term        atomic.Uint64

	// The rest belongs to the owner.
	raw     *raft.RawNode
	log     *raft.MemoryStorage
	disk    *disk
	machine *kv.Machine
	askers  map[uint64]asker // of operations proposed here, by sequence
	asked   map[string]waitingRead
	nextAsk uint64
	reads   []waitingRead
}

// New opens the disk and the network; nothing is done before Start.
func New(cfg Config) (*Node, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the node's directory: %w", err)
	}
	n := &Node{
		cfg: cfg, inbox: make(chan incoming, inboxFrames), ended: make(chan struct{}),
		log: raft.NewMemoryStorage(), machine: kv.New(),
		askers: map[uint64]asker{}, asked: map[string]waitingRead{},
	}
	var voters []uint64
	for _, v := range cfg.Voters {
		voters = append(voters, uint64(v))
	}
	index, term := uint64(1), uint64(1)
	if err := n.log.ApplySnapshot(&pb.Snapshot{Metadata: &pb.SnapshotMetadata{
		Index: &index, Term: &term, ConfState: &pb.ConfState{Voters: voters},
	}}); err != nil {
		return nil, fmt.Errorf("begin the log: %w", err)
	}
	var err error
	n.raw, err = raft.NewRawNode(&raft.Config{
		ID: uint64(cfg.ID), ElectionTick: electionTicks, HeartbeatTick: heartbeatTicks,
		Storage: n.log, Applied: index, MaxSizePerMsg: 1 << 20, MaxInflightMsgs: 256,
		CheckQuorum: true, PreVote: true, ReadOnlyOption: raft.ReadOnlySafe,
		Logger: silent{}, DisableProposalForwarding: true,
	})
	if err != nil {
		return nil, fmt.Errorf("make the raft node: %w", err)
	}
	if n.disk, err = openDisk(cfg.Dir); err != nil {
		return nil, err
	}
	w := p2p.DefaultConfig()
	w.Key, w.Self, w.Listen = cfg.Key, cfg.ID, []string{"127.0.0.1:0"}
	w.MaxPeers = len(cfg.Voters)
	w.MaxFrameBytes, w.MaxClientFrameBytes = bftraft.MaxFrameBytes, 1+bftraft.MaxRequestBytes
	w.Clients = func(k crypto.PublicKey) bool { return k == cfg.Client }
	if n.host, err = p2p.New(w, handler{n}); err != nil {
		return nil, errors.Join(err, n.disk.close())
	}
	return n, nil
}

// Start lets the network in and runs the node.
func (n *Node) Start() error {
	var ctx context.Context
	ctx, n.stop = context.WithCancel(context.Background())
	if err := n.host.Start(ctx); err != nil {
		n.stop()
		return errors.Join(err, n.host.Close(), n.disk.close())
	}
	go func() {
		defer close(n.ended)
		n.err = errors.Join(n.own(ctx), n.host.Close(), n.disk.close())
	}()
	return nil
}

// Stop ends the node as a crash would: nothing is handed over.
func (n *Node) Stop() error {
	n.stop()
	<-n.ended
	return n.err
}

// Ended is closed when the node has fallen over or was stopped.
func (n *Node) Ended() <-chan struct{} { return n.ended }

// Addrs returns where the node listens.
func (n *Node) Addrs() []string { return n.host.Addrs() }

// SetPeers says where the others are.
func (n *Node) SetPeers(peers []p2p.Peer) error { return n.host.SetPeers(peers) }

// Leader returns whom the node follows, 0 for nobody, Applied how far it has executed, and Term
// its term.
func (n *Node) Leader() crypto.NodeID { return crypto.NodeID(n.leader.Load()) }

// Applied returns the index of the last entry executed.
func (n *Node) Applied() uint64 { return n.applied.Load() }

// Term returns the present term.
func (n *Node) Term() uint64 { return n.term.Load() }

// ID returns the node's name.
func (n *Node) ID() crypto.NodeID { return n.cfg.ID }

// Look runs f on the goroutine that owns the state.
func (n *Node) Look(ctx context.Context, f func(*kv.Machine)) error {
	done := make(chan struct{})
	select {
	case n.inbox <- incoming{look: func(n *Node) { f(n.machine); close(done) }}:
	case <-n.ended:
		return fmt.Errorf("node %d has ended: %w", n.cfg.ID, n.err)
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-done:
		return nil
	case <-n.ended:
		return fmt.Errorf("node %d has ended: %w", n.cfg.ID, n.err)
	}
}

// handler puts what arrives into the inbox; the sender waits when it is full.
type handler struct{ n *Node }

func (h handler) FromNode(id crypto.NodeID, _ p2p.Class, frame []byte) {
	h.put(incoming{from: id, frame: frame})
}

func (h handler) FromClient(_ crypto.PublicKey, conn p2p.ConnID, frame []byte) {
	h.put(incoming{conn: conn, frame: frame})
}

func (h handler) put(in incoming) {
	select {
	case h.n.inbox <- in:
	case <-h.n.ended:
	}
}

func (handler) NodeUp(crypto.NodeID) {}

func (handler) NodeDown(crypto.NodeID) {}

// own is the one goroutine that touches the raft node.
func (n *Node) own(ctx context.Context) (err error) {
	defer survive(&err)
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
			n.raw.Tick()
			if n.cfg.Lie != nil {
				n.cfg.Lie.Tick(n)
			}
		case in := <-n.inbox:
			n.take(in)
		}
		n.drain()
		for n.raw.HasReady() {
			rd := n.raw.Ready()
			if err := n.do(&rd); err != nil {
				return err
			}
			n.raw.Advance(rd)
		}
	}
}

// drain takes in what waits, so that one flush serves it all.
func (n *Node) drain() {
	for range takeAtOnce {
		select {
		case in := <-n.inbox:
			n.take(in)
		default:
			return
		}
	}
}

func (n *Node) take(in incoming) {
	switch {
	case in.look != nil:
		in.look(n)
	case in.from != 0:
		if n.cfg.Lie != nil {
			n.cfg.Lie.Hear(n, in.from, in.frame)
		}
		m := &pb.Message{}
		if err := proto.Unmarshal(in.frame, m); err == nil {
			// It is of no use if it does not fit, which is all that an error says.
			_ = n.raw.Step(m)
		}
	default:
		n.takeClient(in)
	}
}

func (n *Node) takeClient(in incoming) {
	kind, sequence, rest, err := decodeHead(in.frame)
	if err != nil {
		return
	}
	if n.Leader() != n.cfg.ID {
		n.reply(in.conn, append(encodeList(frameLeader, sequence, nil), byte(n.Leader())))
		return
	}
	switch kind {
	case frameWrite:
		if n.cfg.Lie != nil && !n.cfg.Lie.Propose(n, in.conn, in.frame) {
			return
		}
		n.askers[sequence] = asker{in.conn, sequence}
		if err := n.raw.Propose(in.frame); err != nil {
			delete(n.askers, sequence)
			n.reply(in.conn, append(encodeList(frameLeader, sequence, nil), 0))
		}
	case frameRead:
		queries, err := decodeList(rest)
		if err != nil {
			return
		}
		n.nextAsk++
		token := fmt.Appendf(nil, "%d/%d", n.cfg.ID, n.nextAsk)
		n.asked[string(token)] = waitingRead{0, asker{in.conn, sequence}, queries}
		n.raw.ReadIndex(token)
	}
}

// do carries out one Ready. A leader sends before its own disk has the entries, as its word counts
// for itself only when Advance is called (Raft thesis, 10.2.1).
func (n *Node) do(rd *raft.Ready) error {
	if rd.SoftState != nil {
		n.leader.Store(rd.SoftState.Lead)
	}
	if rd.HardState != nil {
		n.term.Store(rd.HardState.GetTerm())
	}
	leads := n.Leader() == n.cfg.ID
	if leads {
		n.send(rd.Messages)
	}
	before := n.disk.saves
	if err := n.disk.save(rd); err != nil {
		return err
	}
	n.Saves.Add(n.disk.saves - before)
	if !raft.IsEmptyHardState(rd.HardState) {
		if err := n.log.SetHardState(rd.HardState); err != nil {
			return err
		}
	}
	if err := n.log.Append(rd.Entries); err != nil {
		return err
	}
	if !raft.IsEmptySnap(rd.Snapshot) {
		return errBehind
	}
	if !leads {
		n.send(rd.Messages)
	}
	for _, e := range rd.CommittedEntries {
		n.apply(e)
	}
	for _, r := range rd.ReadStates {
		if w, ok := n.asked[string(r.RequestCtx)]; ok {
			delete(n.asked, string(r.RequestCtx))
			w.index = r.Index
			n.reads = append(n.reads, w)
		}
	}
	n.answerReads()
	return n.compact()
}

// compact forgets what all but a node that is far behind have.
func (n *Node) compact() error {
	first, err := n.log.FirstIndex()
	if applied := n.Applied(); err == nil && applied >= first+2*keptEntries {
		err = n.log.Compact(applied - keptEntries)
	}
	if err != nil {
		return fmt.Errorf("shorten the log in memory: %w", err)
	}
	return nil
}
