package plainraft

import (
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"tangaroa/crypto"
	"tangaroa/p2p"
)

// send sends messages, in the class in which ours sends.
func (n *Node) send(messages []*pb.Message) {
	for _, m := range messages {
		if n.cfg.Lie == nil {
			n.sendOne(m)
			continue
		}
		for _, false := range n.cfg.Lie.Send(n, m) {
			n.sendOne(false)
		}
	}
}

func (n *Node) sendOne(m *pb.Message) {
	frame, err := proto.Marshal(m)
	if err != nil {
		panic("plainraft: a message has no encoding: " + err.Error())
	}
	n.count(frame)
	n.host.Send(crypto.NodeID(m.GetTo()), p2p.Consensus, frame)
}

func (n *Node) reply(conn p2p.ConnID, frame []byte) {
	n.count(frame)
	n.host.ReplyClient(conn, frame)
}

func (n *Node) count(frame []byte) {
	n.Frames.Add(1)
	n.Bytes.Add(uint64(len(frame)))
}

// apply executes a committed entry and answers who waits for it here.
func (n *Node) apply(e *pb.Entry) {
	n.applied.Store(e.GetIndex())
	if len(e.GetData()) == 0 {
		return
	}
	n.Blocks.Add(1)
	_, sequence, rest, err := decodeHead(e.GetData())
	if err != nil {
		return
	}
	ops, err := decodeList(rest)
	if err != nil {
		return
	}
	results := make([][]byte, len(ops))
	for i, op := range ops {
		results[i] = n.machine.Apply(e.GetIndex(), op)
	}
	if a, ok := n.askers[sequence]; ok {
		delete(n.askers, sequence)
		n.reply(a.conn, encodeList(frameAnswer, sequence, results))
	}
}

// answerReads answers what the state has become new enough for.
func (n *Node) answerReads() {
	kept := n.reads[:0]
	for _, w := range n.reads {
		if w.index > n.Applied() {
			kept = append(kept, w)
			continue
		}
		answers := make([][]byte, len(w.queries))
		for i, q := range w.queries {
			answers[i] = n.machine.Query(q)
		}
		n.reply(w.asker.conn, encodeList(frameAnswer, w.asker.sequence, answers))
	}
	clear(n.reads[len(kept):])
	n.reads = kept
}

// silent is a logger of the raft library that says nothing. What is fatal to it is to us.
type silent struct{}

func (silent) Debug(...any)            {}
func (silent) Debugf(string, ...any)   {}
func (silent) Error(...any)            {}
func (silent) Errorf(string, ...any)   {}
func (silent) Info(...any)             {}
func (silent) Infof(string, ...any)    {}
func (silent) Warning(...any)          {}
func (silent) Warningf(string, ...any) {}
func (silent) Fatal(v ...any)          { panic(v) }
func (silent) Fatalf(f string, v ...any) {
	panic(append([]any{f}, v...))
}
func (silent) Panic(v ...any) { panic(v) }
func (silent) Panicf(f string, v ...any) {
	panic(append([]any{f}, v...))
}
