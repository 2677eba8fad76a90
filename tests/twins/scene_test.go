package twins

import (
	"fmt"

	"tangaroa/bftraft"
	"tangaroa/bftraft/store"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
	"tangaroa/tests/fake"
)

const voters = 4

// stage is what all scenarios share: keys, genesis, and requests to propose.
type stage struct {
	ids      []bftraft.NodeID // of the processes: 1, 2, 3, 4, and again those that run twice
	twins    bftraft.Set
	keys     []fake.Key
	verifier *bftraft.Verifier
	requests [][]bftraft.Entry // by process, one for each round
	proofs   [][]byte          // by term: that it has begun
}

type signer struct {
	fake.Key
	id bftraft.NodeID
}

func (s signer) ID() bftraft.NodeID { return s.id }

const rounds = 3

// newStage makes a cluster in which the first twins voters run twice.
func newStage(twins int) *stage {
	scheme := fake.NewScheme()
	s := &stage{}
	g := &bftraft.Genesis{Name: "twins", Nonce: crypto.Digest{1}, Testnet: true}
	for id := bftraft.NodeID(1); id <= voters; id++ {
		key := scheme.Key(1, uint64(id))
		s.keys, s.ids = append(s.keys, key), append(s.ids, id)
		g.Voters = append(g.Voters, quorumcert.Voter{ID: id, Key: key.Public()})
	}
	for id := range bftraft.NodeID(twins) {
		s.ids, s.twins = append(s.ids, id+1), s.twins.With(id+1)
	}
	client := scheme.Key(2, 1)
	g.Clients = []bftraft.Enrolled{{Name: "client", Key: client.Public()}}
	var err error
	if s.verifier, err = bftraft.NewVerifier(scheme, g); err != nil {
		panic(err)
	}
	for i := range s.ids {
		var own []bftraft.Entry
		for round := range rounds + 1 {
			own = append(own, bftraft.SignRequest(s.verifier.Cluster(), client, uint64(i+1),
				uint64(round+1), [][]byte{{byte(i), byte(round)}}).Entry())
		}
		s.requests = append(s.requests, own)
	}
	return s
}

// begun returns the frame, from some voter, that proves that term t has begun.
func (s *stage) begun(t bftraft.Term) []byte {
	for bftraft.Term(len(s.proofs)) <= t {
		term := bftraft.Term(len(s.proofs))
		var frame []byte
		if term > 1 {
			st := quorumcert.Suspicion{Cluster: s.verifier.Cluster(), Term: term - 1}
			tc := &quorumcert.TC{Term: term - 1}
			for i, key := range s.keys {
				id := bftraft.NodeID(i + 1)
				tc.Signers = tc.Signers.With(id)
				tc.Sigs = append(tc.Sigs, quorumcert.Sign(signer{key, id}, st))
			}
			m := &bftraft.Proof{TermProof: bftraft.TermProof{TC: tc}}
			bftraft.SignMessage(signer{s.keys[voters-1], voters}, s.verifier.Cluster(), m)
			frame = bftraft.Encode(m)
		}
		s.proofs = append(s.proofs, frame)
	}
	return s.proofs[t]
}

// process is one core with its disk.
type process struct {
	*bftraft.Core
	id     bftraft.NodeID
	disk   *store.Memory
	blocks []bftraft.Position // committed, in order
}

// scene is one scenario as it goes.
type scene struct {
	*stage
	processes []*process
	group     []int // of each process, in this round
	wire      []packet
	seen      seen
}

// seen counts what happened, so that a run in which nothing did is noticed.
type seen struct {
	Commits   [rounds + 1]int
	BothLed   int
	Convicted int
}

type packet struct {
	from int
	to   bftraft.Set
	v    bftraft.Verified
}

func (s *stage) open() *scene {
	c := &scene{stage: s, group: make([]int, len(s.ids))}
	for i, id := range s.ids {
		key := s.keys[id-1]
		cfg := bftraft.DefaultConfig()
		cfg.Cluster, cfg.Verifier = s.verifier.Cluster(), s.verifier
		cfg.Signer, cfg.Seed = signer{key, id}, uint64(i)
		disk := store.NewMemory(store.Identity{Cluster: cfg.Cluster, Node: id, Key: key.Public()})
		restored, err := disk.Load()
		if err != nil {
			panic(err)
		}
		core, err := bftraft.NewCore(cfg, restored, disk)
		if err != nil {
			panic(err)
		}
		c.processes = append(c.processes, &process{Core: core, id: id, disk: disk})
	}
	return c
}

func (c *scene) honest(p *process) bool { return !c.twins.Has(p.id) }

// play plays a scenario and returns what was wrong with it.
func (c *scene) play(leaders, partitions []int) error {
	for round := range leaders {
		for i := range c.group {
			c.group[i] = partitions[round] >> i & 1
		}
		if err := c.round(round, bftraft.NodeID(leaders[round]+1)); err != nil {
			return fmt.Errorf("round %d: %w", round+1, err)
		}
	}
	clear(c.group)
	for range 2 * voters { // leaders that a twin's lock or conviction keeps from office are passed
		before := c.lowest()
		if err := c.round(rounds, voters); err != nil {
			return fmt.Errorf("at the end: %w", err)
		}
		if c.lowest() > before {
			return nil
		}
	}
	return fmt.Errorf("no progress on a whole network: %d committed", c.lowest())
}

// lowest returns the lowest commit index of the honest.
func (c *scene) lowest() bftraft.Index {
	low := ^bftraft.Index(0)
	for _, p := range c.processes {
		if c.honest(p) {
			low = min(low, p.Commit().Index)
		}
	}
	return low
}

// round lets all enter the next term of a leader, which campaigns and proposes.
func (c *scene) round(k int, leader bftraft.NodeID) error {
	term := bftraft.Term(0)
	for _, p := range c.processes {
		term = max(term, p.Term())
	}
	for term++; bftraft.NodeID(term%voters)+1 != leader; term++ {
	}
	for t := range term + 1 {
		c.begun(t)
	}
	from := bftraft.NodeID(voters)
	v, drop := c.verifier.Verify(from, c.begun(term))
	if drop != bftraft.Accepted {
		panic("twins: a proof that is none: " + drop.String())
	}
	for _, p := range c.processes {
		if p.id == from {
			continue
		}
		p.Step(v)
	}
	// The voter in whose name the proof came needs it from another.
	c.enter(c.processes[voters-1], term)
	before := c.lowest()
	for _, p := range c.processes {
		p.Tick()
	}
	if err := c.settle(); err != nil {
		return err
	}
	led := 0
	for i, p := range c.processes {
		if p.Room() {
			led++
			p.Propose([]bftraft.Entry{c.requests[i][min(k, rounds)]})
		}
	}
	if led > 1 {
		c.seen.BothLed++
	}
	if err := c.settle(); err != nil {
		return err
	}
	// A heartbeat each, for what is repaired by it.
	for range 10 {
		for _, p := range c.processes {
			p.Tick()
		}
		if err := c.settle(); err != nil {
			return err
		}
	}
	if c.lowest() > before {
		c.seen.Commits[k]++
	}
	return c.judge()
}

// enter gives the voter in whose name proofs come the same proof from another one.
func (c *scene) enter(p *process, term bftraft.Term) {
	m, drop := bftraft.DecodeMessage(c.begun(term))
	if drop != bftraft.Accepted {
		panic("twins: a proof that is none")
	}
	proof := &bftraft.Proof{TermProof: m.(*bftraft.Proof).TermProof}
	other := bftraft.NodeID(voters - 1)
	bftraft.SignMessage(signer{c.keys[other-1], other}, c.verifier.Cluster(), proof)
	v, drop := c.verifier.Verify(other, bftraft.Encode(proof))
	if drop != bftraft.Accepted {
		panic("twins: a proof that is none")
	}
	p.Step(v)
}

// settle delivers until nothing is on its way.
func (c *scene) settle() error {
	for i := range c.processes {
		if err := c.flush(i); err != nil {
			return err
		}
	}
	for len(c.wire) > 0 {
		p := c.wire[0]
		c.wire = c.wire[1:]
		for i, to := range c.processes {
			if i == p.from || !p.to.Has(to.id) || c.group[i] != c.group[p.from] {
				continue
			}
			to.Step(p.v)
			if err := c.flush(i); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush does what a process wants done.
func (c *scene) flush(i int) error {
	p := c.processes[i]
	for {
		r, some := p.Ready()
		if !some {
			return nil
		}
		if err := p.disk.Save(&r); err != nil {
			return err
		}
		for _, m := range r.Messages {
			v, drop := c.verifier.Verify(p.id, bftraft.Encode(m.Msg))
			if drop != bftraft.Accepted {
				return fmt.Errorf("process %d sends a %s that is dropped: %s", i,
					bftraft.MessageName(m.Msg), drop)
			}
			c.wire = append(c.wire, packet{i, m.To, v})
		}
		for _, cc := range r.Commits {
			if err := c.certified(p, cc); err != nil {
				return err
			}
		}
		for _, b := range r.Committed {
			p.blocks = append(p.blocks, b.End())
		}
		p.Advance(r)
		if err := p.Err(); err != nil && c.honest(p) {
			return fmt.Errorf("process %d: %w", i, err)
		}
	}
}

// certified judges a commit certificate by counting whose signatures of what are in it.
func (c *scene) certified(p *process, cc *quorumcert.Commit) error {
	configuration := c.verifier.Configurations().For(cc.Index)
	if err := cc.Verify(c.verifier.Cluster(), configuration); err != nil {
		return fmt.Errorf("voter %d commits %d by a certificate that does not verify: %w", p.id,
			cc.Index, err)
	}
	if n := len(cc.Signers.Members()); n < voters-1 {
		return fmt.Errorf("voter %d commits %d with %d signers", p.id, cc.Index, n)
	}
	return nil
}

// judge compares what the honest have committed, and looks at whom they accuse.
func (c *scene) judge() error {
	var longest *process
	for _, p := range c.processes {
		if c.honest(p) && (longest == nil || len(p.blocks) > len(longest.blocks)) {
			longest = p
		}
	}
	for _, p := range c.processes {
		if !c.honest(p) {
			continue
		}
		for i, at := range p.blocks {
			if at != longest.blocks[i] {
				return fmt.Errorf("S1: voters %d and %d have committed different blocks at entry %d",
					p.id, longest.id, at.Index)
			}
		}
		s := p.State()
		if s.Faulty&^c.twins != 0 {
			return fmt.Errorf("B13: voter %d accuses %v", p.id, s.Faulty.Members())
		}
		if s.Faulty != 0 {
			c.seen.Convicted++
		}
	}
	return nil
}
