package node

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	model "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/replica"
	"tangaroa/crypto"
	"tangaroa/p2p"
	"tangaroa/quorumcert"
)

// countOf returns what a counter says.
func countOf(c prometheus.Counter) int {
	var m model.Metric
	if err := c.Write(&m); err != nil {
		panic(err)
	}
	return int(m.GetCounter().GetValue())
}

// droppedOf returns how often a peer's messages were dropped for a reason.
func (r *running) droppedOf(peer crypto.NodeID, d bftraft.Drop) int {
	return countOf(r.metrics.drops[peer][d])
}

func TestFramesOfPeersThatDoNotVerifyAreDroppedForTheRightReason(t *testing.T) {
	onBoard(t, 4, func(t *testing.T, _ *switchboard, nodes []*running) {
		within(t, 10*time.Second, "a leader", func() bool { return agreedLeader(nodes) != 0 })
		victim, cluster := nodes[0], nodes[0].verifier.Cluster()
		signed := func(id crypto.NodeID, cluster crypto.Digest) []byte {
			m := &bftraft.FetchCommitted{After: bftraft.Position{Hash: cluster}}
			bftraft.SignMessage(crypto.NewSigner(id, seeded(byte(id))), cluster, m)
			return bftraft.Encode(m)
		}
		spoilt := signed(4, cluster)
		spoilt[len(spoilt)-1] ^= 1
		alien := bftraft.SignRequest(cluster, seeded(99), 1, 1, [][]byte{{1}})
		forged := bftraft.SignRequest(crypto.Digest{9}, clientKey(), 1, 1, [][]byte{{1}})
		large := bftraft.SignRequest(cluster, clientKey(), 1, 1,
			[][]byte{make([]byte, bftraft.MaxOpBytes+1)})
		cases := []struct {
			name  string
			frame []byte
			drop  bftraft.Drop
		}{
			{"garbage", []byte("garbage"), bftraft.Malformed},
			{"empty", nil, bftraft.Malformed},
			{"cut", signed(4, cluster)[:40], bftraft.Malformed},
			{"longer", append(signed(4, cluster), 0), bftraft.Malformed},
			{"another's", signed(3, cluster), bftraft.WrongSender},
			{"another cluster's", signed(4, crypto.Digest{8}), bftraft.BadSignature},
			{"signature", spoilt, bftraft.BadSignature},
			{"reply", []byte{bftraft.FrameReply, 1}, bftraft.Malformed},
			{"request", []byte{bftraft.FrameRequest, 1}, bftraft.Malformed},
			{"alien request", bftraft.RequestFrame(alien.Raw()), bftraft.UnknownSender},
			{"forged request", bftraft.RequestFrame(forged.Raw()), bftraft.BadSignature},
			{"large request", bftraft.RequestFrame(large.Raw()), bftraft.Oversize},
		}
		for _, c := range cases {
			before := victim.droppedOf(4, c.drop)
			victim.in.FromNode(4, p2p.Consensus, c.frame)
			within(t, time.Second, c.name, func() bool {
				return victim.droppedOf(4, c.drop) > before
			})
		}
		for _, id := range []crypto.NodeID{0, 1, 60, 255} { // no voter: the network's business
			victim.in.FromNode(id, p2p.Consensus, spoilt)
		}
		submit(t, nodes[1], []byte("goes on"))
	})
}

// fromClient sends a frame to a node as the client and returns the answer.
func (r *running) fromClient(replies chan []byte, frame []byte) []byte {
	r.in.FromClient(clientKey().Public(), clientConn, frame)
	return <-replies
}

func TestClientIsToldWhyItsRequestIsRefused(t *testing.T) {
	onBoard(t, 4, func(t *testing.T, b *switchboard, nodes []*running) {
		within(t, 10*time.Second, "a leader", func() bool { return agreedLeader(nodes) != 0 })
		replies := b.client(clientKey().Public())
		cluster := nodes[0].verifier.Cluster()
		one := [][]byte{{1}}
		request := func(k crypto.PrivateKey, c crypto.Digest, seq uint64) []byte {
			return bftraft.RequestFrame(bftraft.SignRequest(c, k, 1, seq, one).Raw())
		}
		large := [][]byte{make([]byte, bftraft.MaxOpBytes+1)}
		cases := []struct {
			name     string
			frame    []byte
			code     bftraft.RefusalCode
			sequence uint64
		}{
			{"garbage", []byte{bftraft.FrameRequest, 1, 2}, bftraft.RefusedMalformed, 0},
			{"another's key", request(ownKey(1), cluster, 3), bftraft.RefusedClient, 3},
			{"other cluster", request(clientKey(), crypto.Digest{7}, 4), bftraft.RefusedClient, 4},
			{"stranger", request(seeded(99), cluster, 5), bftraft.RefusedClient, 5},
			{"far ahead", request(clientKey(), cluster, 1000), bftraft.RefusedWindow, 1000},
			{"too large", bftraft.RequestFrame(bftraft.SignRequest(cluster, clientKey(), 1, 1,
				large).Raw()), bftraft.RefusedTooLarge, 0},
		}
		for _, c := range cases {
			refusal, err := bftraft.DecodeRefusal(nodes[0].fromClient(replies, c.frame))
			require.NoError(t, err, c.name)
			require.Equal(t, c.code, refusal.Code, c.name)
			require.Equal(t, c.sequence, refusal.Sequence, c.name)
			require.Equal(t, min(1, c.sequence), refusal.Session, c.name)
		}
		for code, n := range map[bftraft.RefusalCode]int{
			bftraft.RefusedMalformed: 1, bftraft.RefusedClient: 3, bftraft.RefusedWindow: 1,
			bftraft.RefusedTooLarge: 1, bftraft.RefusedBusy: 0,
		} {
			require.Equal(t, n, countOf(nodes[0].metrics.refusals.WithLabelValues(code.String())))
		}
		for _, r := range nodes {
			require.Zero(t, r.Status().Tip, "nothing of it is in the log")
		}
	})
}

func TestClientIsAnsweredOverItsConnection(t *testing.T) {
	onBoard(t, 4, func(t *testing.T, b *switchboard, nodes []*running) {
		within(t, 10*time.Second, "a leader", func() bool { return agreedLeader(nodes) != 0 })
		replies := b.client(clientKey().Public())
		cluster, configs := nodes[0].verifier.Cluster(), nodes[0].verifier.Configurations()

		request := bftraft.SignRequest(cluster, clientKey(), 1, 1, [][]byte{[]byte("seven..")})
		frame := nodes[0].fromClient(replies, bftraft.RequestFrame(request.Raw()))
		reply, err := bftraft.DecodeBlockReply(frame)
		require.NoError(t, err)
		require.NoError(t, reply.Verify(cluster, configs))
		require.Equal(t, [][]byte{{0, 0, 0, 0, 0, 0, 0, 7}}, reply.Results)
		for range 3 { // the other nodes answer too
			_, err := bftraft.DecodeBlockReply(<-replies)
			require.NoError(t, err)
		}

		read := &bftraft.ReadRequest{
			Nonce: crypto.Digest{5}, MinIndex: 1, Queries: [][]byte{[]byte("q")},
		}
		answer, err := bftraft.DecodeReadReply(nodes[2].fromClient(replies, read.Encode()))
		require.NoError(t, err)
		require.NoError(t, answer.Verify(cluster, configs, read.Queries))
		require.EqualValues(t, 1, answer.Executed)

		status, err := bftraft.DecodeNodeStatus(
			nodes[3].fromClient(replies, []byte{bftraft.FrameStatus}), cluster,
			nodes[3].verifier.Keyring())
		require.NoError(t, err)
		require.EqualValues(t, 4, status.From)
		require.EqualValues(t, 1, status.Commit.Index)
	})
}

func TestMalformedClientFramesAreCountedAndNotAnswered(t *testing.T) {
	onBoard(t, 1, func(t *testing.T, b *switchboard, nodes []*running) {
		b.client(clientKey().Public())
		count := func() int {
			return countOf(nodes[0].metrics.refusals.WithLabelValues("malformed"))
		}
		for i, frame := range [][]byte{
			{}, {0}, {255, 1}, {bftraft.FrameRead, 1}, {bftraft.FrameStatus, 1},
		} {
			nodes[0].in.FromClient(clientKey().Public(), clientConn, frame)
			within(t, time.Second, "it is counted",
				func() bool { return count() == i+1 })
		}
	})
}

// TestStrangersGetNoAnswer: who was removed may still have a connection for a moment.
func TestStrangersGetNoAnswer(t *testing.T) {
	onBoard(t, 1, func(t *testing.T, b *switchboard, nodes []*running) {
		stranger := seeded(99).Public()
		b.client(stranger)
		count := func() int {
			return countOf(nodes[0].metrics.refusals.WithLabelValues("not_authorised"))
		}
		for i, frame := range [][]byte{
			{bftraft.FrameStatus}, {bftraft.FrameEvidence}, bftraft.ChangesRequest(0),
			bftraft.ResignRequest(1), (&bftraft.ReadRequest{Queries: [][]byte{{1}}}).Encode(),
		} {
			nodes[0].in.FromClient(stranger, clientConn, frame)
			within(t, time.Second, "it is counted", func() bool { return count() == i+1 })
		}
		require.EqualValues(t, 1, nodes[0].Status().Term, "nobody has resigned")
	})
}

func TestFullQueuesDropAndCount(t *testing.T) {
	g := testGenesis(4)
	cfg := testConfig(g, 1, newDisk(g, 1))
	cfg.PeerQueue.Frames, cfg.ClientQueue.Frames = 3, 2
	n, err := New(cfg)
	require.NoError(t, err)
	for range 5 { // nobody takes anything out: the node does not run
		n.in.FromNode(2, p2p.Consensus, []byte("frame"))
		n.in.FromNode(2, p2p.Bulk, []byte("frame"))
		n.in.FromClient(clientKey().Public(), clientConn, []byte("frame"))
		n.in.FromNode(3, p2p.Client, []byte{bftraft.FrameRequest})
	}
	require.Equal(t, 2+2, countOf(n.metrics.fulls[2]))
	require.Equal(t, 3, countOf(n.metrics.fulls[3]))
	require.Equal(t, 3, countOf(n.metrics.clientFull))
	require.Equal(t, 3, n.in.peer(2).queues[0].depth())
	require.Equal(t, 2+2, n.in.clients.depth())
}

func TestQueueBoundsBytesAndKeepsOrder(t *testing.T) {
	q := newQueue(p2p.QueueLimit{Frames: 10, Bytes: 10})
	require.True(t, q.push([]byte("12345")))
	require.True(t, q.push([]byte("67890")))
	require.False(t, q.push([]byte("!")))
	require.Equal(t, [][]byte{[]byte("12345"), []byte("67890")}, q.take(nil))
	require.True(t, q.push([]byte("1234567890")))
	require.False(t, q.push([]byte("!")))
}

func TestFairQueueServesSourcesInTurn(t *testing.T) {
	q := newFairQueue(p2p.QueueLimit{Frames: 100, Bytes: 100}, 250)
	a, b := source{node: 1}, source{key: seeded(1).Public()}
	for range 50 {
		require.True(t, q.push(clientFrame{source: a, frame: []byte("a")}))
	}
	for range 2 {
		require.True(t, q.push(clientFrame{source: b, frame: []byte("b")}))
	}
	order := ""
	for _, n := range []int{1, 4, 1} {
		frames := q.pop(make([]clientFrame, 0, 9), n)
		require.Len(t, frames, n)
		for _, f := range frames {
			order += string(f.frame)
		}
	}
	require.Equal(t, "ababaa", order, "a flood does not make others wait")
	require.False(t, q.push(clientFrame{source: a, frame: make([]byte, 60)}), "a has its share")
	require.False(t, q.push(clientFrame{source: b, frame: make([]byte, 101)}))
	require.True(t, q.push(clientFrame{source: b, frame: make([]byte, 100)}))
	c := source{node: 2}
	require.True(t, q.push(clientFrame{source: c, frame: make([]byte, 100)}))
	require.False(t, q.push(clientFrame{source: source{node: 3}, frame: make([]byte, 7)}),
		"together they are bounded too")
	waiting := q.depth()
	require.Len(t, q.pop(nil, 1000), waiting)
	require.Zero(t, q.depth())
	require.Empty(t, q.pop(nil, 1))
	require.Zero(t, q.bytes)
	require.Empty(t, q.lines)
}

func TestFairQueueWakesAnotherWorkerWhileFramesWait(t *testing.T) {
	q := newFairQueue(p2p.QueueLimit{Frames: 9, Bytes: 9}, 9)
	for range 3 {
		q.push(clientFrame{source: source{node: 1}})
	}
	for left := 2; left >= 0; left-- {
		<-q.ready
		require.Len(t, q.pop(nil, 1), 1)
		require.Len(t, q.ready, min(1, left))
	}
}

func TestFairQueueIsFullAtItsLastByteOrFrame(t *testing.T) {
	q := newFairQueue(p2p.QueueLimit{Frames: 3, Bytes: 10}, 25)
	for k, c := range []struct {
		node crypto.NodeID
		size int
		fits bool
	}{
		{1, 4, true}, {1, 7, false}, {1, 6, true}, {1, 1, false}, {1, 0, true}, {1, 0, false},
		{2, 11, false}, {2, 10, true}, {2, 1, false}, {3, 6, false}, {3, 5, true}, {4, 1, false},
		{4, 0, true},
	} {
		f := clientFrame{source: source{node: c.node}, frame: make([]byte, c.size)}
		require.Equal(t, c.fits, q.push(f), "push %d", k)
	}
	require.Len(t, q.pop(nil, 1), 1) // four bytes of the first
	f := clientFrame{source: source{node: 1}, frame: make([]byte, 4)}
	require.True(t, q.push(f), "they are free again")
	require.False(t, q.push(f))
}

func TestEachPeerAndClassIsVerifiedOnItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := testGenesis(4)
		n, err := New(testConfig(g, 1, newDisk(g, 1)))
		require.NoError(t, err)
		n.in.start(t.Context(), 1)
		t.Cleanup(n.in.wg.Wait)
		signer := crypto.NewSigner(2, seeded(2))
		suspicion := quorumcert.Suspicion{Cluster: n.verifier.Cluster(), Term: 1}
		frame := bftraft.Encode(&bftraft.Suspect{
			Term: 1, Signer: 2, Sig: quorumcert.Sign(signer, suspicion),
		})
		for range 2 * stepsWaiting {
			n.in.FromNode(2, p2p.Bulk, frame)
		}
		synctest.Wait()
		require.Len(t, n.in.steps, stepsWaiting, "the owner is busy")
		n.in.FromNode(2, p2p.Bulk, frame)
		synctest.Wait()
		stuck := n.in.peer(2).queues[1].depth()
		require.Positive(t, stuck)
		n.in.FromNode(2, p2p.Consensus, frame)
		synctest.Wait()
		require.Zero(t, n.in.peer(2).queues[0].depth(), "consensus is verified meanwhile")
		require.Equal(t, stuck, n.in.peer(2).queues[1].depth())
	})
}

func TestForgedRequestHarmsOnlyItsSender(t *testing.T) {
	onBoard(t, 4, func(t *testing.T, _ *switchboard, nodes []*running) {
		in, cluster := nodes[0].in, nodes[0].verifier.Cluster()
		good := func(seq uint64) []byte {
			r := bftraft.SignRequest(cluster, clientKey(), 1, seq, [][]byte{{1}})
			return bftraft.RequestFrame(r.Raw())
		}
		forged := good(9)
		forged[len(forged)-1] ^= 1
		client, two, three := source{key: clientKey().Public()}, source{node: 2}, source{node: 3}
		asks := in.judge([]clientFrame{
			{source: client, frame: good(1)}, {source: two, frame: forged},
			{source: client, frame: []byte{bftraft.FrameStatus}}, {source: three, frame: good(2)},
			{source: two, frame: good(3)}, {source: client, frame: nil},
		})
		require.Len(t, asks, 4, "in order, without what is worth nothing")
		require.EqualValues(t, 1, asks[0].request.Sequence)
		require.True(t, asks[1].status)
		require.EqualValues(t, 2, asks[2].request.Sequence)
		require.EqualValues(t, 3, asks[2].from)
		require.EqualValues(t, 3, asks[3].request.Sequence, "its sender's others are judged")
		require.Equal(t, 1, nodes[0].droppedOf(2, bftraft.BadSignature))
		require.True(t, in.forgers.has(two))
		require.False(t, in.forgers.has(client))
		require.False(t, in.forgers.has(three))
		require.Len(t, in.judge([]clientFrame{{source: two, frame: good(4)}}), 1)
	})
}

// A request of a known forger is verified by itself, so that nobody else's must be verified twice.
func TestOnlyAForgersFirstForgerySpoilsABatch(t *testing.T) {
	g := testGenesis(4)
	n, err := New(testConfig(g, 1, newDisk(g, 1)))
	require.NoError(t, err)
	sequence := uint64(0)
	frame := func(forged bool) []byte {
		sequence++
		r := bftraft.SignRequest(n.verifier.Cluster(), clientKey(), 1, sequence, [][]byte{{1}})
		frame := bftraft.RequestFrame(r.Raw())
		if forged {
			frame[len(frame)-1] ^= 1
		}
		return frame
	}
	forger, honest, clumsy := source{node: 2}, source{node: 3}, source{node: 4}
	for round, rejected := range []int{2, 3, 4} { // the first batch, then the forgery alone
		asks := n.in.judge([]clientFrame{
			{source: honest, frame: frame(false)}, {source: forger, frame: frame(true)},
			{source: clumsy, frame: []byte{bftraft.FrameRequest, 1}},
			{source: honest, frame: frame(false)}, {source: forger, frame: frame(false)},
		})
		require.Len(t, asks, 3)
		require.Equal(t, rejected, countOf(n.metrics.sigWrong), "round %d", round)
		require.Equal(t, 3*(round+1), countOf(n.metrics.sigVerified), "each once")
	}
	require.False(t, n.in.forgers.has(clumsy), "what is malformed costs no signature")
	require.False(t, n.in.forgers.has(honest))
}

func TestEachKindOfClientFrameIsHandedOnAsWhatItIs(t *testing.T) {
	g := testGenesis(4)
	n, err := New(testConfig(g, 1, newDisk(g, 1)))
	require.NoError(t, err)
	read := &bftraft.ReadRequest{MinIndex: 3, Queries: [][]byte{{1}}}
	forged := bftraft.SignRequest(crypto.Digest{9}, clientKey(), 1, 1, [][]byte{{1}})
	from := source{key: clientKey().Public()}
	for name, k := range map[string]struct {
		frame []byte
		want  *ask
	}{
		"a read":               {read.Encode(), &ask{read: read}},
		"a status":             {[]byte{bftraft.FrameStatus}, &ask{status: true}},
		"proofs":               {[]byte{bftraft.FrameEvidence}, &ask{proofs: true}},
		"a status with a body": {[]byte{bftraft.FrameStatus, 0}, nil},
		"proofs with a body":   {[]byte{bftraft.FrameEvidence, 0}, nil},
		"of no kind":           {append([]byte{bftraft.FrameReply}, forged.Raw()...), nil},
	} {
		asks := n.in.judge([]clientFrame{{source: from, conn: 7, frame: k.frame}})
		if k.want == nil {
			require.Empty(t, asks, name)
			continue
		}
		k.want.client = replica.ClientID{Key: from.key, Conn: 7}
		require.Equal(t, []ask{*k.want}, asks, name)
	}
	require.False(t, n.in.forgers.has(from), "only requests are judged as requests")
}

// What a node that has executed a request says to one that is behind (E5) comes to the owner.
func TestReplyOfAPeerReachesTheOwner(t *testing.T) {
	flooded(t, func(n *Node) {
		r := &bftraft.BlockReply{Client: clientKey().Public(), Session: 1, Sequence: 2, Leaves: 1}
		r.Reply.Cluster = n.verifier.Cluster()
		r.Reply.Results = crypto.MerkleRoot([]crypto.Digest{r.Leaf()})
		r.Signer, r.Sig = 2, quorumcert.Sign(crypto.NewSigner(2, seeded(2)), r.Reply)
		n.in.FromNode(3, p2p.Bulk, r.Encode())
		n.in.FromNode(2, p2p.Bulk, r.Encode())
		s := <-n.in.steps
		require.Equal(t, crypto.NodeID(2), s.from, "its own word only")
		require.Equal(t, r.Encode(), s.reply.Encode())
		require.Positive(t, s.cost, "it pays if there is no use for it")
		require.True(t, n.in.budgets[2].paid.IsZero())
		synctest.Wait()
		require.Empty(t, n.in.steps)
		require.Equal(t, 1, countOf(n.metrics.drops[3][bftraft.WrongSender]))
	})
}
