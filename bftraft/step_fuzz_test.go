package bftraft

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/quorumcert"
)

// FuzzStep lets bytes choose what voters 2, 3 and 4 say to voter 1, what they certify, when time
// passes and when power goes. All three lie together, so anything that their keys can sign may
// come, and the node may stop (A5); but it must not panic, must hold bounded memory, must not sign
// two acks for one place or two candidates' votes in a term, and must flush before it signs.
func FuzzStep(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 24 {
		seed := make([]byte, 60+rng.IntN(500))
		for i := range seed {
			seed[i] = byte(rng.Uint32())
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4096 {
			t.Skip("long enough")
		}
		newFuzzRun(t, data).run()
	})
}

// fuzzRun is one core and the bytes that drive it.
type fuzzRun struct {
	*lab
	data   []byte
	blocks []*Block
	places []Position
	terms  Term // no term above it is signed
}

func newFuzzRun(t *testing.T, data []byte) *fuzzRun {
	l := newLabWith(t, 1, func(_ *lab, c *Config) { c.MaxUncommitted = 8 })
	l.mayStop = true
	return &fuzzRun{lab: l, data: data, places: []Position{l.origin()}, terms: 3}
}

// next returns a number below n.
func (r *fuzzRun) next(n int) int {
	if len(r.data) == 0 {
		return 0
	}
	b := r.data[0]
	r.data = r.data[1:]
	return int(b) % n
}

func (r *fuzzRun) run() {
	for len(r.data) > 0 && r.m.core.Err() == nil {
		switch r.next(16) {
		case 0:
			r.wait(1 + r.next(40))
		case 1:
			r.grow()
		case 2:
			r.lab.crash(r.m, r.next(4))
			r.start(r.m)
		case 3:
			if r.m.core.Room() {
				r.m.core.Propose([]Entry{r.entry("own")})
				r.learn(r.m.core.Uncommitted())
				r.work(r.m)
			}
		case 4:
			r.m.core.starve(r.next(2) == 0)
		default:
			if m := r.message(); m != nil {
				r.say(NodeID(2+r.next(3)), m)
			}
		}
		r.bounded()
		r.sent = nil
	}
}

// grow makes a block behind any place.
func (r *fuzzRun) grow() {
	entries := []Entry{r.entry("a")}
	for range r.next(3) {
		entries = append(entries, r.entry("b"))
	}
	if r.next(16) == 0 {
		entries[0].Kind = EntryCommit
	}
	r.learn([]*Block{NewBlock(r.place(), entries)})
}

func (r *fuzzRun) learn(blocks []*Block) {
	for _, b := range blocks {
		if len(r.blocks) < 60 {
			r.blocks, r.places = append(r.blocks, b), append(r.places, b.End())
		}
	}
}

func (r *fuzzRun) place() Position { return r.places[r.next(len(r.places))] }

func (r *fuzzRun) term() Term {
	t := Term(1 + r.next(int(r.terms)))
	if r.next(40) == 0 && r.terms < 12 {
		r.terms++
	}
	if r.next(2) == 0 {
		return r.m.core.Term()
	}
	return t
}

func (r *fuzzRun) lock() (Lock, *quorumcert.QC) {
	at := r.place()
	if at.Index == 0 {
		return r.genesisLock(), nil
	}
	qc := r.qc(r.term(), at)
	return qc.Lock, qc
}

// chain returns up to n blocks that end at a place.
func (r *fuzzRun) chain(n int) []*Block {
	var list []*Block
	at := r.place()
	for range n {
		found := false
		for _, b := range r.blocks {
			if b.End() == at && !found {
				list, at, found = append([]*Block{b}, list...), b.Before(), true
			}
		}
	}
	return list
}

func (r *fuzzRun) message() Message {
	at := r.place()
	who := NodeID(2 + r.next(3))
	switch r.next(12) {
	case 0, 1, 2:
		blocks := r.chain(r.next(4))
		if len(blocks) > 0 {
			at = blocks[len(blocks)-1].End()
		}
		m := &AppendEntries{Blocks: blocks, Ack: r.ack(who, r.term(), at, 0)}
		if r.next(2) == 0 {
			m.Election, m.BaseQC = r.election(m.Ack.Term, who)
		}
		r.say(who, m)
		return nil
	case 3, 4:
		r.say(who, r.response(who, r.term(), at, Index(r.next(int(at.Index)+1))))
		return nil
	case 5:
		r.say(who, r.suspect(who, r.term()))
		return nil
	case 6:
		lock, _ := r.lock()
		r.say(who, r.vote(who, r.term(), NodeID(1+r.next(4)), lock))
		return nil
	case 7:
		m := &RequestVote{Term: r.term()}
		m.Lock, m.LockQC = r.lock()
		if m.Term > 1 {
			m.TC = r.tc(m.Term - 1)
		}
		return m
	case 8, 9:
		return r.proof()
	}
	return r.other(at)
}

func (r *fuzzRun) election(t Term, leader NodeID) (*quorumcert.EC, *quorumcert.QC) {
	lock, qc := r.lock()
	return r.ec(t, leader, lock), qc
}

func (r *fuzzRun) proof() Message {
	m, parts := &Proof{}, r.next(16)
	if parts&1 != 0 {
		m.TC = r.tc(r.term())
	}
	if parts&2 != 0 {
		m.EC, m.BaseQC = r.election(r.term(), NodeID(1+r.next(4)))
	}
	if parts&4 != 0 {
		_, m.QC = r.lock()
	}
	if at := r.place(); parts&8 != 0 && at.Index > 0 {
		m.Commit = r.commit(r.term(), at)
	}
	return m
}

func (r *fuzzRun) other(at Position) Message {
	switch r.next(7) {
	case 0:
		m := &Status{Term: r.term(), Leader: NodeID(r.next(5)), Tip: at, Commit: r.place(),
			Acked: Index(r.next(20)), Behind: r.next(2) == 0}
		m.Lock, _ = r.lock()
		return m
	case 1:
		return &FetchChain{Target: at, Above: Index(r.next(8))}
	case 2:
		return &FetchCommitted{After: at}
	case 3, 4:
		m := &Chain{Blocks: r.chain(1 + r.next(6))}
		if n := len(m.Blocks); n > 0 && r.next(2) == 0 {
			a := r.ack(NodeID(2+r.next(3)), r.term(), m.Blocks[n-1].End(), 0)
			m.LeaderAck = &a
		}
		return m
	case 5:
		m := &Committed{Blocks: r.chain(1 + r.next(6))}
		if len(m.Blocks) == 0 {
			return nil
		}
		m.Commit = r.commit(r.term(), m.Blocks[len(m.Blocks)-1].End())
		_, m.LockQC = r.lock()
		return m
	}
	return &Resign{Term: r.term()}
}

// bounded checks that nothing a peer says can make the node hold much.
func (r *fuzzRun) bounded() {
	c := r.m.core
	limit := 2 * c.cfg.MaxUncommitted
	require.LessOrEqual(r.t, len(c.Uncommitted()), limit, "blocks beyond the commit index")
	if c.gather != nil {
		require.LessOrEqual(r.t, len(c.gather.blocks), limit, "blocks gathered aside")
	}
	for id := range c.peers {
		require.LessOrEqual(r.t, len(c.peers[id].acks), maxAcks)
	}
	require.LessOrEqual(r.t, len(c.evidence), 4, "one proof a voter")
	require.LessOrEqual(r.t, len(r.sent), 400, "messages in answer to one")
}

// The same without a fuzzer's help, for every run of the tests.
func TestStepSurvivesWhateverTheOthersSign(t *testing.T) {
	rng, seed := seededRand(t)
	for k := range 300 {
		data := make([]byte, 200+rng.IntN(2500))
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		func() {
			defer func() {
				if p := recover(); p != nil {
					t.Fatalf("repeat with -seed %d, run %d: %v", seed, k, p)
				}
			}()
			newFuzzRun(t, data).run()
		}()
	}
}
