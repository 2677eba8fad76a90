// FalseReply tells clients results that are not those of the log, signed all the same. A client
// that believes the node it talks to believes anything. Clients accept f+1 equal signed replies,
// one of which is an honest node's, so that f of these convince nobody.

package adversary

import (
	"bytes"

	"tangaroa/bftraft"
	"tangaroa/bftraft/replica"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

var falseReply = Attack{
	Name: "falsereply", Does: "tells clients false results, signed",
	Caught: "clients want f+1 equal signed replies",
	make:   func(*values) Behaviour { return lying{} },
}

type lying struct{ Honest }

func (lying) Reply(e *Env, _ replica.ClientID, frame []byte) [][]byte {
	switch frame[0] {
	case bftraft.FrameReply:
		if r, err := bftraft.DecodeBlockReply(frame); err == nil {
			return [][]byte{falsified(e, r).Encode()}
		}
	case bftraft.FrameReadReply:
		if r, err := bftraft.DecodeReadReply(frame); err == nil {
			for i := range r.Results {
				r.Results[i] = turned(r.Results[i])
			}
			return [][]byte{e.resign(r)}
		}
	}
	return [][]byte{frame}
}

// falsified returns a reply with other results, in a block whose only request it was, and a good
// signature of the liar's.
func falsified(e *Env, r *bftraft.BlockReply) *bftraft.BlockReply {
	lie := *r
	lie.Results = nil
	for _, result := range r.Results {
		lie.Results = append(lie.Results, turned(result))
	}
	lie.Place, lie.Leaves, lie.Branch = 0, 1, nil
	lie.Reply.Results = crypto.MerkleRoot([]crypto.Digest{lie.Leaf()})
	lie.Sig = quorumcert.Sign(e.Options.Core.Signer, lie.Reply)
	return &lie
}

// turned returns other bytes of the same length, or a byte where there are none.
func turned(b []byte) []byte {
	if len(b) == 0 {
		return []byte{1}
	}
	b = bytes.Clone(b)
	b[len(b)-1] ^= 1
	return b
}
