package client

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/kv"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// The fake cluster orders requests in one place and executes them at every node, each with a key,
// a store and a word of its own. Its nodes are honest; a test makes some of them lie by changing
// what they send, signed with their own key.

func testKey(n byte) crypto.PrivateKey { return crypto.KeyFromSeed([32]byte{n, 'k'}) }

// clientKey is the key of the client that is enrolled.
func clientKey() crypto.PrivateKey { return testKey(200) }

func testGenesis(nodes int) *bftraft.Genesis {
	g := &bftraft.Genesis{
		Name: "test", Nonce: crypto.Digest{1},
		Clients: []bftraft.Enrolled{{Name: "alice", Key: clientKey().Public()}},
	}
	for id := 1; id <= nodes; id++ {
		g.Voters = append(g.Voters, quorumcert.Voter{
			ID: crypto.NodeID(id), Key: testKey(byte(id)).Public(),
		})
	}
	return g
}

type cluster struct {
	t       *testing.T
	genesis *bftraft.Genesis
	id      bftraft.Digest
	gate    *bftraft.Verifier
	nodes   []*node

	mu      sync.Mutex
	term    bftraft.Term
	leader  bftraft.NodeID
	blocks  [][]*bftraft.Request // each is executed by every node
	waiting []*bftraft.Request   // whose turn has not come
	last    map[uint64]uint64    // the highest ordered sequence of each session
	hold    bool                 // order nothing: gather
	full    int                  // how many more requests are refused for want of room
	links   []*fakeLink          // all of one client key: what goes to one goes to all
}

// node is one member. Its own goroutine takes in what was sent to it, in order.
type node struct {
	c       *cluster
	id      bftraft.NodeID
	signer  crypto.Signer
	inbox   chan []byte
	machine *kv.Machine

	mu       sync.Mutex
	executed bftraft.Index
	answers  map[RequestID]*bftraft.BlockReply
	reads    []*bftraft.ReadRequest // that wait
	got      []byte                 // kinds of the frames it took in
	// convicted are the proofs that it shows.
	convicted []bftraft.Conviction
	lag       bool // it does not execute what is ordered
	room      int  // how many results fit into an answer to reads; 0 for all
	// bend changes a frame that leaves, or drops it (nil). It may sign as the node.
	bend func(frame []byte) [][]byte
	deaf bool
	// word is what it says when it is asked whether it is ready for a change; nil: nothing.
	word func(ch *bftraft.Change) *bftraft.Readiness
}

func newCluster(t *testing.T, size int) *cluster { return newClusterOf(t, testGenesis(size)) }

func newClusterOf(t *testing.T, g *bftraft.Genesis) *cluster {
	c := &cluster{t: t, genesis: g, term: 1, leader: 1, last: map[uint64]uint64{}}
	c.id = c.genesis.Hash()
	var err error
	c.gate, err = bftraft.NewVerifier(crypto.ZIP215(), c.genesis)
	require.NoError(t, err)
	for _, v := range c.genesis.Voters {
		c.nodes = append(c.nodes, c.newNode(v.ID))
	}
	return c
}

func (c *cluster) newNode(id bftraft.NodeID) *node {
	return &node{
		c: c, id: id, signer: crypto.NewSigner(id, testKey(byte(id))),
		inbox: make(chan []byte, 4096), machine: kv.New(),
		answers: map[RequestID]*bftraft.BlockReply{},
	}
}

// node returns a node, nil for one that was never started.
func (c *cluster) node(id int) *node {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id > len(c.nodes) {
		return nil
	}
	return c.nodes[id-1]
}

// fakeLink joins one client to the cluster.
type fakeLink struct {
	c    *cluster
	to   Receiver
	stop chan struct{}
	wg   sync.WaitGroup

	mu   sync.Mutex
	told [][]bftraft.Node                 // what the link was told of the members
	ends map[bftraft.NodeID]chan struct{} // of the nodes that it joins
}

func (c *cluster) dial(to Receiver) (Link, error) {
	l := &fakeLink{
		c: c, to: to, stop: make(chan struct{}), ends: map[bftraft.NodeID]chan struct{}{},
	}
	c.mu.Lock()
	c.links = append(c.links, l)
	c.mu.Unlock()
	for _, v := range c.genesis.Voters {
		l.join(v.ID)
	}
	return l, nil
}

// join begins to serve by a node that can be reached.
func (l *fakeLink) join(id bftraft.NodeID) {
	if n := l.c.node(int(id)); n != nil && l.ends[id] == nil {
		end := make(chan struct{})
		l.ends[id] = end
		l.wg.Go(func() { n.serve(l, end) })
	}
}

func (l *fakeLink) SetNodes(list []bftraft.Node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told = append(l.told, list)
	for id, end := range l.ends {
		if !slices.ContainsFunc(list, func(n bftraft.Node) bool { return n.ID == id }) {
			close(end)
			delete(l.ends, id)
		}
	}
	for _, n := range list {
		l.join(n.ID)
	}
}

func (l *fakeLink) Send(to bftraft.NodeID, frame []byte) bool {
	n := l.c.node(int(to))
	if n == nil {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.deaf {
		return true
	}
	select {
	case n.inbox <- frame:
		return true
	default:
		return false
	}
}

func (l *fakeLink) Close() error {
	close(l.stop)
	l.wg.Wait()
	return nil
}

// serve runs a node for as long as the client is there and has a link to it. A message takes a
// millisecond.
func (n *node) serve(l *fakeLink, end chan struct{}) {
	if n.isGone() {
		return
	}
	l.to.Up(n.id)
	defer l.to.Down(n.id)
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-end:
			return
		case frame := <-n.inbox:
			n.take(frame)
		case <-poll.C:
			n.execute()
		}
	}
}

func (n *node) take(frame []byte) {
	n.mu.Lock()
	n.got = append(n.got, frame[0])
	n.mu.Unlock()
	switch frame[0] {
	case bftraft.FrameRequest:
		req, err := n.c.verifier().VerifyRequest(frame[1:])
		require.NoError(n.c.t, err)
		n.mu.Lock()
		answer := n.answers[RequestID{req.Session, req.Sequence}]
		if answer != nil {
			n.renew(answer)
			frame = answer.Encode()
		}
		n.mu.Unlock()
		if answer != nil {
			n.send(frame)
			return
		}
		if n.c.refuses() {
			refusal := bftraft.Refusal{
				Session: req.Session, Sequence: req.Sequence, Code: bftraft.RefusedBusy,
			}
			n.send(refusal.Encode())
			return
		}
		n.c.order(n.id, req)
	case bftraft.FrameRead:
		req, err := bftraft.DecodeReadRequest(frame)
		require.NoError(n.c.t, err)
		n.mu.Lock()
		n.reads = append(n.reads, req)
		n.mu.Unlock()
	case bftraft.FrameStatus:
		n.send(n.status())
	case bftraft.FrameEvidence:
		n.mu.Lock()
		frame := bftraft.EncodeConvictions(n.convicted)
		n.mu.Unlock()
		n.send(frame)
	case bftraft.FrameChanges, bftraft.FrameReady:
		n.takeOfMembers(frame)
	}
}

func (c *cluster) refuses() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.full--
	return c.full >= 0
}

// order gives a request its place if the leader can hear of it.
func (c *cluster) order(at bftraft.NodeID, req *bftraft.Request) {
	c.mu.Lock()
	leader := c.nodes[c.leader-1]
	c.mu.Unlock()
	if at != leader.id && leader.isDeaf() { // not under c.mu: who executes takes it after its own
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = append(c.waiting, req)
	if !c.hold {
		c.drain()
	}
}

func (n *node) isDeaf() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.deaf
}

// drain puts what can be executed into one block.
func (c *cluster) drain() {
	var block []*bftraft.Request
	for progress := true; progress; {
		progress = false
		for _, req := range c.waiting {
			if req.Sequence == c.last[req.Session]+1 {
				c.last[req.Session]++
				block = append(block, req)
				progress = true
			}
		}
	}
	if len(block) > 0 {
		c.blocks = append(c.blocks, block)
	}
	kept := c.waiting[:0]
	for _, req := range c.waiting {
		if req.Sequence > c.last[req.Session] {
			kept = append(kept, req)
		}
	}
	c.waiting = kept
}

func (c *cluster) block(i bftraft.Index) ([]*bftraft.Request, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if int(i) >= len(c.blocks) {
		return nil, false
	}
	return c.blocks[i], true
}

// execute applies what has been ordered and answers; in this log every index is a block.
func (n *node) execute() {
	var out [][]byte
	n.mu.Lock()
	for !n.lag {
		block, ok := n.c.block(n.executed)
		if !ok {
			break
		}
		n.executed++
		if len(block) == 0 {
			continue // a change of the members
		}
		for _, r := range n.apply(block) {
			n.answers[RequestID{r.Session, r.Sequence}] = r
			out = append(out, r.Encode())
		}
	}
	var later []*bftraft.ReadRequest
	for _, req := range n.reads {
		if req.MinIndex > n.executed {
			later = append(later, req)
			continue
		}
		out = append(out, n.answer(req).Encode())
	}
	n.reads = later
	n.mu.Unlock()
	for _, frame := range out {
		n.send(frame)
	}
}

func (n *node) apply(block []*bftraft.Request) []*bftraft.BlockReply {
	var replies []*bftraft.BlockReply
	var leaves []bftraft.Digest
	for i, req := range block {
		r := &bftraft.BlockReply{
			Client: req.Client, Session: req.Session, Sequence: req.Sequence,
			Request: req.Digest(n.c.id), Signer: n.id, Place: uint32(i), Leaves: uint32(len(block)),
		}
		for _, op := range req.Ops {
			r.Results = append(r.Results, n.machine.Apply(uint64(n.executed), op))
		}
		leaves = append(leaves, r.Leaf())
		replies = append(replies, r)
	}
	statement := quorumcert.Reply{
		Cluster: n.c.id, Index: n.executed, Hash: hashAt(n.executed),
		Results: crypto.MerkleRoot(leaves), Configuration: n.c.verifier().Members().At.Index,
	}
	for i, r := range replies {
		r.Reply, r.Branch = statement, crypto.NewMerkleTree(leaves).Branch(i)
		r.Sig = quorumcert.Sign(n.signer, statement)
	}
	return replies
}

// hashAt stands for the hash of the block at an index.
func hashAt(i bftraft.Index) bftraft.Digest {
	return crypto.Hash(crypto.DomainBlock, []byte{byte(i >> 8), byte(i)})
}

// answer signs the node's state and the lock of everything ordered.
func (n *node) answer(req *bftraft.ReadRequest) *bftraft.ReadReply {
	r := &bftraft.ReadReply{
		Nonce: req.Nonce, Lock: quorumcert.Lock{Hash: n.c.id}, Executed: n.executed,
		Configuration: n.c.verifier().Members().At.Index,
	}
	for _, q := range req.Queries {
		if n.room == 0 || len(r.Results) < n.room {
			r.Results = append(r.Results, n.machine.Query(q))
		}
	}
	if qc := n.c.lock(); qc != nil {
		r.Lock, r.LockQC = qc.Lock, qc
	}
	r.Sign(n.signer, n.c.id, req.Queries)
	return r
}

// lock returns the certificate of the newest block.
func (c *cluster) lock() *quorumcert.QC {
	c.mu.Lock()
	i := bftraft.Index(len(c.blocks))
	c.mu.Unlock()
	if i == 0 {
		return nil
	}
	return c.certify(1, i)
}

func (c *cluster) certify(term bftraft.Term, i bftraft.Index) *quorumcert.QC {
	ack := quorumcert.Ack{Cluster: c.id, Term: term, Index: i, Hash: hashAt(i)}
	qc := &quorumcert.QC{Lock: quorumcert.Lock{Term: term, Index: i, Hash: ack.Hash}}
	by := c.verifier().Configurations().For(i)
	for _, v := range by.Voters()[:by.Size().Q] {
		qc.Signers = qc.Signers.With(v.ID)
		qc.Sigs = append(qc.Sigs, quorumcert.Sign(c.node(int(v.ID)).signer, ack))
		qc.Certified = append(qc.Certified, 0)
	}
	return qc
}

func (n *node) status() []byte {
	n.c.mu.Lock()
	s := &bftraft.NodeStatus{Term: n.c.term, Leader: n.c.leader}
	n.c.mu.Unlock()
	n.mu.Lock()
	s.Executed = n.executed
	n.mu.Unlock()
	return bftraft.SignNodeStatus(n.signer, n.c.id, s)
}

func (n *node) send(frame []byte) {
	n.mu.Lock()
	bend := n.bend
	n.mu.Unlock()
	frames := [][]byte{frame}
	if bend != nil {
		frames = bend(frame)
	}
	n.c.mu.Lock()
	links := slices.Clone(n.c.links)
	n.c.mu.Unlock()
	for _, l := range links {
		for _, f := range frames {
			l.to.Frame(n.id, f)
		}
	}
}

// bends makes a node lie.
func (n *node) bends(bend func(frame []byte) [][]byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.bend = bend
}

// bendReplies makes a node change its block replies only.
func (n *node) bendReplies(bend func(r *bftraft.BlockReply)) {
	n.bends(func(frame []byte) [][]byte {
		r, err := bftraft.DecodeBlockReply(frame)
		if err != nil {
			return [][]byte{frame}
		}
		bend(r)
		return [][]byte{r.Encode()}
	})
}

// claims is how any number of liars agree on one false result: a block of their own making.
func (n *node) claims(value string) {
	n.bendReplies(func(r *bftraft.BlockReply) {
		for i := range r.Results {
			r.Results[i] = []byte(value)
		}
		resign(n, r)
	})
}

// resign makes a reply consistent again, as if its request stood alone in its block.
func resign(n *node, r *bftraft.BlockReply) {
	leaves := []bftraft.Digest{r.Leaf()}
	r.Place, r.Leaves, r.Branch = 0, 1, nil
	r.Reply.Results = crypto.MerkleRoot(leaves)
	r.Sig = quorumcert.Sign(n.signer, r.Reply)
}

func (n *node) stopsHearing() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.deaf = true
}

func (n *node) lags(lag bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lag = lag
}

func (n *node) heard(kind byte) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	count := 0
	for _, k := range n.got {
		if k == kind {
			count++
		}
	}
	return count
}

func put(t *testing.T, key, value string) []byte {
	t.Helper()
	op, err := kv.EncodeOp(kv.Put{Key: []byte(key), Value: []byte(value)})
	require.NoError(t, err)
	return op
}

func get(t *testing.T, key string) []byte {
	t.Helper()
	q, err := kv.EncodeQuery(kv.Range{Span: kv.One([]byte(key))})
	require.NoError(t, err)
	return q
}

// valueOf returns the value in the answer to get.
func valueOf(t *testing.T, result []byte) string {
	t.Helper()
	r, err := kv.DecodeQueryResult(result)
	require.NoError(t, err)
	keys := r.(kv.RangeResult).KVs
	if len(keys) == 0 {
		return ""
	}
	return string(keys[0].Value)
}
