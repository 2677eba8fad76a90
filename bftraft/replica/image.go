package replica

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/crypto/cryptobyte"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// ErrImage is returned when bytes are not an image of what is remembered: cut short, altered, not
// canonical, of another cluster, or with something behind the end.
var ErrImage = errors.New("image of the sessions is damaged")

// An image is the replicated state beside the state machine, that is the sessions and who was
// convicted, in one canonical form: nodes that remember the same write the same bytes. It is a
// list of records, each behind its length in 32 bits and its kind in 8:
//
//	client      key, floor; ascending by key
//	session     number, highest executed sequence; of the client before, ascending by number
//	result      the answer without the signature; of the session before, ascending by sequence
//	conviction  index, proof; in the order of the log
//	end
const (
	recordClient     = 1
	recordSession    = 2
	recordResult     = 3
	recordConviction = 4
	recordEnd        = 5
)

// maxRecordBytes bounds a record; the largest is an answer.
const maxRecordBytes = bftraft.MaxFrameBytes

// imageScan writes an image piece by piece while requests go on. It holds what was remembered when
// it began: results never change, so lists of them are all it needs.
type imageScan struct {
	clients   []*client
	convicted []bftraft.Conviction
	buf       []byte // written and not yet handed out
	client    int    // where it is: in clients,
	session   int    // in the live sessions of that client; -1 before the client's own record,
	result    int    // and in the results of that session; -1 before the session's own record
	ended     bool
}

// scanImage begins an image of what is remembered now. Results may be forgotten meanwhile.
func (r *Replica) scanImage() *imageScan {
	s := &imageScan{convicted: r.evidence.convicted, session: -1, result: -1}
	for _, c := range r.sessions.clients {
		copied := &client{key: c.key, floor: c.floor}
		for _, l := range c.live {
			copied.live = append(copied.live, &session{
				number: l.number, last: l.last, results: slices.Clone(l.results),
			})
		}
		s.clients = append(s.clients, copied)
	}
	return s
}

// next returns the next piece, of size bytes but for the last one, and whether there is more.
func (s *imageScan) next(size int) (piece []byte, more bool) {
	for len(s.buf) <= size && !s.ended {
		s.record()
	}
	n := min(size, len(s.buf))
	piece = slices.Clone(s.buf[:n])
	s.buf = append(s.buf[:0], s.buf[n:]...)
	return piece, len(s.buf) > 0 || !s.ended
}

// record writes the next record.
func (s *imageScan) record() {
	if s.client == len(s.clients) {
		s.rest()
		return
	}
	c := s.clients[s.client]
	switch {
	case s.session < 0:
		s.add(recordClient, binary.BigEndian.AppendUint64(slices.Clone(c.key[:]), c.floor))
		s.session = 0
	case s.session == len(c.live):
		s.client, s.session = s.client+1, -1
	case s.result < 0:
		l := c.live[s.session]
		b := binary.BigEndian.AppendUint64(nil, l.number)
		s.add(recordSession, binary.BigEndian.AppendUint64(b, l.last))
		s.result = 0
	case s.result == len(c.live[s.session].results):
		s.session, s.result = s.session+1, -1
	default:
		l := c.live[s.session]
		s.add(recordResult, l.results[s.result].encode(c.key, l.number))
		s.result++
	}
}

// rest writes what follows the clients.
func (s *imageScan) rest() {
	for i := range s.convicted {
		c := &s.convicted[i]
		b := binary.BigEndian.AppendUint64(nil, uint64(c.Index))
		s.add(recordConviction, c.Evidence.AppendTo(b))
	}
	s.add(recordEnd, nil)
	s.ended = true
}

func (s *imageScan) add(kind byte, body []byte) {
	s.buf = binary.BigEndian.AppendUint32(s.buf, uint32(len(body)))
	s.buf = append(append(s.buf, kind), body...)
}

// encode returns the answer that the result is sent in, without signer and signature.
func (r *result) encode(key crypto.PublicKey, session uint64) []byte {
	m := bftraft.BlockReply{
		Client: key, Session: session, Sequence: r.sequence, Request: r.request,
		Results: r.results, Reply: r.reply, Place: r.place, Leaves: r.leaves, Branch: r.branch,
	}
	return m.Encode()
}

// readImage reads an image, which must be all there is to read. It refuses with ErrImage what no
// scan of a node of the cluster can have written; whether it is the image that the cluster has
// certified is for the caller to judge, by its root.
func readImage(in io.Reader, cluster bftraft.Digest, limits Limits) (
	*sessions, []bftraft.Conviction, error,
) {
	r := &imageReader{
		in: bufio.NewReader(in), cluster: cluster, limits: limits,
		sessions: newSessions(limits.Results),
	}
	for !r.ended {
		kind, body, err := r.record()
		if err != nil {
			return nil, nil, err
		}
		if !r.take(kind, body) {
			return nil, nil, ErrImage
		}
	}
	if _, err := r.in.ReadByte(); !errors.Is(err, io.EOF) {
		return nil, nil, ErrImage
	}
	return r.sessions, r.convicted, nil
}

type imageReader struct {
	in        *bufio.Reader
	cluster   bftraft.Digest
	limits    Limits
	sessions  *sessions
	convicted []bftraft.Conviction
	client    *client  // the last one read, nil once the convictions have begun
	session   *session // the last one read of client
	ended     bool
}

// whole says whether the last session read has its newest result, if there is a session.
func (r *imageReader) whole() bool {
	if r.session == nil {
		return true
	}
	n := len(r.session.results)
	return n > 0 && r.session.results[n-1].sequence == r.session.last
}

// record reads a record's kind and body.
func (r *imageReader) record() (byte, cryptobyte.String, error) {
	var head [5]byte
	if _, err := io.ReadFull(r.in, head[:]); err != nil {
		return 0, nil, imageError(err)
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > maxRecordBytes {
		return 0, nil, ErrImage
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r.in, body); err != nil {
		return 0, nil, imageError(err)
	}
	return head[4], body, nil
}

// imageError tells an image that ends too early from a failure to read.
func imageError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrImage
	}
	return fmt.Errorf("read image of the sessions: %w", err)
}

func (r *imageReader) take(kind byte, body cryptobyte.String) bool {
	switch kind {
	case recordClient:
		return r.takeClient(body)
	case recordSession:
		return r.takeSession(body)
	case recordResult:
		return r.takeResult(body)
	case recordConviction:
		return r.closed() && r.takeConviction(body)
	case recordEnd:
		r.ended = true
		return r.closed() && body.Empty()
	}
	return false
}

// closed ends the last client, and says whether it is whole: who is remembered has a session.
func (r *imageReader) closed() bool {
	whole := r.client == nil || r.session != nil && r.whole()
	r.client, r.session = nil, nil
	return whole
}

func (r *imageReader) takeClient(body cryptobyte.String) bool {
	c := &client{}
	if !body.CopyBytes(c.key[:]) || !body.ReadUint64(&c.floor) || !body.Empty() ||
		len(r.convicted) > 0 {
		return false
	}
	if r.client != nil && bytes.Compare(r.client.key[:], c.key[:]) >= 0 || !r.closed() {
		return false
	}
	r.client = c
	r.sessions.clients = append(r.sessions.clients, c)
	return true
}

func (r *imageReader) takeSession(body cryptobyte.String) bool {
	l := &session{}
	if r.client == nil || !body.ReadUint64(&l.number) || !body.ReadUint64(&l.last) ||
		!body.Empty() || len(r.client.live) == MaxSessions {
		return false
	}
	above := r.client.floor
	if r.session != nil {
		above = r.session.number
	}
	if l.number <= above || !r.whole() {
		return false
	}
	r.session = l
	r.client.live = append(r.client.live, l)
	return true
}

func (r *imageReader) takeResult(body cryptobyte.String) bool {
	if r.session == nil || len(r.session.results) >= r.limits.Results {
		return false
	}
	m, err := bftraft.DecodeBlockReply(body)
	if err != nil || m.Signer != 0 || m.Sig != (crypto.Signature{}) ||
		m.Client != r.client.key || m.Session != r.session.number ||
		m.Reply.Cluster != r.cluster || m.Sequence == 0 {
		return false
	}
	if n := len(r.session.results); n > 0 && r.session.results[n-1].sequence+1 != m.Sequence {
		return false
	}
	if !crypto.VerifyBranch(m.Reply.Results, m.Leaf(), int(m.Place), int(m.Leaves), m.Branch) {
		return false
	}
	res := result{
		sequence: m.Sequence, request: m.Request, results: m.Results, reply: m.Reply,
		place: m.Place, leaves: m.Leaves, branch: m.Branch,
	}
	r.session.results = append(r.session.results, res)
	r.session.bytes += res.size()
	return true
}

func (r *imageReader) takeConviction(body cryptobyte.String) bool {
	var c bftraft.Conviction
	if !body.ReadUint64((*uint64)(&c.Index)) || !quorumcert.ReadEvidence(&body, &c.Evidence) ||
		!body.Empty() || c.Index == 0 {
		return false
	}
	for i := range r.convicted {
		if r.convicted[i].Evidence.Culprit() == c.Evidence.Culprit() ||
			r.convicted[i].Index >= c.Index {
			return false
		}
	}
	r.convicted = append(r.convicted, c)
	return true
}
