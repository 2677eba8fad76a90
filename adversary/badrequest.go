// BadRequest, when it leads, puts a request into its blocks that no client has signed, among those
// that clients have. A protocol whose followers trust the leader to have looked executes what
// nobody asked for. Followers check each entry before they ack (Drop invalid_entry); the block is
// never certified and the term ends.

package adversary

import (
	"bytes"

	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

var badRequest = Attack{
	Name: "badrequest", Does: "when leading, puts invalid requests into its blocks",
	Caught:  "followers refuse the block and end the term",
	Deposed: true,
	Drops:   []bftraft.Drop{bftraft.InvalidEntry},
	Options: []Option{word("kind",
		"what is wrong: the signature, the client, the form, the kind, or a proof that proves nothing",
		"forged", "stranger", "malformed", "kind", "proof")},
	make: func(v *values) Behaviour { return &tampering{kind: v.word("kind")} },
}

type tampering struct {
	Honest
	kind string
}

// falseProof accuses somebody else of two votes, one of which the liar has signed itself.
func falseProof(e *Env) bftraft.Entry {
	v := quorumcert.Vote{Cluster: e.Cluster(), Term: e.Core.Term(), Candidate: e.ID()}
	victim := e.Others().Next(0)
	one := quorumcert.SignedVote{
		Vote: v, Signer: victim, Sig: quorumcert.Sign(e.Options.Core.Signer, v),
	}
	two := one
	two.Candidate = victim
	return bftraft.EvidenceEntry(&quorumcert.Evidence{
		Votes: &quorumcert.VoteConflict{A: one, B: two},
	})
}

func (t *tampering) Propose(e *Env, entries []bftraft.Entry) []bftraft.Entry {
	bad := entries[0]
	bad.Data = bytes.Clone(bad.Data)
	switch t.kind {
	case "forged":
		bad.Data[len(bad.Data)-1] ^= 1
	case "stranger":
		bad.Data[0] ^= 1
	case "malformed":
		bad.Data = bad.Data[:len(bad.Data)-1]
	case "kind":
		bad.Kind = bftraft.EntryConfiguration
	case "proof":
		bad = falseProof(e)
	}
	if len(entries) == bftraft.MaxBlockEntries {
		entries = entries[1:]
	}
	return append(entries[:len(entries):len(entries)], bad)
}
