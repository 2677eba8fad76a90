package replica

import (
	"bytes"
	"encoding/binary"
	"slices"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/internal/mutant"
	"tangaroa/quorumcert"
)

// What is remembered of clients. It is replicated state, a function of the log alone, so the
// limits are part of the protocol: all nodes share them.
const (
	// MaxSessions is the number of sessions remembered of a client. When one more begins, the
	// lowest is forgotten, and no session at or below it is ever accepted again.
	MaxSessions = 32
	// MaxResults is the number of results remembered of a session.
	MaxResults = 128
	// MaxResultBytes is the size of the results remembered of a session, beyond the newest one.
	MaxResultBytes = 1 << 20
	// Window is how far ahead of what was executed a sequence may be when a node takes it in.
	Window = 256
)

// sessions is the at-most-once table (C1): sequences of a session are executed in order, so
// "executed" is one number a session.
type sessions struct {
	clients []*client // ascending by key
	limit   int       // of results of a session
}

type client struct {
	key   crypto.PublicKey
	floor uint64     // no session at or below it is remembered or accepted
	live  []*session // ascending by number, at most MaxSessions
}

type session struct {
	number  uint64
	last    uint64   // the highest sequence executed
	results []result // of the newest sequences, ascending, at most MaxResults
	bytes   int
}

// result is what is needed to answer a client again, at any node.
type result struct {
	sequence uint64
	request  bftraft.Digest
	results  [][]byte
	reply    quorumcert.Reply
	place    uint32
	leaves   uint32
	branch   []bftraft.Digest
}

func newSessions(results int) *sessions { return &sessions{limit: results} }

func (s *sessions) client(key crypto.PublicKey) (*client, int, bool) {
	i, found := slices.BinarySearchFunc(s.clients, key, func(c *client, k crypto.PublicKey) int {
		return bytes.Compare(c.key[:], k[:])
	})
	if !found {
		return nil, i, false
	}
	return s.clients[i], i, true
}

func (c *client) session(number uint64) (*session, int, bool) {
	i, found := slices.BinarySearchFunc(c.live, number, func(s *session, n uint64) int {
		switch {
		case s.number < n:
			return -1
		case s.number > n:
			return 1
		}
		return 0
	})
	if !found {
		return nil, i, false
	}
	return c.live[i], i, true
}

// last returns the highest executed sequence of a session, and whether the session may be used: a
// new one may unless it is as old as those forgotten.
func (s *sessions) last(key crypto.PublicKey, number uint64) (uint64, bool) {
	c, _, _ := s.client(key)
	return c.last(number)
}

// last is that for a client, nil for one of which nothing was executed.
func (c *client) last(number uint64) (uint64, bool) {
	if c == nil {
		return 0, true
	}
	if live, _, ok := c.session(number); ok {
		return live.last, true
	}
	return 0, number > c.floor || mutant.On(mutant.M109)
}

// admit says what is to become of a request that stands next in the log. An executed one is
// entered; its result follows by remember.
func (s *sessions) admit(r *bftraft.Request) bftraft.Outcome {
	last, ok := s.last(r.Client, r.Session)
	switch {
	case !ok:
		return bftraft.Expired
	case r.Sequence <= last && !mutant.On(mutant.M32):
		return bftraft.Repeated
	case r.Sequence > last+1 && !mutant.On(mutant.M108):
		return bftraft.OutOfOrder
	}
	s.open(r.Client, r.Session).last = r.Sequence
	return bftraft.Executed
}

// open returns a session that may be used, entering it if it is new.
func (s *sessions) open(key crypto.PublicKey, number uint64) *session {
	c, i, ok := s.client(key)
	if !ok {
		c = &client{key: key}
		s.clients = slices.Insert(s.clients, i, c)
	}
	live, i, ok := c.session(number)
	if ok {
		return live
	}
	live = &session{number: number}
	c.live = slices.Insert(c.live, i, live)
	if len(c.live) > MaxSessions {
		c.floor = c.live[0].number
		c.live = slices.Delete(c.live, 0, 1)
	}
	return live
}

// remember keeps the result of the request that was just executed. A session that was forgotten at
// once, being the lowest of too many, has nobody left to answer.
func (s *sessions) remember(r *bftraft.Request, res result) {
	c, _, _ := s.client(r.Client)
	live, _, ok := c.session(r.Session)
	if !ok {
		return
	}
	live.results = append(live.results, res)
	live.bytes += res.size()
	for !mutant.On(mutant.M52) && len(live.results) > s.limit ||
		live.bytes > MaxResultBytes && len(live.results) > 1 {
		live.bytes -= live.results[0].size()
		live.results[0] = result{} // append moves the others now and then, and not each time
		live.results = live.results[1:]
	}
}

func (r *result) size() int {
	n := 0
	for _, b := range r.results {
		n += len(b)
	}
	return n
}

// find returns the remembered result of a sequence.
func (s *sessions) find(key crypto.PublicKey, number, sequence uint64) (*result, bool) {
	c, _, ok := s.client(key)
	if !ok {
		return nil, false
	}
	live, _, ok := c.session(number)
	if !ok {
		return nil, false
	}
	for i := range live.results {
		if live.results[i].sequence == sequence {
			return &live.results[i], true
		}
	}
	return nil, false
}

// digest covers all that the table remembers.
func (s *sessions) digest() crypto.Digest {
	var b []byte
	for _, c := range s.clients {
		b = append(b, c.key[:]...)
		b = binary.BigEndian.AppendUint64(b, c.floor)
		for _, l := range c.live {
			b = binary.BigEndian.AppendUint64(b, l.number)
			b = binary.BigEndian.AppendUint64(b, l.last)
			for i := range l.results {
				r := &l.results[i]
				leaf := bftraft.ResultLeaf(r.request, bftraft.Executed, r.results)
				b = binary.BigEndian.AppendUint64(append(b, leaf[:]...), r.sequence)
				b = r.reply.AppendTo(b)
			}
		}
	}
	return crypto.Hash(crypto.DomainState, b)
}
