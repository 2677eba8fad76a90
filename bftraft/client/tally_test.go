package client

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/client/judge"
	"tangaroa/bftraft/kv"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// replies returns what every node of a cluster says to one request.
func replies(t *testing.T, c *cluster, ops ...[]byte) (*bftraft.Request, []*bftraft.BlockReply) {
	t.Helper()
	req := bftraft.SignRequest(c.id, clientKey(), 5, 1, ops)
	other := bftraft.SignRequest(c.id, clientKey(), 6, 1, [][]byte{put(t, "other", "x")})
	var out []*bftraft.BlockReply
	for _, n := range c.nodes {
		n.executed++
		out = append(out, n.apply([]*bftraft.Request{other, req})[1])
	}
	return req, out
}

func newTally(c *cluster, req *bftraft.Request) *Tally {
	return NewTally(c.id, c.gate, req)
}

func TestTallySettlesAtFPlusOne(t *testing.T) {
	for _, size := range []int{1, 3, 4, 7, 10} {
		c := newCluster(t, size)
		req, rs := replies(t, c, put(t, "k", "v"))
		tally := newTally(c, req)
		need := quorumcert.ForNodes(size).F + 1
		for i, r := range rs {
			verdict, answer := tally.Add(r)
			again, _ := tally.Add(r)
			require.Equal(t, Repeats, again)
			switch {
			case i+1 < need:
				require.Equal(t, Counted, verdict)
			case i+1 == need:
				require.Equal(t, Settled, verdict)
				require.True(t, answer.Mine)
				require.Equal(t, need, answer.Proof.Signers.Len())
				cfg := c.gate.Configurations().Latest()
				require.NoError(t, answer.Proof.Verify(c.id, cfg))
			default:
				require.Equal(t, Agrees, verdict)
			}
		}
		require.Zero(t, tally.Dissenters())
		require.Equal(t, size, tally.Heard().Len())
	}
}

func TestTallyNamesWhoDiffersBeforeAndAfter(t *testing.T) {
	c := newCluster(t, 7)
	req, rs := replies(t, c, put(t, "k", "v"))
	for _, i := range []int{1, 5} {
		rs[i].Results = [][]byte{[]byte("lie")}
		resign(c.nodes[i], rs[i])
	}
	tally := newTally(c, req)
	for i, want := range []Verdict{Counted, Counted, Counted, Settled, Agrees, Dissents, Agrees} {
		verdict, _ := tally.Add(rs[i])
		require.Equal(t, want, verdict, "reply %d", i)
	}
	require.Equal(t, quorumcert.SetOf(2, 6), tally.Dissenters())
}

// Replies count together only if they are about one block and one leaf in it.
func TestTallyDoesNotAddUpWhatDiffersInAnything(t *testing.T) {
	c := newCluster(t, 4)
	req, rs := replies(t, c, put(t, "k", "v"))
	elsewhere := *rs[1]
	elsewhere.Reply.Hash[0] ^= 1
	tally := newTally(c, req)
	tally.Add(rs[0])
	verdict, _ := tally.Add(&elsewhere)
	require.Equal(t, Counted, verdict, "another block")

	other := *rs[1] // a true leaf of the same block, of another request
	other.Request = crypto.Digest{9}
	tally = newTally(c, req)
	tally.Add(rs[0])
	verdict, _ = tally.Add(&other)
	require.Equal(t, Counted, verdict, "another leaf")
}

func TestTallyCountsAVoterOnceWhateverItSays(t *testing.T) {
	c := newCluster(t, 4)
	req, rs := replies(t, c, put(t, "k", "v"))
	tally := newTally(c, req)
	verdict, _ := tally.Add(rs[0])
	require.Equal(t, Counted, verdict)
	changed := *rs[0]
	changed.Results = [][]byte{[]byte("lie")}
	resign(c.nodes[0], &changed)
	for range 5 {
		verdict, _ = tally.Add(&changed)
		require.Equal(t, Dissents, verdict)
	}
	verdict, _ = tally.Add(rs[1])
	require.Equal(t, Settled, verdict)
}

func TestTallyIgnoresWhatIsNotAboutItsRequest(t *testing.T) {
	c := newCluster(t, 4)
	req, rs := replies(t, c, put(t, "k", "v"))
	tally := newTally(c, req)
	for name, bend := range map[string]func(r *bftraft.BlockReply){
		"client":   func(r *bftraft.BlockReply) { r.Client[0] ^= 1 },
		"session":  func(r *bftraft.BlockReply) { r.Session++ },
		"sequence": func(r *bftraft.BlockReply) { r.Sequence++ },
	} {
		for _, r := range rs {
			bent := *r
			bend(&bent)
			verdict, _ := tally.Add(&bent)
			require.Equal(t, Alien, verdict, name)
		}
	}
	require.Zero(t, tally.Heard())
}

// A node whose word is judged is the one at the other end of the link: nobody can be framed.
func TestNobodyCanBeBlamedForWhatAnotherSent(t *testing.T) {
	play(t, 4, nil, func(s *scene) {
		s.node(2).bendReplies(func(r *bftraft.BlockReply) { r.Signer, r.Sig = 3, crypto.Signature{1} })
		s.put("k", "v")
		s.pass(time.Second)
		stats := s.client.Stats()
		require.Positive(t, stats.Nodes[1].Invalid)
		require.Zero(t, stats.Nodes[2].Invalid)
	})
}

func TestJudgeRemembersOnlyWhatWasValid(t *testing.T) {
	c := newCluster(t, 4)
	_, rs := replies(t, c, put(t, "k", "v"))
	j := &judges{}
	j.init(c.id, c.gate)
	bad := *rs[0]
	bad.Sig[5] ^= 1
	for range 3 {
		require.True(t, j.reply(1, rs[0]))
		require.False(t, j.reply(1, &bad))
		require.False(t, j.reply(2, rs[0]), "another node's link")
	}
}

func readReply(id bftraft.NodeID, lock, executed bftraft.Index, result string) *bftraft.ReadReply {
	return &bftraft.ReadReply{
		Signer: id, Lock: quorumcert.Lock{Index: lock}, Executed: executed,
		Results: [][]byte{[]byte(result)},
	}
}

func newReadTally(t *testing.T, size int) *ReadTally {
	t.Helper()
	return NewReadTally(configOf(t, size))
}

func configOf(t *testing.T, size int) *quorumcert.Configuration {
	t.Helper()
	cfg, err := testGenesis(size).Configuration(crypto.ZIP215())
	require.NoError(t, err)
	return cfg
}

func TestReadIndexIsTheGreatestLockOfAQuorum(t *testing.T) {
	tally := newReadTally(t, 4)
	require.Equal(t, Counted, tally.Add(readReply(1, 3, 3, "v")))
	require.Equal(t, Counted, tally.Add(readReply(2, 9, 3, "v")))
	_, ok := tally.ReadIndex()
	require.False(t, ok, "two are no quorum")
	require.Zero(t, tally.Behind())
	require.Equal(t, Counted, tally.Add(readReply(3, 4, 3, "v")))
	index, ok := tally.ReadIndex()
	require.True(t, ok)
	require.Equal(t, bftraft.Index(9), index)
	require.Equal(t, quorumcert.SetOf(1, 2, 3), tally.Behind())
	tally.Add(readReply(4, 50, 3, "v"))
	index, _ = tally.ReadIndex()
	require.Equal(t, bftraft.Index(9), index, "it does not run away")

	require.Equal(t, Counted, tally.Add(readReply(1, 9, 9, "w")))
	require.Equal(t, Settled, tally.Add(readReply(4, 9, 11, "w")))
	value, at, by, ok := tally.Result()
	require.True(t, ok)
	require.Equal(t, "w", string(value))
	require.Equal(t, bftraft.Index(11), at)
	require.Equal(t, quorumcert.SetOf(1, 4), by)
}

func TestReadIsExhaustedWhenAQuorumDisagrees(t *testing.T) {
	tally := newReadTally(t, 4)
	for id, value := range []string{"a", "b"} {
		tally.Add(readReply(bftraft.NodeID(id+1), 1, 1, value))
	}
	require.False(t, tally.Exhausted())
	tally.Add(readReply(3, 1, 1, "c"))
	require.True(t, tally.Exhausted())
	require.Equal(t, quorumcert.SetOf(4), tally.Unheard())
}

func TestNodesThatAreBehindVouchForNothing(t *testing.T) {
	tally := newReadTally(t, 4)
	tally.Add(readReply(1, 9, 9, "v"))
	tally.Add(readReply(2, 0, 3, "v"))
	require.Equal(t, Counted, tally.Add(readReply(3, 0, 8, "v")))
	require.Equal(t, quorumcert.SetOf(2, 3), tally.Behind())
	require.Equal(t, Settled, tally.Add(readReply(3, 0, 9, "v")))
}

// One of two that vouch for a result may lie about how far it is: that blames nobody.
func TestOneNodesWordAboutAStateBlamesNobody(t *testing.T) {
	tally := newReadTally(t, 4)
	tally.Add(readReply(1, 5, 5, "v"))
	tally.Add(readReply(2, 5, 7, "v"))
	require.Equal(t, Settled, tally.Add(readReply(3, 5, 5, "before")))
	require.Zero(t, tally.Dissenters())
}

func TestOnlyAContradictionAboutTheSameStateIsALie(t *testing.T) {
	tally := newReadTally(t, 4)
	tally.Add(readReply(1, 5, 5, "v"))
	tally.Add(readReply(2, 5, 7, "later"))
	require.Equal(t, Settled, tally.Add(readReply(3, 5, 5, "v")))
	require.Zero(t, tally.Dissenters(), "who has executed more may see more")
	require.Equal(t, Dissents, tally.Add(readReply(4, 5, 5, "lie")))
	require.Equal(t, quorumcert.SetOf(4), tally.Dissenters())
	require.Equal(t, Agrees, tally.Add(readReply(4, 5, 4, "before")))
}

func TestReadTallyIgnoresStrangers(t *testing.T) {
	tally := newReadTally(t, 1)
	require.Equal(t, Alien, tally.Add(readReply(2, 0, 0, "v")))
	require.Equal(t, Settled, tally.Add(readReply(1, 0, 0, "v")))
}

func TestLeaderIsWhoFPlusOneNameInTheNewestTerm(t *testing.T) {
	type word struct {
		node, leader bftraft.NodeID
		term         bftraft.Term
	}
	cases := []struct {
		about string
		words []word
		want  bftraft.NodeID
	}{
		{"nobody", nil, 0},
		{"one word is better than none", []word{{1, 3, 4}}, 3},
		{"a liar in a high term", []word{{1, 2, 5}, {2, 2, 5}, {3, 3, 99}}, 2},
		{"the newer term", []word{{1, 2, 5}, {2, 2, 5}, {3, 4, 6}, {4, 4, 6}}, 4},
		{"no leader is no word", []word{{1, 0, 9}, {2, 0, 9}, {3, 1, 8}}, 1},
		{"a word that was taken back", []word{{1, 2, 5}, {1, 3, 6}}, 3},
	}
	for _, c := range cases {
		var l leaders
		for _, w := range c.words {
			s := &bftraft.NodeStatus{Term: w.term, Leader: w.leader}
			s.From = w.node
			l.note(s)
		}
		require.Equal(t, c.want, l.best(1), c.about)
	}
	var l leaders
	s := &bftraft.NodeStatus{Term: 1, Leader: 2}
	s.From = 2
	l.note(s)
	l.forget(2)
	require.Zero(t, l.best(1))
}

func TestRequestIDHasOneSpelling(t *testing.T) {
	id := RequestID{Session: 1790000000000000000, Sequence: 7}
	parsed, err := ParseRequestID(id.String())
	require.NoError(t, err)
	require.Equal(t, id, parsed)
	for _, bad := range []string{"", "1", "1-", "-1", "0-1", "1-0", "01-1", "+1-1", "1-1 ", "1-1-1",
		"99999999999999999999-1", "a-b"} {
		_, err := ParseRequestID(bad)
		require.ErrorIs(t, err, ErrRequestID, bad)
	}
}

func TestPaceFollowsTheUsualTime(t *testing.T) {
	p := pace{late: 300 * time.Millisecond, lateMax: 2 * time.Second}
	require.Equal(t, 300*time.Millisecond, p.first())
	p.note(200 * time.Millisecond)
	require.Equal(t, 800*time.Millisecond, p.first())
	require.Equal(t, 900*time.Millisecond, p.next(900*time.Millisecond))
	require.Equal(t, 2*time.Second, p.next(time.Minute))
	for range 100 {
		p.note(time.Millisecond)
	}
	require.Equal(t, 300*time.Millisecond, p.first())
}

func TestReceiptProvesItsRequestToWhoKnowsTheGenesis(t *testing.T) {
	c := newCluster(t, 4)
	req, rs := replies(t, c, put(t, "k", "v"), put(t, "l", "w"))
	r := receiptOf(t, c, req, rs)
	again, err := DecodeReceipt(r.Encode())
	require.NoError(t, err)
	require.Equal(t, r, again)
	proven, err := again.Verify(c.genesis)
	require.NoError(t, err)
	require.Equal(t, "alice", proven.Client)
	require.Equal(t, req.Ops, proven.Request.Ops)
	require.Equal(t, quorumcert.SetOf(1, 2), proven.Signers)
	require.Equal(t, bftraft.Index(1), proven.Block.Index)
	require.Equal(t, kv.Revision(3), revisionOf(t, proven.Results[1]))
}

func receiptOf(
	t *testing.T, c *cluster, req *bftraft.Request, rs []*bftraft.BlockReply,
) *Receipt {
	t.Helper()
	tally := newTally(c, req)
	tally.Add(rs[0])
	verdict, answer := tally.Add(rs[1])
	require.Equal(t, Settled, verdict)
	return judge.NewReceipt(req, answer)
}

func TestReceiptWithAnythingChangedProvesNothing(t *testing.T) {
	c := newCluster(t, 4)
	req, rs := replies(t, c, put(t, "k", "v"))
	other := bftraft.SignRequest(c.id, clientKey(), 5, 1, [][]byte{put(t, "k", "w")})
	stranger := bftraft.SignRequest(c.id, testKey(99), 5, 1, req.Ops)
	for name, spoil := range map[string]func(r *Receipt){
		"request":        func(r *Receipt) { r.Request = other.Raw() },
		"stranger":       func(r *Receipt) { r.Request = stranger.Raw() },
		"client's sig":   func(r *Receipt) { r.Request[len(r.Request)-1] ^= 1 },
		"truncated":      func(r *Receipt) { r.Request = r.Request[:40] },
		"result":         func(r *Receipt) { r.Results[0] = []byte("lie") },
		"no result":      func(r *Receipt) { r.Results = nil },
		"one more":       func(r *Receipt) { r.Results = append(r.Results, nil) },
		"place":          func(r *Receipt) { r.Place = 0 },
		"leaves":         func(r *Receipt) { r.Leaves++ },
		"branch":         func(r *Receipt) { r.Branch[0][0] ^= 1 },
		"longer branch":  func(r *Receipt) { r.Branch = append(r.Branch, r.Branch[0]) },
		"cluster":        func(r *Receipt) { r.Proof.Cluster[0] ^= 1 },
		"configuration":  func(r *Receipt) { r.Proof.Configuration++ },
		"index":          func(r *Receipt) { r.Proof.Index++ },
		"hash":           func(r *Receipt) { r.Proof.Hash[0] ^= 1 },
		"root":           func(r *Receipt) { r.Proof.Reply.Results[0] ^= 1 },
		"signature":      func(r *Receipt) { r.Proof.Sigs[0][0] ^= 1 },
		"too few":        func(r *Receipt) { r.Proof.Signers, r.Proof.Sigs = 1, r.Proof.Sigs[:1] },
		"same one twice": func(r *Receipt) { r.Proof.Sigs[1] = r.Proof.Sigs[0] },
		"no member":      func(r *Receipt) { r.Proof.Signers = quorumcert.SetOf(1, 9) },
	} {
		r, err := DecodeReceipt(receiptOf(t, c, req, rs).Encode())
		require.NoError(t, err)
		_, err = r.Verify(c.genesis)
		require.NoError(t, err)
		spoil(r)
		_, err = r.Verify(c.genesis)
		require.ErrorIs(t, err, ErrReceipt, name)
	}
	r := receiptOf(t, c, req, rs)
	r.Proof.Configuration++
	_, err := r.Verify(c.genesis)
	require.ErrorIs(t, err, ErrNewerConfiguration)
	foreign := testGenesis(4)
	foreign.Nonce[0]++
	_, err = r.Verify(foreign)
	require.ErrorContains(t, err, "of another cluster")
	foreign.Voters = nil
	_, err = r.Verify(foreign)
	require.Error(t, err, "a genesis that describes no cluster")
}

// Even if more than f nodes are faulty, a receipt has one result for each operation.
func TestReceiptHasAResultForEachOperation(t *testing.T) {
	c := newCluster(t, 1)
	req, rs := replies(t, c, put(t, "k", "v"), put(t, "l", "w"))
	rs[0].Results = rs[0].Results[:1]
	resign(c.nodes[0], rs[0])
	proof := quorumcert.Receipt{Reply: rs[0].Reply}
	proof.Signers, proof.Sigs = quorumcert.SetOf(1), []crypto.Signature{rs[0].Sig}
	r := judge.NewReceipt(req, &Answer{Reply: rs[0], Proof: proof})
	_, err := r.Verify(c.genesis)
	require.ErrorContains(t, err, "1 results for 2 operations")
}

func TestReceiptHasOneText(t *testing.T) {
	c := newCluster(t, 4)
	req, rs := replies(t, c, put(t, "k", "v"))
	text := receiptOf(t, c, req, rs).Encode()
	for name, bad := range map[string]struct{ text, why string }{
		"empty": {"", "no receipt"}, "before": {"x\n" + string(text), "damaged"},
		"after": {string(text) + "\n", "damaged"}, "cut": {string(text[:len(text)/2]), "no receipt"},
		"renamed":  {strings.ReplaceAll(string(text), "RECEIPT V1", "RECEIPT V2"), "no receipt"},
		"longest":  {string(make([]byte, MaxReceiptBytes)), "no receipt"},
		"too long": {string(make([]byte, MaxReceiptBytes+1)), "longer than"},
	} {
		_, err := DecodeReceipt([]byte(bad.text))
		require.ErrorIs(t, err, ErrReceipt, name)
		require.ErrorContains(t, err, bad.why, name)
	}
}

func FuzzDecodeReceipt(f *testing.F) {
	f.Add([]byte("-----BEGIN TANGAROA RECEIPT V1-----\n-----END TANGAROA RECEIPT V1-----\n"))
	g := testGenesis(1)
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := DecodeReceipt(text)
		if err != nil {
			return
		}
		require.Equal(t, text, r.Encode())
		_, err = r.Verify(g)
		require.Error(t, err)
	})
}
