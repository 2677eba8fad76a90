package plainraft

import (
	"fmt"
	"io"
	"sync/atomic"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"tangaroa/bftraft/kv"
	"tangaroa/crypto"
	"tangaroa/p2p"
)

// Truthful is a Lie that changes nothing; the lies embed it.
type Truthful struct {
	// On is set while the member lies.
	On *atomic.Bool
}

// Send implements Lie.
func (Truthful) Send(_ *Node, m *pb.Message) []*pb.Message { return []*pb.Message{m} }

// Propose implements Lie.
func (Truthful) Propose(*Node, p2p.ConnID, []byte) bool { return true }

// Hear implements Lie.
func (Truthful) Hear(*Node, crypto.NodeID, []byte) {}

// Tick implements Lie.
func (Truthful) Tick(*Node) {}

// Leaky hands all that it hears to a third party, and now and then proposes again what a client
// once wrote. Raft knows no client but only bytes that a member proposes, so what was overwritten
// comes back.
type Leaky struct {
	Truthful
	Sink  io.Writer
	ticks int
	old   []*pb.Entry // what clients wrote, the oldest first
}

// The most that a leaky member keeps, and how often it uses it.
const (
	keptLeaks  = 256
	replayEach = 20 // ticks
)

// Hear keeps what clients write.
func (l *Leaky) Hear(_ *Node, _ crypto.NodeID, frame []byte) {
	if !l.On.Load() {
		return
	}
	_, _ = l.Sink.Write(frame)
	m := &pb.Message{}
	if err := proto.Unmarshal(frame, m); err != nil {
		return
	}
	for _, e := range m.GetEntries() {
		if len(e.GetData()) > 0 && len(l.old) < keptLeaks {
			l.old = append(l.old, &pb.Entry{Data: e.GetData()})
		}
	}
}

// Tick proposes the oldest again.
func (l *Leaky) Tick(n *Node) {
	if l.ticks++; !l.On.Load() || l.ticks%replayEach != 0 || len(l.old) == 0 || n.Leader() == 0 {
		return
	}
	to, from := uint64(n.Leader()), uint64(n.cfg.ID)
	n.sendOne(&pb.Message{
		Type: pb.MsgProp.Enum(), To: &to, From: &from, Entries: l.old[:1],
	})
	l.old = l.old[1:]
}

// Disruptive asks for votes in ever higher terms, as one to whom the leader has handed over. Raft
// believes that from any member: the others leave their leader and wait for one who never speaks.
type Disruptive struct {
	Truthful
	ticks int
	term  uint64
}

// disruptEach is how often it does so, in ticks.
const disruptEach = 20

// Send keeps its own part in elections from the others, so that it does not win.
func (d *Disruptive) Send(_ *Node, m *pb.Message) []*pb.Message {
	if d.On.Load() && m.GetType() == pb.MsgApp {
		return nil
	}
	return []*pb.Message{m}
}

// Tick asks.
func (d *Disruptive) Tick(n *Node) {
	if d.ticks++; !d.On.Load() || d.ticks%disruptEach != 0 {
		return
	}
	d.term = max(d.term, n.Term()) + 1
	from, last := uint64(n.cfg.ID), uint64(1)<<40
	for _, v := range n.cfg.Voters {
		if v == n.cfg.ID {
			continue
		}
		to := uint64(v)
		n.sendOne(&pb.Message{
			Type: pb.MsgVote.Enum(), To: &to, From: &from, Term: &d.term, Index: &last,
			LogTerm: &d.term, Context: []byte("CampaignTransfer"),
		})
	}
}

// BadBoss leads. It tells clients that their writes are done without telling anybody of every
// second one, and gives the last of its followers other entries than the rest. Raft has clients
// take the leader's word, and followers too.
type BadBoss struct {
	Truthful
	machine *kv.Machine // makes results that look right
	count   int
}

// Propose answers every second bundle at once and forgets it.
func (b *BadBoss) Propose(n *Node, conn p2p.ConnID, frame []byte) bool {
	if b.count++; !b.On.Load() || b.count%2 == 0 {
		return true
	}
	if b.machine == nil {
		b.machine = kv.New()
	}
	_, sequence, rest, err := decodeHead(frame)
	if err != nil {
		return true
	}
	ops, err := decodeList(rest)
	if err != nil {
		return true
	}
	results := make([][]byte, len(ops))
	for i, op := range ops {
		results[i] = b.machine.Apply(0, op)
	}
	n.reply(conn, encodeList(frameAnswer, sequence, results))
	return false
}

// fromEnd is where in an operation it turns a bit: the value, and not what follows it.
const fromEnd = 8

// Send turns a bit in each write, for one follower.
func (b *BadBoss) Send(n *Node, m *pb.Message) []*pb.Message {
	victim := n.cfg.Voters[len(n.cfg.Voters)-1]
	if victim == n.cfg.ID {
		victim = n.cfg.Voters[0]
	}
	if !b.On.Load() || m.GetType() != pb.MsgApp || m.GetTo() != uint64(victim) {
		return []*pb.Message{m}
	}
	lie := proto.Clone(m).(*pb.Message)
	for _, e := range lie.GetEntries() {
		_, _, rest, err := decodeHead(e.GetData())
		if err != nil {
			continue
		}
		// The list refers to the entry's own bytes.
		ops, _ := decodeList(rest)
		for _, op := range ops {
			if len(op) > fromEnd {
				op[len(op)-fromEnd] ^= 1
			}
		}
	}
	return []*pb.Message{lie}
}

// survive turns a panic of the raft library, which trusts what members say, into an error.
func survive(err *error) {
	if r := recover(); r != nil {
		*err = &panicked{r}
	}
}

// panicked is why a node fell over.
type panicked struct{ what any }

func (p *panicked) Error() string { return fmt.Sprint("the raft library panicked: ", p.what) }

// A lie is one of these.
var (
	_ Lie = (*Leaky)(nil)
	_ Lie = (*Disruptive)(nil)
	_ Lie = (*BadBoss)(nil)
)
