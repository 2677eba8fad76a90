package replica

import (
	"cmp"
	"errors"
	"fmt"
	"io"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

// ErrAccused is why a replica stops that is itself proven faulty: somebody else signs with its key,
// or its disk was set back. It must not sign again under this key (J7).
var ErrAccused = errors.New("this node is proven faulty: its key signed contradicting statements")

// ErrForgot is why a replica stops that was shown what it has signed and does not know of: its disk
// was put back, or somebody else has its key. It must not sign again under this key (J7).
var ErrForgot = errors.New("others hold what this node has signed and does not know of any more")

// ErrLeft is why a replica stops that was taken out of the cluster: its key never comes back.
var ErrLeft = errors.New("this node was taken out of the cluster: its key is of no more use")

// ErrStopped is returned by Flush once the replica has stopped for good; it wraps the reason.
var ErrStopped = errors.New("replica stopped")

// Protocol is the core, or an adversary around it.
type Protocol interface {
	Tick()
	Step(bftraft.Verified) bftraft.Drop
	Room() bool
	Propose([]bftraft.Entry)
	SetWaiting(ticks uint64)
	SetSlow(bool)
	Resign()
	Certify(quorumcert.Checkpoint)
	Want(bftraft.Index)
	Remember(*quorumcert.Stable)
	MayDropLog(bftraft.Position) bool
	DropLog(bftraft.Position)
	LacksLog() bool
	MayInstall(*quorumcert.Commit) bool
	Install(*quorumcert.Commit, []*bftraft.ChangeProof) bftraft.HardState
	Convict([]quorumcert.Evidence)
	Ready() (bftraft.Ready, bool)
	Advance(bftraft.Ready)
	Err() error

	Verifier() *bftraft.Verifier
	Term() bftraft.Term
	Leader() bftraft.NodeID
	Commit() bftraft.Position
	CommitOf(bftraft.Position) *quorumcert.Commit
	Shows(bftraft.NodeID) bftraft.Index
	Base() bftraft.Position
	Floor(bftraft.Index) bftraft.Position
	LockWithQC() (bftraft.Lock, *quorumcert.QC)
	Uncommitted() []*bftraft.Block
	Undecided() bool
	Quarantined() bool
	ReadyFor(*bftraft.Change) *bftraft.Readiness
	Left() bool
	Farewell(bftraft.NodeID)
	Greet(bftraft.NodeID)
	Timeout() uint64
	State() bftraft.State
}

// Storage keeps what must not be forgotten. Save is atomic, and durable on return when the Ready
// says MustSync; what it does not sync must not become visible after a crash without all that was
// saved before it. After an error nothing more is saved.
type Storage interface {
	bftraft.Reader
	Load() (bftraft.Restored, error)
	Save(*bftraft.Ready) error
	// Err returns the first failure of any call, reads included.
	Err() error
}

// ClientID names a client's connection; Conn 0 means all connections of the key.
type ClientID struct {
	Key  crypto.PublicKey
	Conn uint64
}

// Transport sends frames. It never blocks; it may lose, repeat and reorder.
type Transport interface {
	Send(to bftraft.NodeID, class bftraft.Class, frame []byte)
	Reply(to ClientID, frame []byte)
}

// StateMachine is what the log drives. Apply and Query never fail: what is wrong with an operation
// or a query is said in their result. Both are deterministic.
type StateMachine interface {
	Apply(index uint64, op []byte) []byte
	Query(query []byte) []byte
	Digest() crypto.Digest
	Snapshot(w io.Writer) error
	Restore(r io.Reader) error
}

// Config is what a Replica is made with.
type Config struct {
	Core      bftraft.Config
	Storage   Storage
	Transport Transport
	Machine   StateMachine
	// Wrap, if set, puts an adversary around the core.
	Wrap func(Protocol) Protocol
	// CheckOp, if set, says whether an operation is worth ordering: a courtesy to clients, applied
	// by each node to the requests it takes in, never to blocks.
	CheckOp func(op []byte) error
	// BlockBytes is the size at which a block is full. Zero stands for DefaultBlockBytes.
	BlockBytes int
	// Limits may be lower than those of clusters, so that a simulation comes to them. All nodes
	// share them. Zeros stand for the limits of clusters.
	Limits Limits
	// Origin is the state that the cluster begins with, which Checkpoints.Store must then hold as a
	// snapshot of index 0; the zero value stands for the empty one.
	Origin bftraft.Origin
	// Checkpoints, where Every is set, are taken. The machine must be a Freezer then.
	Checkpoints Checkpoints
	// Progress, if set, is told how far the replay of the log has come at the start.
	Progress func(done, total bftraft.Index)
}

// Limits bound what is remembered and held of a client.
type Limits struct {
	Results     int    // see MaxResults
	Outstanding int    // see MaxOutstanding
	Window      uint64 // see Window
}

// orDefault returns the limits with those of clusters for zeros.
func (l Limits) orDefault() Limits {
	return Limits{
		Results:     cmp.Or(l.Results, MaxResults),
		Outstanding: cmp.Or(l.Outstanding, MaxOutstanding),
		Window:      cmp.Or(l.Window, Window),
	}
}

// DefaultBlockBytes is the size at which a block is full; one request may exceed it.
const DefaultBlockBytes = 1 << 20

// Replica is one member. See the package comment.
type Replica struct {
	cfg      Config
	id       bftraft.NodeID
	cluster  bftraft.Digest
	core     Protocol
	sessions *sessions
	pool     *pool
	reads    []waitingRead
	slack    slack
	repeats  [crypto.MaxNodeID + 1]int // answers given again to each node, in these few ticks
	signed   signedReplies
	executed bftraft.Position
	gate     *bftraft.Verifier // by which the next block is executed
	evidence evidence
	taking   *taking // the checkpoint on its way, nil for none
	stride   stride
	stable   *quorumcert.Stable        // the newest certified checkpoint that is known
	logged   uint64                    // bytes of blocks executed since a checkpoint was due
	previous bftraft.Index             // of the checkpoint before the newest
	transfer *transfer                 // the state that is being fetched, nil for none
	fetchAt  uint64                    // when one may be fetched again
	holding  holding                   // of a snapshot that others fetch, zero for none
	parts    [crypto.MaxNodeID + 1]int // served to each node in these few ticks
	untidy   bool                      // there may be log to let go of,
	tidyAt   bool                      // and this is a moment to look
	now      uint64                    // ticks since the start
	clock    uint64                    // the time, in parts of a tick
	ticked   uint64                    // the time of the newest tick
	term     bftraft.Term
	leader   bftraft.NodeID
	stopped  error
	stats    Stats
}

// Stats counts what a Replica has done since its start.
type Stats struct {
	Saves    uint64 // Readys made durable
	Synced   uint64 // of which something depended on their durability
	Blocks   uint64 // blocks applied
	Requests uint64 // requests executed
	Ops      uint64 // operations executed
	Refused  uint64 // requests refused at the door

	Checkpoints uint64      // checkpoints certified and kept
	Dropped     uint64      // times that log was let go of
	Installed   uint64      // states taken from others
	Resumed     uint64      // chunks of them that were here from an earlier process
	Poisoned    bftraft.Set // who served what is not certified
}

// New returns a replica that goes on from what its storage holds, having executed all of it that
// is committed.
func New(cfg Config) (*Replica, error) {
	if cfg.BlockBytes == 0 {
		cfg.BlockBytes = DefaultBlockBytes
	}
	if cfg.BlockBytes < 0 || cfg.BlockBytes > bftraft.MaxBlockBytes/2 {
		return nil, fmt.Errorf("%w: BlockBytes (at most half of MaxBlockBytes)", bftraft.ErrConfig)
	}
	cfg.Limits = cfg.Limits.orDefault()
	cfg.Checkpoints.ChunkBytes = cmp.Or(cfg.Checkpoints.ChunkBytes, DefaultChunkBytes)
	if err := cfg.Checkpoints.validate(cfg.Machine); err != nil {
		return nil, err
	}
	restored, err := cfg.Storage.Load()
	if err == nil {
		restored, err = resume(&cfg, restored)
	}
	if err != nil {
		return nil, err
	}
	core, err := bftraft.NewCore(cfg.Core, restored, cfg.Storage)
	switch {
	case err != nil:
		return nil, err
	case core.Left():
		return nil, ErrLeft
	}
	r := &Replica{
		cfg: cfg, id: cfg.Core.Signer.ID(), cluster: cfg.Core.Cluster,
		core:     core,
		sessions: newSessions(cfg.Limits.Results), pool: newPool(cfg.Limits),
		executed: bftraft.Position{Hash: cfg.Core.Cluster}, gate: cfg.Core.Verifier.Genesis(),
	}
	r.evidence.known = restored.Evidence
	if cfg.Wrap != nil {
		r.core = cfg.Wrap(core)
	}
	if err := r.restore(core.Commit()); err != nil {
		return nil, err
	}
	r.previous = core.Base().Index
	return r, r.replay(core.Commit())
}

// replay executes what was committed before the start. Nobody is told the results again.
func (r *Replica) replay(to bftraft.Position) error {
	for r.executed.Index < to.Index {
		b, ok := r.cfg.Storage.Block(r.executed.Index + 1)
		if !ok || b.Before() != r.executed {
			return fmt.Errorf("replay the log: block after entry %d is missing: %w",
				r.executed.Index, r.cfg.Storage.Err())
		}
		r.execute(b)
		if r.passes(b) {
			if r.taking != nil {
				r.giveUp() // the last one that is due before the start is the one to take
			}
			r.takeCheckpoint(b)
		}
		if r.cfg.Progress != nil {
			r.cfg.Progress(r.executed.Index, to.Index)
		}
	}
	return nil
}

// Tick tells the replica that one tick has passed.
func (r *Replica) Tick() {
	if r.stopped != nil {
		return
	}
	r.tickClock()
	r.core.Tick()
	r.watchLeader()
	r.tickPool()
	r.tickReads()
	r.tickCheckpoint()
	if r.stopped != nil {
		return
	}
	r.tickTransfer()
	r.tickHold()
	r.tidyAt = r.untidy && r.now%repeatTicks == 0
}

// Step takes in a message of another node.
func (r *Replica) Step(v bftraft.Verified) bftraft.Drop {
	if r.stopped != nil {
		return bftraft.Stale
	}
	switch m := v.Message().(type) {
	case *bftraft.FetchState:
		return r.serveState(v.From(), m)
	case *bftraft.StatePart:
		return r.takePart(v.From(), m)
	}
	drop := r.core.Step(v)
	if r.core.Quarantined() {
		_ = r.Flush() // says so to whoever flushes next; until then nothing is signed
		return drop
	}
	if m, ok := v.Message().(*bftraft.AppendEntriesResponse); ok && drop == bftraft.Accepted {
		r.hears(v.From(), &m.Ack)
	}
	r.watchLeader()
	return drop
}

// Resign makes the replica, if it leads, ask to be replaced.
func (r *Replica) Resign() { r.core.Resign() }

// Greet has a member that comes back reminded of what it signed, and asked for the state that is
// being fetched here, if one is.
func (r *Replica) Greet(id bftraft.NodeID) {
	r.core.Greet(id)
	if t := r.transfer; t != nil && (r.others() &^ t.from &^ t.poisoned).Has(id) {
		r.askAgain(quorumcert.SetOf(id))
	}
}

// Farewell tells a node that was taken out, and comes back, that it is of no more use.
func (r *Replica) Farewell(to bftraft.NodeID) { r.core.Farewell(to) }

// Flush does all that is to be done: proposes what has room, makes durable, sends, applies. An
// error is final.
func (r *Replica) Flush() error {
	for r.stopped == nil {
		r.proposeNext()
		ready, some := r.core.Ready()
		if some {
			r.do(&ready)
			continue
		}
		r.checkStorage()
		switch {
		case r.fetched():
			r.install()
			continue
		case r.tidyAt:
			r.tidyAt = false
			r.tidyLog()
		}
		break
	}
	return r.stopped
}

// do carries out one Ready in the order of its fields.
func (r *Replica) do(ready *bftraft.Ready) {
	if needsSave(ready) {
		r.stats.Saves++
		if ready.MustSync {
			r.stats.Synced++
		}
		if err := r.cfg.Storage.Save(ready); err != nil {
			if !mutant.On(mutant.M60) {
				r.stop(fmt.Errorf("save: %w", err))
				return
			}
		}
	}
	if r.checkStorage(); r.stopped != nil {
		return
	}
	r.evidence.known = append(r.evidence.known, ready.Evidence...)
	if ready.Accused {
		r.stop(ErrAccused)
		return
	}
	if ready.Forgot {
		r.stop(ErrForgot)
		return
	}
	r.saw(ready)
	for i := range ready.Messages {
		r.send(&ready.Messages[i])
	}
	committed := ready.Committed
	switch {
	case mutant.On(mutant.M121):
		committed = ready.Blocks
	case mutant.On(mutant.M122) && len(committed) > 1:
		committed = committed[len(committed)-1:]
	}
	for _, b := range committed {
		r.apply(b)
		if r.passes(b) {
			r.takeCheckpoint(b)
		}
	}
	for _, st := range ready.Stable {
		r.sawStable(st)
	}
	if r.stopped != nil {
		return
	}
	r.core.Advance(*ready)
	switch err := r.core.Err(); {
	case err != nil:
		r.stop(err)
	case r.core.Left():
		r.stop(ErrLeft)
	}
}

// checkStorage stops the replica if its storage has failed: what it could not read it might have
// taken for something that is not there.
func (r *Replica) checkStorage() {
	if err := r.cfg.Storage.Err(); err != nil && r.stopped == nil && !mutant.On(mutant.M60) {
		r.stop(err)
	}
}

func needsSave(r *bftraft.Ready) bool {
	return r.HardState != nil || r.Truncated || len(r.Blocks) > 0 || len(r.Commits) > 0 ||
		len(r.Evidence) > 0 || len(r.Changes) > 0
}

func (r *Replica) send(out *bftraft.Outbound) {
	frame := bftraft.Encode(out.Msg)
	for id := out.To.Next(0); id != 0; id = out.To.Next(id) {
		r.cfg.Transport.Send(id, out.Class, frame)
	}
}

func (r *Replica) stop(why error) { r.stopped = fmt.Errorf("%w: %w", ErrStopped, why) }

// Stats returns the counters.
func (r *Replica) Stats() Stats { return r.stats }

// Core returns the protocol's present picture of itself.
func (r *Replica) Core() bftraft.State { return r.core.State() }

// Executed returns the position up to which the state machine has been driven.
func (r *Replica) Executed() bftraft.Position { return r.executed }

// Checkpoint returns the index of the newest certified checkpoint that this node keeps, 0 for none.
func (r *Replica) Checkpoint() bftraft.Index {
	if r.cfg.Checkpoints.Store == nil {
		return 0
	}
	info, _ := r.cfg.Checkpoints.Store.Snapshot()
	return info.At.Index
}

// Machine returns the state machine, for its owner to look at between calls.
func (r *Replica) Machine() StateMachine { return r.cfg.Machine }

// SessionsDigest returns a digest of the replicated state beside the state machine: the sessions,
// and who was convicted where.
func (r *Replica) SessionsDigest() crypto.Digest { return r.evidence.digest(r.sessions.digest()) }

// NodeStatus returns the signed frame that answers a client's question for the node's status.
func (r *Replica) NodeStatus() []byte {
	s := r.core.State()
	m := &bftraft.NodeStatus{
		Term: s.Term, Leader: s.Leader, Lock: s.Lock, Tip: s.Tip, Commit: s.Commit,
		Executed: r.executed.Index, Backoff: uint8(s.Backoff), Suspects: s.Suspects,
		Faulty: s.Faulty, State: r.cfg.Machine.Digest(),
	}
	for _, p := range s.Peers {
		if p.Suspects {
			m.Accuses = m.Accuses.With(p.ID)
		}
		if p.Status.Commit.Index < s.Commit.Index {
			m.Behind = m.Behind.With(p.ID)
		}
		if p.Silent {
			m.Silent = m.Silent.With(p.ID)
		}
	}
	return bftraft.SignNodeStatus(r.cfg.Core.Signer, r.cluster, m)
}
