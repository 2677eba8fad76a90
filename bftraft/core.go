package bftraft

import (
	"errors"
	"slices"

	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

// ErrBroken is returned when certificates contradict a committed entry: more than f voters are
// faulty, and nothing this node could do would be right (A5).
var ErrBroken = errors.New(
	"certificates contradict a committed entry: more than f voters are faulty")

// Core is the protocol of one voter. It computes only; see the package comment.
type Core struct {
	cfg     Config
	id      NodeID
	cluster Digest
	gate    *Verifier // what changes up to the commit index have made of the genesis

	// What HardState keeps, and the durable chain. Changed by enterTerm, giveVote, setLock and
	// makeAck alone.
	term   Term
	vote   VoteRecord
	lock   Lock
	lockQC *quorumcert.QC
	mark   Lock
	proof  TermProof
	log    chain

	// commit is the committed position; commitTerm the term of the certificate that showed it.
	commit     Position
	commitTerm Term
	commitCert *quorumcert.Commit

	// What is known of the current term; enterTerm forgets it.
	election   *quorumcert.EC // the leader's certificate, once known
	baseQC     *quorumcert.QC
	lastAck    quorumcert.SignedAck // newest own ack, Term 0 for none
	toAck      []proposal           // positions to ack in the next Ready, ascending
	ecShown    Set                  // leader: who was sent the election certificate
	startTip   Index                // leader: the end of its log when it took office
	resigned   bool                 // the leader of this term resigned
	outdated   bool                 // proof is of a configuration that has been replaced
	changedAt  uint64               // tick at which the newest change came into force here
	suspicions quorumcert.Collector
	cause      Cause // why this node suspects the term, 0 if it does not
	grounds    Cause // why it last did: for reasons of its own if it had any, 0 if it never did
	started    bool  // this node was started in this term

	// Time, in ticks.
	now         uint64
	termStart   uint64
	leaderSeen  uint64
	suspectedAt uint64
	calmSince   uint64
	decidedAt   uint64 // tick since which what is locked waits for a commit
	blamed      int    // terms since the newest commit that this node suspected for that
	waited      uint64 // for how long a client's request has waited, in ticks
	starved     int    // terms that this node suspected for that
	easySince   uint64 // tick since which none has waited for half of what is put up with
	backoff     int
	slow        bool
	announceNow bool // a heartbeat passed with a lock that was not announced

	peers   [quorumcert.MaxVoters + 1]peer
	gather  *gather
	pending *quorumcert.QC // a certificate above the lock whose entries are not here yet

	soughtOf        NodeID // whose ack was last looked into for an unknown position
	lastAskedCommit Index  // commit index when catch-up was last considered
	catchUpPeer     NodeID // whom it asked last

	stable *quorumcert.Stable // the newest certified checkpoint, nil for none
	wanted Index              // of the one that this node writes, 0 for none

	faulty   Set // voters proven faulty
	evidence []quorumcert.Evidence
	broken   error
	forgot   bool // it was shown what it signed and does not know of (J7)

	out   Ready
	dirty bool // the hard state changed since the last Ready
}

// proposal is a position to ack; block is set when this node, as leader, has just made it.
type proposal struct {
	at    Position
	block *Block
}

// peer is what a node knows of a voter, itself included. Everything in it is bounded.
type peer struct {
	acks        []quorumcert.SignedAck // of the current term, ascending by index, at most maxAcks
	claim       quorumcert.SignedAck   // the one with the highest certified index on the own chain
	vote        quorumcert.SignedVote  // newest of the current term
	status      Status                 // newest
	heardAt     uint64                 // tick at which it came
	suspectedAt uint64                 // tick of its newest suspicion of the current term
	suspects    bool
	repairedAt  uint64 // tick of the last repair sent
	statusAt    uint64 // tick of the last status sent in answer to it
	resentAt    uint64 // tick of the last proposal repeated to it
	goal        Index  // a commit index it showed that this node has not reached
	goalAt      uint64 // tick since when
	kept        bool   // the last index that it showed was reached in time
	fetched     Position
	served      int                            // fetches answered since the last heartbeat
	servedBytes int                            // bytes of blocks in these answers
	servedAfter Position                       // what it asked for last in this interval
	checkpoints [3]quorumcert.SignedCheckpoint // its highest, ascending; index 0: none
	stableAt    uint64                         // tick at which it was handed the certificate of one
	toldAt      uint64                         // tick at which it was told of changes,
	toldUpTo    Index                          // and up to which entry
	newest      quorumcert.SignedAck           // its highest of any term
	remindFrom  uint64                         // tick from which on it may be shown that again
}

// maxAcks bounds the acks kept of one voter; maxServed and maxServedBytes the fetches answered to
// one voter in a heartbeat interval, the last of which may exceed the bytes.
const (
	maxAcks        = 160
	maxServed      = 8
	maxServedBytes = 2 << 20
)

// NewCore returns a core that goes on from what storage held.
func NewCore(cfg Config, r Restored, reader Reader) (*Core, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	gate, err := cfg.Verifier.Following(r.Changes)
	if err != nil {
		return nil, err
	}
	hs := r.HardState
	c := &Core{
		cfg: cfg, gate: gate, id: cfg.Signer.ID(), cluster: cfg.Cluster,
		term: hs.Term, vote: hs.Vote, lock: hs.Lock, lockQC: hs.LockQC, mark: hs.Mark,
		proof: hs.Proof, commitCert: r.Commit, forgot: hs.Forgot, started: true,
	}
	genesis := Position{0, cfg.Cluster}
	c.commit = genesis
	if r.Commit != nil {
		c.commit = Position{r.Commit.Index, r.Commit.Hash}
		c.commitTerm = r.Commit.Term
	}
	tip, base := r.Tip, r.Base
	if mutant.On(mutant.M27) {
		c.commit = tip
	}
	if mutant.On(mutant.M29) {
		c.lock, c.lockQC = Lock{Hash: cfg.Cluster}, nil
	}
	if c.term == 0 {
		c.term, c.lock = 1, Lock{Hash: cfg.Cluster} // nothing but catch-up so far, if anything
	}
	if tip.Index == 0 {
		tip = genesis
	}
	if base.Index == 0 {
		base = genesis
	}
	c.log = loadChain(genesis, base, tip, c.commit.Index, reader)
	c.backoff = min(int(c.term-max(1, min(c.term, c.commitTerm))), cfg.MaxBackoff)
	if c.commit.Index > c.gate.members.At.Index || c.dismissedBy(c.proof.Commit) {
		c.gate = c.gate.settled()
	}
	c.judgeAgain()
	if !mutant.On(mutant.M163) {
		c.out.Changes = gate.changes[min(len(r.Changes), len(gate.changes)):] // it was told of them
	}
	for _, e := range r.Evidence {
		if c.gate.Accuses(&e) {
			c.condemn(e.Culprit())
			c.evidence = append(c.evidence, e)
		}
	}
	if c.vote.Candidate != 0 {
		c.peers[c.id].vote = c.signVote()
	}
	if c.mark.Term == c.term && !c.silenced() {
		c.lastAck = c.signAck(Position{c.mark.Index, c.mark.Hash})
		c.storeAck(&c.lastAck)
	}
	if c.out.Forgot = c.forgot; !c.forgot {
		c.recallQC(c.lockQC)
		c.recallCommit(r.Commit)
	}
	if c.proof.EC != nil && c.proof.EC.Term == c.term {
		c.takeElection(c.proof.EC, c.proof.BaseQC)
	}
	return c, nil
}

// Step takes a message in and says what became of it.
func (c *Core) Step(v Verified) Drop {
	if c.broken != nil {
		return Stale
	}
	if !c.gate.nodes.Has(v.from) || v.from == c.id {
		return UnknownSender
	}
	if v.by != c.gate.members &&
		(v.by.keyOf(v.from) != c.gate.members.keyOf(v.from) && !mutant.On(mutant.M152) ||
			c.gate.verifyContent(v.msg) != Accepted) {
		return Stale // judged before this node knew of a change
	}
	drop := c.dispatch(v.from, v.msg)
	c.advance()
	c.assertInvariants()
	return drop
}

func (c *Core) dispatch(from NodeID, m Message) Drop {
	switch m := m.(type) {
	case *AppendEntries:
		return c.onAppend(from, m)
	case *AppendEntriesResponse:
		return c.onAck(from, &m.Ack)
	case *Suspect:
		return c.onSuspect(from, m)
	case *RequestVote:
		return c.onRequestVote(from, m)
	case *RequestVoteResponse:
		return c.onVote(from, m)
	case *Proof:
		return c.onProof(from, m)
	case *Status:
		return c.onStatus(from, m)
	case *Resign:
		return c.onResign(from, m)
	case *FetchChain:
		return c.onFetchChain(from, m)
	case *Chain:
		return c.onChain(from, m)
	case *FetchCommitted:
		return c.onFetchCommitted(from, m)
	case *Committed:
		return c.onCommitted(from, m)
	case *Accusation:
		return c.convict(m.Evidence)
	case *Reminder:
		return c.onReminder(&m.Ack)
	case *CheckpointVote:
		return c.onCheckpoint(from, &m.Checkpoint)
	case *StableCheckpoint:
		return c.onStable(m.Stable)
	case *Changes:
		return c.onChanges(m)
	case *FetchState, *StatePart:
		return Unserved // whoever holds the state answers these
	}
	panic("bftraft: message of an unknown type")
}

// advance draws the conclusions of what has changed: locks, then commits.
func (c *Core) advance() {
	c.tryPending()
	c.countCommits()
}

// Tick tells the core that one tick has passed.
func (c *Core) Tick() {
	if c.broken != nil {
		return
	}
	c.now++
	c.tickHeldUp()
	c.tickSuspicion()
	c.tickCampaign()
	c.tickBackoff()
	c.tickPatience()
	if (c.now+uint64(c.id))%uint64(c.cfg.HeartbeatTicks) == 0 && !mutant.On(mutant.M125) {
		c.heartbeat()
	}
	c.advance()
	c.assertInvariants()
}

// Ready returns what is to be done, and whether there is anything. The caller does it in the order
// of the fields and then calls Advance; no Step or Tick comes between.
func (c *Core) Ready() (Ready, bool) {
	c.proposeProof()
	c.proposeClosing()
	c.makeAcks()
	c.advance()
	c.announce()
	c.advance()
	if c.dirty {
		hs := c.hardState()
		switch {
		case mutant.On(mutant.M16):
			hs.Vote = VoteRecord{}
		case mutant.On(mutant.M86):
			hs.Mark = Lock{}
		}
		c.out.HardState = &hs
	}
	r := c.out
	some := r.HardState != nil || r.Truncated || len(r.Blocks) > 0 || len(r.Commits) > 0 ||
		len(r.Evidence) > 0 || len(r.Changes) > 0 || r.Accused || r.Forgot || len(r.Stable) > 0 ||
		len(r.Messages) > 0 || len(r.Committed) > 0
	return r, some
}

func (c *Core) hardState() HardState {
	return HardState{
		Term: c.term, Vote: c.vote, Lock: c.lock, LockQC: c.lockQC, Mark: c.mark, Proof: c.proof,
		Forgot: c.forgot && !mutant.On(mutant.M176),
	}
}

// Advance says that the last Ready is done.
func (c *Core) Advance(Ready) {
	c.assertInvariants()
	c.out, c.dirty = Ready{}, false
	c.log.trim(c.commit.Index)
}

// Err returns ErrBroken once the node has seen proof that more than f voters are faulty. It then
// says nothing more.
func (c *Core) Err() error { return c.broken }

func (c *Core) halt() {
	c.broken = ErrBroken
	c.out.Messages = nil
}

// others returns all members but this node: voters, learners, and who is about to leave.
func (c *Core) others() Set { return c.gate.nodes.Without(c.id) }

func (c *Core) send(to Set, class Class, m Message) {
	if e, ok := m.(envelope); ok && e.envelope().From == 0 {
		SignMessage(c.cfg.Signer, c.cluster, m)
	}
	if to = to.Without(c.id); to != 0 {
		c.out.Messages = append(c.out.Messages, Outbound{To: to, Class: class, Msg: m})
	}
}

func (c *Core) sendOne(to NodeID, class Class, m Message) {
	c.send(quorumcert.SetOf(to), class, m)
}

// leading says whether this node leads the current term.
func (c *Core) leading() bool { return c.election != nil && c.election.Leader == c.id }

// electionConfig is the configuration that suspicions and ranks go by (E3): the newest that is
// known to be committed, though the log may not have come so far here.
func (c *Core) electionConfig() *quorumcert.Configuration { return c.configs().Latest() }

// setLock takes a certificate whose entries are on the chain as the lock (N3, A2, E4).
func (c *Core) setLock(l Lock, qc *quorumcert.QC) {
	if !c.log.contains(Position{l.Index, l.Hash}) {
		panic("bftraft: a lock without its entries")
	}
	c.lock, c.lockQC, c.dirty = l, qc, true
	c.recallQC(qc)
}

// replaceSuffix makes the chain end with blocks, the first of which follows a position on the
// chain and is not itself on it. It refuses what would touch a committed entry (A5) or what is
// acked or certified in this term (A4).
func (c *Core) replaceSuffix(blocks []*Block) Drop {
	at := blocks[0].Before()
	switch {
	case !c.log.contains(at):
		return MissingBlocks
	case c.frozen(at.Index) && !mutant.On(mutant.M24):
		return Conflict
	}
	c.switchSuffix(at, blocks)
	return Accepted
}

// takeCommitted is replaceSuffix for blocks proven committed in term t. They may replace what this
// node acked in this term, should its leader have led it, and not the others, astray: but then the
// node acks no more in this term, since it would look like an equivocator (K1).
func (c *Core) takeCommitted(blocks []*Block, t Term) Drop {
	at := blocks[0].Before()
	switch {
	case !c.log.contains(at):
		return MissingBlocks
	case at.Index < c.commit.Index:
		return Conflict
	case at.Index < c.lock.Index && c.lock.Term >= t && !c.inForce(blocks[len(blocks)-1].Last()):
		return Conflict // perhaps of those whose keys were stolen since (J5)
	case at.Index < c.lock.Index && (c.lock.Term >= t || mutant.On(mutant.M127)):
		c.halt() // a certificate that contradicts a commit of no later term (A5)
		return Conflict
	}
	c.switchSuffix(at, blocks)
	if c.silenced() {
		c.hush()
	}
	return Accepted
}

// hush forgets what this node acked last, and no message of it leaves any more.
func (c *Core) hush() {
	c.lastAck = quorumcert.SignedAck{}
	c.out.Messages = slices.DeleteFunc(c.out.Messages, saysAck)
}

// saysAck says whether a message repeats an ack of its sender.
func saysAck(o Outbound) bool {
	switch o.Msg.(type) {
	case *AppendEntries, *AppendEntriesResponse:
		return true
	}
	return false
}

// silenced says whether this node has left a chain that it acked in this term.
func (c *Core) silenced() bool {
	return c.mark.Term == c.term && !mutant.On(mutant.M112) &&
		!c.log.contains(Position{c.mark.Index, c.mark.Hash})
}

// switchSuffix makes the chain end with blocks behind at.
func (c *Core) switchSuffix(at Position, blocks []*Block) {
	if at.Index < c.log.tip.Index {
		c.log.truncate(at)
		c.cutPending(at.Index)
		c.recount()
	}
	c.log.append(blocks)
	c.out.Blocks = append(c.out.Blocks, blocks...)
}

// frozen says whether what follows index i is committed, or acked or certified in this term.
func (c *Core) frozen(i Index) bool {
	return i < c.commit.Index ||
		c.mark.Term == c.term && i < c.mark.Index && !mutant.On(mutant.M117) ||
		c.lock.Term == c.term && i < c.lock.Index && !mutant.On(mutant.M11)
}

// cutPending keeps the Ready that is being made in step with a truncation.
func (c *Core) cutPending(at Index) {
	if !c.out.Truncated || at < c.out.Truncate {
		c.out.Truncated, c.out.Truncate = true, at
	}
	k := len(c.out.Blocks)
	for k > 0 && c.out.Blocks[k-1].Last() > at {
		k--
	}
	c.out.Blocks = c.out.Blocks[:k]
	k = len(c.toAck)
	for k > 0 && c.toAck[k-1].at.Index > at {
		k--
	}
	c.toAck = c.toAck[:k]
}

// beyond returns the blocks from the first that is not on the chain. One that ends below the base
// has no say in it: whether it belongs there, the blocks behind it tell.
func (c *Core) beyond(blocks []*Block) []*Block {
	for len(blocks) > 0 && (c.log.below(blocks[0].Last()) || c.log.contains(blocks[0].End())) {
		blocks = blocks[1:]
	}
	return blocks
}

// roomFor says whether blocks after at keep within what is held beyond the commit index.
func (c *Core) roomFor(at Index, blocks []*Block) bool {
	count, bytes := len(blocks), 0
	for _, b := range blocks {
		bytes += len(b.raw)
	}
	for k := len(c.log.tail) - 1; k >= 0 && c.log.tail[k].Last() > c.commit.Index; k-- {
		if c.log.tail[k].Last() <= at {
			count++
			bytes += len(c.log.tail[k].raw)
		}
	}
	return mutant.On(mutant.M50) || count <= 2*c.cfg.MaxUncommitted &&
		bytes <= 2*c.cfg.MaxUncommittedBytes
}
