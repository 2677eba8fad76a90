package bftraft

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

var wireQueries = [][]byte{[]byte("what is it?"), {}, []byte("and this?")}

// clientFrames returns one honest frame of each kind between client and node.
func (c *wireCluster) clientFrames() map[byte][]byte {
	request := c.request(11, 1, "a", "b")
	results := [][]byte{[]byte("one"), {}}
	leaves := []Digest{
		ResultLeaf(Digest{1}, Repeated, nil),
		ResultLeaf(request.Digest(c.id), Executed, results), {3},
	}
	reply := &BlockReply{
		Client: request.Client, Session: 1, Sequence: 1, Request: request.Digest(c.id),
		Results: results, Signer: 2, Place: 1, Leaves: 3,
		Branch: crypto.NewMerkleTree(leaves).Branch(1),
		Reply: quorumcert.Reply{
			Cluster: c.id, Index: c.b1.Last(), Hash: c.b1.Hash(),
			Results: crypto.MerkleRoot(leaves),
		},
	}
	reply.Sig = quorumcert.Sign(c.signer(2), reply.Reply)
	lock, qc := c.base()
	read := &ReadReply{Nonce: Digest{7}, Lock: lock, LockQC: qc, Executed: 9,
		Results: [][]byte{[]byte("it"), {}}}
	read.Sign(c.signer(3), c.id, wireQueries)
	status := &NodeStatus{
		Term: 3, Leader: 2, Lock: lock, Tip: c.b3.End(), Commit: c.b1.End(), Executed: 1,
		Suspects: CauseSilence, Faulty: 4, Accuses: 1, Behind: 2, Silent: 8, State: Digest{5},
	}
	return map[byte][]byte{
		FrameReply:       reply.Encode(),
		FrameRefusal:     (&Refusal{Session: 1, Sequence: 2, Code: RefusedBusy, Executed: 3}).Encode(),
		FrameRead:        (&ReadRequest{Nonce: Digest{7}, MinIndex: 4, Queries: wireQueries}).Encode(),
		FrameReadReply:   read.Encode(),
		FrameStatusReply: SignNodeStatus(c.signer(4), c.id, status),
		FrameEvidenceReply: EncodeConvictions([]Conviction{
			{7, sampleVotes(c.id, 2)}, {0, sampleVotes(c.id, 3)},
		}),
		FrameChanges: ChangesRequest(7),
		FrameChangesReply: AppendChangeProofs([]byte{FrameChangesReply}, []*ChangeProof{
			{Header: c.b1.Header(), Entry: []byte("a change"), Branch: []Digest{{1}, {2}},
				Commit: *c.commit()},
			{Header: c.b2.Header(), Entry: []byte{}, Commit: *c.commit()},
		}),
		FrameResign: ResignRequest(8),
	}
}

// judge decodes a frame, verifies what is signed, and returns what its encoding gives back.
func (c *wireCluster) judge(frame []byte) ([]byte, error) {
	if len(frame) == 0 {
		return nil, ErrClientMessage
	}
	cs := c.gate.Configurations()
	switch frame[0] {
	case FrameReply:
		r, err := DecodeBlockReply(frame)
		if err != nil {
			return nil, err
		}
		return r.Encode(), r.Verify(c.id, cs)
	case FrameRefusal:
		r, err := DecodeRefusal(frame)
		if err != nil {
			return nil, err
		}
		return r.Encode(), nil
	case FrameRead:
		r, err := DecodeReadRequest(frame)
		if err != nil {
			return nil, err
		}
		return r.Encode(), nil
	case FrameReadReply:
		r, err := DecodeReadReply(frame)
		if err != nil {
			return nil, err
		}
		return r.Encode(), r.Verify(c.id, cs, wireQueries)
	case FrameStatusReply:
		m, err := DecodeNodeStatus(frame, c.id, c.gate.Keyring())
		if err != nil {
			return nil, err
		}
		return append(m.encode(), m.Sig[:]...), nil
	case FrameEvidenceReply:
		list, err := DecodeConvictions(frame)
		if err != nil {
			return nil, err
		}
		return EncodeConvictions(list), nil
	case FrameChanges:
		number, err := DecodeChangesRequest(frame)
		if err != nil {
			return nil, err
		}
		return ChangesRequest(number), nil
	case FrameChangesReply:
		list, err := DecodeChanges(frame)
		if err != nil {
			return nil, err
		}
		return AppendChangeProofs([]byte{FrameChangesReply}, list), nil
	case FrameResign:
		term, err := DecodeResignRequest(frame)
		if err != nil {
			return nil, err
		}
		return ResignRequest(term), nil
	}
	return nil, ErrClientMessage
}

func TestClientMessagesSurviveEncoding(t *testing.T) {
	c := newWireCluster(t)
	for kind, frame := range c.clientFrames() {
		again, err := c.judge(frame)
		require.NoError(t, err, "kind %d", kind)
		require.Equal(t, frame, again, "kind %d", kind)
	}
}

// boundByRequest is where a reply names its client, session and sequence: the reader compares these
// with what it asked, and the digest of the request, which is signed, covers them.
const boundByRequest = 1 + 32 + 8 + 8

func TestEveryByteOfASignedAnswerCounts(t *testing.T) {
	c := newWireCluster(t)
	frames := c.clientFrames()
	for _, kind := range []byte{FrameReply, FrameReadReply, FrameStatusReply} {
		frame := frames[kind]
		for i := range frame {
			if kind == FrameReply && i < boundByRequest {
				continue
			}
			bad := bytes.Clone(frame)
			bad[i] ^= 1
			_, err := c.judge(bad)
			require.Error(t, err, "kind %d, byte %d", kind, i)
		}
		for _, bad := range [][]byte{frame[:len(frame)-1], append(bytes.Clone(frame), 0)} {
			_, err := c.judge(bad)
			require.Error(t, err, fmt.Sprint(kind, len(bad)-len(frame)))
		}
		other := &wireCluster{id: Digest{99}, gate: c.gate}
		_, err := other.judge(frame)
		require.Error(t, err, "kind %d in another cluster", kind)
	}
}

func TestReadReplyAnswersItsOwnQueryOnly(t *testing.T) {
	c := newWireCluster(t)
	r, err := DecodeReadReply(c.clientFrames()[FrameReadReply])
	require.NoError(t, err)
	cs := c.gate.Configurations()
	require.NoError(t, r.Verify(c.id, cs, wireQueries))
	require.Error(t, r.Verify(c.id, cs, [][]byte{[]byte("something else"), wireQueries[1]}))
	require.Error(t, r.Verify(c.id, cs, wireQueries[:2]))
	require.Error(t, r.Verify(c.id, cs, append(wireQueries[:3:3], nil)))
	require.NoError(t, r.VerifyStatement(c.id, cs, wireQueries))
	require.Error(t, r.VerifyStatement(Digest{99}, cs, wireQueries), "another cluster")
	short := *r
	short.Results = r.Results[:1]
	require.Error(t, short.Verify(c.id, cs, wireQueries), "all results are signed")
	short.Sign(c.signer(3), c.id, wireQueries)
	require.NoError(t, short.Verify(c.id, cs, wireQueries), "fewer than queries are an answer")
	long := *r
	long.Results = append(wireQueries[:3:3], []byte("for what?"))
	long.Sign(c.signer(3), c.id, wireQueries)
	require.Error(t, long.Verify(c.id, cs, wireQueries), "more than queries are none")
	r.LockQC = nil
	require.Error(t, r.Verify(c.id, cs, wireQueries), "a lock without its certificate")
}

// Whatever differs has another leaf: a request that was not executed passes for none that was.
func TestResultLeafBindsRequestOutcomeAndEachResult(t *testing.T) {
	seen := make(map[Digest]bool)
	n := 0
	for _, request := range []Digest{{1}, {2}} {
		for _, outcome := range []Outcome{Executed, Repeated, OutOfOrder, Expired} {
			for _, results := range [][][]byte{
				nil, {{}}, {{}, {}}, {{1}, {2}}, {{2}, {1}}, {{1, 2}}, {{1, 2}, {}}, {{}, {1, 2}},
			} {
				seen[ResultLeaf(request, outcome, results)] = true
				n++
			}
		}
	}
	require.Len(t, seen, n)
}

func TestReadFramesKeepTheirLimits(t *testing.T) {
	for name, k := range map[string]struct {
		queries [][]byte
		fits    bool
	}{
		"none": {nil, false}, "an empty one": {sized(0), true},
		"the largest": {sized(MaxOpBytes, 1), true}, "too large": {sized(1, MaxOpBytes+1), false},
		"the most": {make([][]byte, MaxRequestOps), true},
		"too many": {make([][]byte, MaxRequestOps+1), false},
	} {
		r, err := DecodeReadRequest((&ReadRequest{Queries: k.queries}).Encode())
		require.Equal(t, k.fits, err == nil, name)
		if k.fits {
			require.Len(t, r.Queries, len(k.queries), name)
		}
	}
	c := newWireCluster(t)
	lock, qc := c.base()
	for name, k := range map[string]struct {
		results [][]byte
		fits    bool
	}{
		"none": {nil, false}, "an empty one": {sized(0), true},
		"all there is room for": {sized(MaxResultBytes-1, 1), true},
		"too much":              {sized(MaxResultBytes, 1), false},
	} {
		_, err := DecodeReadReply((&ReadReply{Lock: lock, LockQC: qc, Results: k.results}).Encode())
		require.Equal(t, k.fits, err == nil, name)
	}
}

// decodes says whether a decoder takes a frame; if it does there must be a message, and only then.
func decodes[M any](t *testing.T, m *M, err error) bool {
	require.Equal(t, err == nil, m != nil)
	return err == nil
}

func TestClientFramesAreWholeAndOfTheirKind(t *testing.T) {
	c := newWireCluster(t)
	decoders := map[byte]func(frame []byte) bool{
		FrameReply: func(frame []byte) bool {
			m, err := DecodeBlockReply(frame)
			return decodes(t, m, err)
		},
		FrameRefusal: func(frame []byte) bool {
			m, err := DecodeRefusal(frame)
			return decodes(t, m, err)
		},
		FrameRead: func(frame []byte) bool {
			m, err := DecodeReadRequest(frame)
			return decodes(t, m, err)
		},
		FrameReadReply: func(frame []byte) bool {
			m, err := DecodeReadReply(frame)
			return decodes(t, m, err)
		},
		FrameStatusReply: func(frame []byte) bool {
			m, err := DecodeNodeStatus(frame, c.id, c.gate.Keyring())
			return decodes(t, m, err)
		},
	}
	frames := c.clientFrames()
	for kind, decode := range decoders {
		frame := frames[kind]
		require.True(t, decode(frame), "kind %d", kind)
		for n := range frame {
			require.False(t, decode(frame[:n:n]), "kind %d cut to %d", kind, n)
		}
		require.False(t, decode(append(bytes.Clone(frame), 0)), "kind %d with more", kind)
		for other := range decoders {
			named := append([]byte{other}, frame[1:]...)
			require.Equal(t, other == kind, decode(named), "kind %d named %d", kind, other)
		}
	}
}

func TestBranchOfAReplyHasAtMost32Nodes(t *testing.T) {
	for n, fits := range map[int]bool{0: true, 1: true, 31: true, 32: true, 33: false} {
		r, err := DecodeBlockReply((&BlockReply{Branch: make([]Digest, n)}).Encode())
		require.Equal(t, fits, err == nil, "%d nodes", n)
		if fits {
			require.Len(t, r.Branch, n)
		}
	}
}

func TestClientFramesKeepTheirBounds(t *testing.T) {
	for n, fits := range map[int]bool{0: false, MaxFrameBytes: true, MaxFrameBytes + 1: false} {
		frame := make([]byte, n)
		if n > 0 {
			frame[0] = FrameRead
		}
		_, ok := body(frame, FrameRead)
		require.Equal(t, fits, ok, "%d bytes", n)
	}
	frame := (&BlockReply{}).Encode()
	_, err := DecodeBlockReply(frame)
	require.NoError(t, err)
	results := boundByRequest + 32 // their number
	frame[results], frame[results+1] = 0xff, 0xff
	_, err = DecodeBlockReply(frame)
	require.Error(t, err, "too many results that are not there")
}

func TestReplyIsJudgedByTheConfigurationItNames(t *testing.T) {
	c := newWireCluster(t)
	r, err := DecodeBlockReply(c.clientFrames()[FrameReply])
	require.NoError(t, err)
	require.NoError(t, r.Verify(c.id, c.gate.Configurations()))
	r.Reply.Configuration++
	r.Sig = quorumcert.Sign(c.signer(2), r.Reply)
	require.Error(t, r.Verify(c.id, c.gate.Configurations()))
}

func TestLockOfAReadIsProvenOrTheGenesis(t *testing.T) {
	c := newWireCluster(t)
	base, qc := c.base()
	genesis := Lock{Hash: c.id}
	higher := base
	higher.Index++
	for name, k := range map[string]struct {
		lock Lock
		qc   *quorumcert.QC
		want bool
	}{
		"certified": {base, qc, true}, "genesis": {genesis, nil, true}, "none": {Lock{}, nil, false},
		"of another cluster": {Lock{Hash: Digest{99}}, nil, false},
		"without its proof":  {base, nil, false}, "of another": {higher, qc, false},
		"genesis with a proof": {genesis, qc, false},
	} {
		r := &ReadReply{Lock: k.lock, LockQC: k.qc, Results: wireQueries} // one for each query
		r.Sign(c.signer(3), c.id, wireQueries)
		err := r.Verify(c.id, c.gate.Configurations(), wireQueries)
		require.Equal(t, k.want, err == nil, name)
	}
}

// FuzzClientFrames: make fuzz runs it for longer.
func FuzzClientFrames(f *testing.F) {
	c := newWireCluster(f)
	for _, frame := range c.clientFrames() {
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if again, err := c.judge(frame); err == nil || again != nil {
			require.Equal(t, frame, again, "one encoding of a value")
		}
	})
}

func TestQuestionsOfClientsHaveOneForm(t *testing.T) {
	c := newWireCluster(t)
	for _, kind := range []byte{FrameChanges, FrameChangesReply, FrameResign} {
		frame := c.clientFrames()[kind]
		for n := range frame {
			_, err := c.judge(frame[:n])
			require.ErrorIs(t, err, ErrClientMessage, "kind %d cut at %d", kind, n)
		}
		_, err := c.judge(append(bytes.Clone(frame), 0))
		require.ErrorIs(t, err, ErrClientMessage, "kind %d", kind)
	}
	_, err := DecodeResignRequest(ResignRequest(0))
	require.ErrorIs(t, err, ErrClientMessage, "there is no term 0")
}
