package bftraft

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"tangaroa/quorumcert"
)

// TestStories plays the files in testdata/stories. Write them anew with -rewrite. A story is told
// in these commands; what comes out is who sent what to whom (statuses are left out), what was not
// accepted (duplicates are left out), and who committed what.
//
//	cluster [inflight=N]        four nodes start; node 2 has rank 0 in term 1
//	run TICKS [quiet]           time passes for all, messages take one tick
//	until leader|term=T|commit=I [limit=TICKS] [quiet]
//	tick TICKS NODES            time passes for some; nothing is delivered
//	deliver [quiet]             everything on its way arrives, and what comes of it
//	propose NODE OP...          the leader makes a block, which is on its way then
//	drop A->B... [KIND]         frames from A to B are lost from now on; * is everybody
//	lose                        what is on its way is lost
//	heal                        nothing is lost any more
//	crash NODES, restart NODES  power goes and comes back
//	starve NODES                clients of these nodes wait too long
//	resign NODE                 the leader wants to be replaced
//	turn NODE                   the node's core stops, and the story has its key
//	equivocate NODE TO:OP...    it leads, and proposes different blocks to different nodes
//	claim NODE like=NODE c=I TO it acks what another node has, and claims that I is certified
//	state                       where everybody is
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata/stories", func(t *testing.T, path string) {
		s := &story{}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			return s.play(t, d)
		})
	})
}

type story struct {
	*harness
	out   strings.Builder
	last  Message // what the line that is being written is about
	lost  []lostLink
	quiet bool

	// Commits that wait to be written, so that many of one node become one line.
	by     NodeID
	blocks []*Block
}

type lostLink struct {
	from, to NodeID // 0 is everybody
	kind     string // empty is all
}

func (s *story) play(t *testing.T, d *datadriven.TestData) string {
	s.out.Reset()
	s.last, s.quiet = nil, d.HasArg("quiet")
	if d.Cmd == "cluster" {
		s.begin(t, d)
	}
	s.t = t
	words := plain(d)
	switch d.Cmd {
	case "cluster":
	case "run":
		s.ticks(number(t, words[0]), nil)
	case "until":
		s.until(t, d)
	case "tick":
		s.tickSome(number(t, words[0]), nodes(t, words[1:]))
	case "deliver":
		s.flush()
	case "propose":
		s.proposeAll(t, nodes(t, words[:1])[0], words[1:])
	case "drop", "lose", "heal":
		s.network(t, d.Cmd, words)
	case "state":
		s.state()
	default:
		s.trouble(t, d, words)
	}
	s.line("")
	if s.out.Len() == 0 {
		return "ok\n"
	}
	return s.out.String()
}

// trouble plays the commands that make nodes fail.
func (s *story) trouble(t *testing.T, d *datadriven.TestData, words []string) {
	switch d.Cmd {
	case "equivocate":
		s.equivocate(t, words)
		return
	case "claim":
		s.claim(t, d, words)
		return
	}
	for _, id := range nodes(t, words) {
		m := s.node(id)
		switch d.Cmd {
		case "crash":
			s.crash(m, 0)
		case "restart":
			s.start(m)
		case "starve":
			m.core.starve(true)
		case "resign":
			m.core.Resign()
			s.work(m)
		case "turn":
			s.crash(m, len(m.unsynced))
			m.honest = false
		default:
			d.Fatalf(t, "unknown command")
		}
	}
}

func (s *story) begin(t *testing.T, d *datadriven.TestData) {
	s.lost = nil
	s.harness = newHarness(t, 4, func(c *Config) {
		d.MaybeScanArgs(t, "inflight", &c.MaxInflight)
	})
	s.route, s.heard, s.committed = s.post, s.tell, s.tellCommit
}

// post writes down what is sent and puts it on its way.
func (s *story) post(f frame) {
	if f.msg.kind() != kindStatus && !s.quiet {
		if s.last != f.msg {
			s.line("")
			s.last = f.msg
			fmt.Fprintf(&s.out, "%d: %s to", f.from, describe(f.msg))
		}
		fmt.Fprintf(&s.out, " %d", f.to)
	}
	for _, l := range s.lost {
		if (l.from == 0 || l.from == f.from) && (l.to == 0 || l.to == f.to) &&
			(l.kind == "" || l.kind == MessageName(f.msg)) {
			return
		}
	}
	s.put(f)
}

// line ends what is being written and writes another line, if it is not empty.
func (s *story) line(text string) {
	if s.last != nil {
		s.out.WriteByte('\n')
		s.last = nil
	}
	if n := len(s.blocks); n > 0 {
		b := s.blocks[n-1]
		text := fmt.Sprintf("  %d commits %s %s", s.by, place(b.Last(), b.Hash()), ops(b))
		if n > 1 {
			text = fmt.Sprintf("  %d commits %d blocks to %s", s.by, n, place(b.Last(), b.Hash()))
		}
		s.blocks = nil
		s.out.WriteString(text + "\n")
	}
	if text != "" {
		s.out.WriteString(text + "\n")
	}
}

// tell writes down what was not accepted, unless it was merely nothing new.
func (s *story) tell(r received) {
	if s.quiet || r.msg.kind() == kindStatus || s.node(r.to).core == nil {
		return
	}
	if r.drop != Accepted && r.drop != Duplicate {
		s.line(fmt.Sprintf("  %d takes %s of %d as %v", r.to, describe(r.msg), r.from, r.drop))
	}
}

func (s *story) tellCommit(m *member, b *Block) {
	if s.quiet {
		return
	}
	if s.by != m.id || s.last != nil {
		s.line("")
	}
	s.by, s.blocks = m.id, append(s.blocks, b)
}

func (s *story) until(t *testing.T, d *datadriven.TestData) {
	limit, term, commit := 1000, 0, 0
	d.MaybeScanArgs(t, "limit", &limit)
	d.MaybeScanArgs(t, "term", &term)
	d.MaybeScanArgs(t, "commit", &commit)
	begun := s.now
	done := s.ticks(limit, func() bool {
		switch {
		case term > 0:
			return s.inTerm(Term(term))
		case commit > 0:
			return s.allCommitted(Index(commit))
		}
		return s.leader() != 0
	})
	require.True(t, done, "it does not come to that\n%s", s.picture())
	s.line(fmt.Sprintf("after %d ticks", s.now-begun))
}

// inTerm says whether a quorum is in term t or beyond.
func (s *story) inTerm(t Term) bool {
	n := 0
	for _, m := range s.members {
		if m.core != nil && m.core.Term() >= t {
			n++
		}
	}
	return n >= 3
}

func (s *story) tickSome(ticks int, ids []NodeID) {
	for range ticks {
		s.now++
		for _, id := range ids {
			s.core(id).Tick()
			s.work(s.node(id))
		}
	}
}

// flush delivers until nothing is on its way.
func (s *story) flush() {
	for range 50 {
		if len(s.flying) == 0 {
			return
		}
		for i := range s.flying {
			s.flying[i].due = s.now
		}
		s.harness.deliver()
	}
}

// proposeAll proposes one block of ops; "100x" before an operation proposes as many blocks of it,
// as there is room.
func (s *story) proposeAll(t *testing.T, id NodeID, ops []string) {
	times := 1
	if n, found := strings.CutSuffix(ops[0], "x"); found && len(ops) > 1 {
		times, ops = number(t, n), ops[1:]
	}
	for range times {
		require.True(t, s.ticks(100, func() bool { return s.propose(id, ops...) }), "no room")
	}
}

func (s *story) network(t *testing.T, cmd string, words []string) {
	switch cmd {
	case "lose":
		s.flying = nil
		return
	case "heal":
		s.lost = nil
		return
	}
	kind := ""
	if last := words[len(words)-1]; !strings.Contains(last, "->") {
		kind, words = last, words[:len(words)-1]
	}
	for _, w := range words {
		from, to, found := strings.Cut(w, "->")
		require.True(t, found, "%q is no link", w)
		s.lost = append(s.lost, lostLink{end(t, from), end(t, to), kind})
	}
}

// equivocate proposes, in the name of a node that led, blocks that follow its log.
func (s *story) equivocate(t *testing.T, words []string) {
	id := nodes(t, words[:1])[0]
	hard, tip := s.node(id).disk.hard, s.node(id).disk.tip(Position{0, s.cluster})
	for _, w := range words[1:] {
		to, op, found := strings.Cut(w, ":")
		require.True(t, found, "%q names no operation", w)
		b := NewBlock(tip, []Entry{s.entry(op)})
		a := quorumcert.Ack{Cluster: s.cluster, Term: hard.Term, Index: b.Last(), Hash: b.Hash()}
		m := &AppendEntries{Blocks: []*Block{b}, Ack: quorumcert.SignedAck{Ack: a, Signer: id,
			Sig: quorumcert.Sign(fakeSigner{id}, a)}}
		s.sendAs(id, nodes(t, strings.Split(to, ",")), m)
	}
}

func (s *story) claim(t *testing.T, d *datadriven.TestData, words []string) {
	id := nodes(t, words[:1])[0]
	like, c := 0, 0
	d.ScanArgs(t, "like", &like)
	d.ScanArgs(t, "c", &c)
	tip := s.core(NodeID(like)).State().Tip
	a := quorumcert.Ack{Cluster: s.cluster, Term: s.core(NodeID(like)).Term(), Index: tip.Index,
		Hash: tip.Hash, Certified: Index(c)}
	m := &AppendEntriesResponse{quorumcert.SignedAck{Ack: a, Signer: id,
		Sig: quorumcert.Sign(fakeSigner{id}, a)}}
	s.sendAs(id, nodes(t, words[1:]), m)
}

func (s *story) sendAs(id NodeID, to []NodeID, m Message) {
	for _, o := range to {
		s.post(frame{from: id, to: o, msg: m, raw: Encode(m), due: s.now + 1})
	}
}

func (s *story) state() {
	for _, m := range s.members {
		if m.core == nil {
			what := "down"
			if !m.honest {
				what = "dishonest"
			}
			s.line(fmt.Sprintf("%d: %s", m.id, what))
			continue
		}
		v := m.core.State()
		text := fmt.Sprintf("%d: term %d leader %d lock %s mark %s tip %s commit %d", v.ID, v.Term,
			v.Leader, certified(v.Lock), certified(v.Mark), place(v.Tip.Index, v.Tip.Hash),
			v.Commit.Index)
		if v.Suspects != CauseNone {
			text += " suspects: " + v.Suspects.String()
		}
		if v.Faulty != 0 {
			text += " faulty: " + v.Faulty.String()
		}
		s.line(text)
	}
}

// plain returns the words of a command that have no value.
func plain(d *datadriven.TestData) []string {
	var words []string
	for _, a := range d.CmdArgs {
		if len(a.Vals) == 0 && a.Key != "quiet" {
			words = append(words, a.Key)
		}
	}
	return words
}

func number(t *testing.T, w string) int {
	n, err := strconv.Atoi(w)
	require.NoError(t, err)
	return n
}

func nodes(t *testing.T, words []string) []NodeID {
	var ids []NodeID
	for _, w := range words {
		ids = append(ids, NodeID(number(t, w)))
	}
	return ids
}

func end(t *testing.T, w string) NodeID {
	if w == "*" {
		return 0
	}
	return NodeID(number(t, w))
}
