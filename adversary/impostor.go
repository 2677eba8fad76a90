// Impostor passes on what other members have said as if it were their link, and signs messages in
// names that are not its own, among them some that no member has. A protocol that goes by the name
// in a message, or by the link alone, counts it several times. Who signs must be who the link says
// (Drop wrong_sender), and must be a member. A stranger without a member's key does not get as far
// as this: the handshake refuses it.

package adversary

import (
	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

var impostor = Attack{
	Name: "impostor", Does: "speaks in the names of others, members and not",
	Caught: "who signs must be who the link says, and a member",
	Drops:  []bftraft.Drop{bftraft.WrongSender, bftraft.BadSignature},
	make:   func(*values) Behaviour { return &imposture{} },
}

type imposture struct{ Honest }

func (*imposture) Inbound(e *Env, v bftraft.Verified) bool {
	if e.Random.Below(4) == 0 {
		e.Raw(e.Others(), bftraft.ClassConsensus, bftraft.Encode(v.Message()))
	}
	return true
}

// Tick says something in the name of each other member and of nobody.
func (*imposture) Tick(e *Env) {
	if e.Now%10 != 0 {
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
	// In its own name, but not with its own key's signature.
	status := &bftraft.Status{Term: t, Tip: e.tip(), Commit: e.Core.Commit()}
	frame := bftraft.Encode(e.sign(status))
	frame[len(frame)-1] ^= 1
	e.Raw(others, bftraft.ClassConsensus, frame)
}
