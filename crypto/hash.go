package crypto

import (
	"crypto/sha256"
	"encoding/binary"

	"tangaroa/internal/mutant"
)

// Domain names the purpose of bytes that are hashed or signed. Every kind has its
// own, so a signature given for one kind never passes for another (a vote is no
// acknowledgement, a leaf is no inner node). The values end in a version: the
// layout of a kind changes only together with its domain.
type Domain string

// The domains, one for every kind of signed or hashed bytes.
const (
	// DomainGenesis is for the genesis document: its hash is the cluster's name
	// and the hash of the empty log.
	DomainGenesis Domain = "tangaroa/genesis/v1"
	// DomainBlock is for the header of a block: its hash names a whole prefix.
	DomainBlock Domain = "tangaroa/block/v1"
	// DomainEntry is for one log entry, a leaf of its block's Merkle tree.
	DomainEntry Domain = "tangaroa/entry/v1"
	// DomainAck is for acknowledgements (N2).
	DomainAck Domain = "tangaroa/ack/v1"
	// DomainSuspect is for suspicions (E1).
	DomainSuspect Domain = "tangaroa/suspect/v1"
	// DomainVote is for votes (E4).
	DomainVote Domain = "tangaroa/vote/v1"
	// DomainMessage is for a message between nodes, signed as a whole.
	DomainMessage Domain = "tangaroa/message/v1"
	// DomainRequest is for a client's request (C1).
	DomainRequest Domain = "tangaroa/request/v1"
	// DomainChange is for a change that administrators sign (J5).
	DomainChange Domain = "tangaroa/change/v1"
	// DomainReadyToVote is for a node's word that it is ready for a change of the voters (J2).
	DomainReadyToVote Domain = "tangaroa/ready-to-vote/v1"
	// DomainReply is for a node's reply to the requests of a block (C2).
	DomainReply Domain = "tangaroa/reply/v1"
	// DomainResult is for one result, a leaf of the reply's Merkle tree (C2).
	DomainResult Domain = "tangaroa/result/v1"
	// DomainRead is for a client's question for a read index or value (C3).
	DomainRead Domain = "tangaroa/read/v1"
	// DomainReadReply is for a node's answer to such a question (C3).
	DomainReadReply Domain = "tangaroa/read-reply/v1"
	// DomainCheckpoint is for checkpoints (K1).
	DomainCheckpoint Domain = "tangaroa/checkpoint/v1"
	// DomainState is for the state of a state machine and its parts.
	DomainState Domain = "tangaroa/state/v1"
	// DomainGuard is for the slots of the signing guard on disk.
	DomainGuard Domain = "tangaroa/guard/v1"
	// DomainJournal is for the sectors of the journal on disk.
	DomainJournal Domain = "tangaroa/journal/v1"
	// DomainReady is for the records a node keeps on disk.
	DomainReady Domain = "tangaroa/ready/v1"
	// DomainKeyFile is for the checksum of a key file.
	DomainKeyFile Domain = "tangaroa/key-file/v1"
	// DomainKeyName is for the names of secret keys.
	DomainKeyName Domain = "tangaroa/key-name/v1"
	// DomainDataKeys is for the checksum of the file with a store's data keys.
	DomainDataKeys Domain = "tangaroa/data-keys/v1"
	// DomainMerkleLeaf is for the leaves of a Merkle tree.
	DomainMerkleLeaf Domain = "tangaroa/merkle-leaf/v1"
	// DomainMerkleNode is for the inner nodes of a Merkle tree.
	DomainMerkleNode Domain = "tangaroa/merkle-node/v1"
	// DomainMerkleRoot is for a Merkle tree as a whole: it adds the leaf count.
	DomainMerkleRoot Domain = "tangaroa/merkle-root/v1"
)

// Hash returns the SHA-256 of the domain and the parts, each behind its length as
// eight bytes, big-endian. So the same bytes cut into other parts, or an empty
// part more, give another digest.
func Hash(d Domain, parts ...[]byte) Digest {
	size := 8 + len(d)
	for _, part := range parts {
		size += 8 + len(part)
	}
	if size > gathered {
		return hashPieces(d, parts)
	}
	var room [gathered]byte
	b := append(appendLength(room[:0], len(d)), d...)
	for _, part := range parts {
		b = append(appendLength(b, len(part)), part...)
	}
	return sha256.Sum256(b)
}

// gathered is the most that Hash copies into one piece. Most of what is hashed is shorter, and
// giving SHA-256 its pieces one by one takes longer than the hashing.
const gathered = 512

func hashPieces(d Domain, parts [][]byte) Digest {
	h := sha256.New()
	var length [8]byte
	h.Write(append(appendLength(length[:0], len(d)), d...))
	for _, part := range parts {
		h.Write(appendLength(length[:0], len(part)))
		h.Write(part)
	}
	var out Digest
	h.Sum(out[:0])
	return out
}

func appendLength(b []byte, n int) []byte { return binary.BigEndian.AppendUint64(b, uint64(n)) }

// SignedBytes returns what a signature in the domain covers: the domain behind
// its length as eight bytes, big-endian, then the message. The message runs to
// the end and needs no length of its own.
func SignedBytes(d Domain, msg []byte) []byte {
	if mutant.On(mutant.M07) {
		d = DomainAck
	}
	out := make([]byte, 0, 8+len(d)+len(msg))
	out = binary.BigEndian.AppendUint64(out, uint64(len(d)))
	out = append(out, d...)
	return append(out, msg...)
}
