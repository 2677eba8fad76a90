// Impostor passes on what other members have said as if it were their link, and signs messages in
// names that are not its own, among them some that no member has. Or, as leader, it proposes blocks
// of its own behind those of the leader, in its own name. A protocol that goes by the name in a
// message, or by the link alone, counts it several times; one that follows whoever proposes has two
// leaders. Who signs must be who the link says (Drop wrong_sender), must be a member, and whoever
// proposes must have been elected (Drop not_leader). A stranger without a member's key does not get
// as far as this: the handshake refuses it.

package adversary

import (
	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

var impostor = Attack{
	Name: "impostor", Does: "speaks in the names of others, members and not",
	Caught:  "who signs must be who the link says, and a member",
	Drops:   []bftraft.Drop{bftraft.WrongSender, bftraft.BadSignature, bftraft.NotLeader},
	Options: []Option{word("as", "whose part it takes", "others", "leader")},
	make:    func(v *values) Behaviour { return &imposture{leads: v.word("as") == "leader"} },
}

type imposture struct {
	Honest
	leads bool
}

func (i *imposture) Inbound(e *Env, v bftraft.Verified) bool {
	if i.leads {
		m, ok := v.Message().(*bftraft.AppendEntries)
		if ok && len(m.Blocks) > 0 && v.From() == e.Core.Leader() {
			i.usurp(e, m)
		}
		return true
	}
	if e.Random.Below(4) == 0 {
		e.Raw(e.Others(), bftraft.ClassConsensus, bftraft.Encode(v.Message()))
	}
	return true
}

// usurp proposes a block behind the one that the leader has just proposed.
func (*imposture) usurp(e *Env, m *bftraft.AppendEntries) {
	last := m.Blocks[len(m.Blocks)-1]
	b := bftraft.NewBlock(last.End(), last.Entries())
	e.Send(e.Others(), bftraft.ClassConsensus, &bftraft.AppendEntries{
		Blocks: []*bftraft.Block{b}, Ack: e.ack(quorumcert.Ack{
			Cluster: e.Cluster(), Term: m.Ack.Term, Index: b.Last(), Hash: b.Hash(),
		}),
	})
}

// Outbound keeps back the acks that would show what it is up to.
func (i *imposture) Outbound(e *Env, honest []bftraft.Outbound) []bftraft.Outbound {
	if !i.leads || e.leading() {
		return honest
	}
	return without(honest, func(m bftraft.Message) bool {
		_, ack := m.(*bftraft.AppendEntriesResponse)
		return ack
	})
}

// Tick says something in the name of each other member and of nobody.
func (i *imposture) Tick(e *Env) {
	if e.Now%10 != 0 || i.leads {
		return
	}
	t := e.Core.Term()
	others := e.Others()
	victim := others.Members()[e.Random.Below(others.Len())]
	for _, name := range []crypto.NodeID{victim, crypto.MaxNodeID} {
		lie := e.suspect(t)
		lie.Signer = name
		e.Send(others, bftraft.ClassConsensus, lie)
		e.Send(others, bftraft.ClassConsensus, &bftraft.AppendEntriesResponse{
			Ack: quorumcert.SignedAck{
				Ack:    quorumcert.Ack{Cluster: e.Cluster(), Term: t, Index: 1},
				Signer: name, Sig: lie.Sig,
			},
		})
	}
	// With its own key's signature, but not in its own name, and the other way round.
	status := &bftraft.Status{Term: t, Tip: e.tip(), Commit: e.Core.Commit()}
	bftraft.SignMessage(masked{e.Options.Core.Signer, victim}, e.Cluster(), status)
	e.Raw(others, bftraft.ClassConsensus, bftraft.Encode(status))
	frame := bftraft.Encode(e.sign(status))
	frame[len(frame)-1] ^= 1
	e.Raw(others, bftraft.ClassConsensus, frame)
}

// masked is a key that goes by another name.
type masked struct {
	crypto.Signer
	name crypto.NodeID
}

// ID implements crypto.Signer.
func (m masked) ID() crypto.NodeID { return m.name }
