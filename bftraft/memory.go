package bftraft

import "tangaroa/crypto"

// SignedDigest is what a client signed, and its signature: all that the verdict on a request
// depends on, as the digest covers cluster, client, and operations.
type SignedDigest struct {
	Digest Digest
	Sig    crypto.Signature
}

// Memory remembers requests that were found valid. The same request comes to a node several times:
// from its client, from nodes that forward it, and in a block. It may forget at any time.
type Memory interface {
	Knows(SignedDigest) bool
	Keep(SignedDigest)
}

// Recent is a Memory of so many requests that forgets the oldest first. One goroutine at a time may
// use it.
type Recent struct {
	known map[SignedDigest]struct{}
	order []SignedDigest // a ring once it is full
	next  int            // the oldest in the ring
	limit int
}

// NewRecent returns a memory of at most limit requests, about 300 bytes each.
func NewRecent(limit int) *Recent {
	return &Recent{known: make(map[SignedDigest]struct{}), limit: limit}
}

// Knows reports whether d was kept and is not forgotten yet.
func (r *Recent) Knows(d SignedDigest) bool {
	_, ok := r.known[d]
	return ok
}

// Keep remembers d, and forgets the oldest if there is no room.
func (r *Recent) Keep(d SignedDigest) {
	if r.limit <= 0 || r.Knows(d) {
		return
	}
	if len(r.order) < r.limit {
		r.order = append(r.order, d)
	} else {
		delete(r.known, r.order[r.next])
		r.order[r.next] = d
		r.next = (r.next + 1) % r.limit
	}
	r.known[d] = struct{}{}
}
