package client

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// adminKey is that of the administrator of clusters whose members change. Node n has the key n.
func adminKey() crypto.PrivateKey { return testKey(210) }

// changingGenesis is that of a cluster whose members one administrator may change.
func changingGenesis(nodes int) *bftraft.Genesis {
	g := testGenesis(nodes)
	g.Admins, g.AdminQuorum = []bftraft.Enrolled{{Name: "root", Key: adminKey().Public()}}, 1
	return g
}

// verifier returns the gate behind all changes.
func (c *cluster) verifier() *bftraft.Verifier {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gate
}

// joins is the step by which node n becomes a learner, as long as ids are given in order.
func joins(n byte) bftraft.ChangeStep {
	return bftraft.ChangeStep{
		Kind: bftraft.AddNode, Key: testKey(n).Public(), Name: "node.example:1",
	}
}

func promotes(n byte) bftraft.ChangeStep {
	return bftraft.ChangeStep{Kind: bftraft.Promote, Key: testKey(n).Public()}
}

func leaves(n byte) bftraft.ChangeStep {
	return bftraft.ChangeStep{Kind: bftraft.RemoveNode, Key: testKey(n).Public()}
}

// drafted returns a change of what is in force.
func (c *cluster) drafted(steps ...bftraft.ChangeStep) *bftraft.Change {
	m := c.verifier().Members()
	ch := &bftraft.Change{Number: m.Number + 1, Replaces: m.At, Steps: steps}
	ch.Endorse(c.id, adminKey())
	return ch
}

// change brings a change into force at once, for which all who would vote are ready. Nodes that are
// new are started.
func (c *cluster) change(steps ...bftraft.ChangeStep) {
	ch := c.drafted(steps...)
	next, err := c.verifier().Members().After(ch)
	require.NoError(c.t, err)
	for _, v := range next.Incoming {
		ch.AddReady(bftraft.SignReady(c.id, ch, testKey(byte(v.ID))))
	}
	c.mu.Lock()
	for _, n := range next.Nodes {
		if int(n.ID) > len(c.nodes) {
			c.nodes = append(c.nodes, c.newNode(n.ID))
		}
	}
	c.mu.Unlock()
	c.commit(c.carrying(ch))
}

// carrying returns the entry by which a change comes into force.
func (c *cluster) carrying(ch *bftraft.Change) bftraft.Entry {
	carrier := bftraft.SignRequest(c.id, clientKey(), 7, ch.Number, [][]byte{ch.Op()})
	return bftraft.Entry{Kind: bftraft.EntryConfiguration, Data: carrier.Raw()}
}

// close commits the entry that closes a joint configuration.
func (c *cluster) close() { c.commit(bftraft.Entry{Kind: bftraft.EntryClosing}) }

// commit lets the gate go by an entry that is committed by all voters there are and are to be.
func (c *cluster) commit(e bftraft.Entry) {
	next, err := c.verifier().After(c.proof(e))
	require.NoError(c.t, err)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gate, c.blocks = next, append(c.blocks, nil)
}

// proof returns what proves that an entry comes next and is committed.
func (c *cluster) proof(e bftraft.Entry) *bftraft.ChangeProof {
	by := c.verifier().Configurations().Latest()
	c.mu.Lock()
	at := bftraft.Index(len(c.blocks)) + 1
	c.mu.Unlock()
	p := &bftraft.ChangeProof{Entry: e.Data, Header: quorumcert.Header{
		Prev: hashAt(at - 1), First: at, Last: at, Root: crypto.MerkleRoot(
			[]bftraft.Digest{e.Digest()}),
	}}
	hash := p.Header.Hash()
	ack := quorumcert.Ack{Cluster: c.id, Term: 1, Index: at, Hash: hash, Certified: at}
	p.Commit = quorumcert.Commit{Term: 1, Index: at, Hash: hash}
	all := by.Members() | by.Incoming()
	for id := all.Next(0); id != 0; id = all.Next(id) {
		p.Commit.Signers = p.Commit.Signers.With(id)
		p.Commit.Sigs = append(p.Commit.Sigs, quorumcert.Sign(c.node(int(id)).signer, ack))
		p.Commit.Acks = append(p.Commit.Acks, quorumcert.AckedAt{Index: at, Certified: at})
	}
	return p
}

// isGone says whether the node is no member any more.
func (n *node) isGone() bool {
	_, ok := n.c.verifier().Members().Node(testKey(byte(n.id)).Public())
	return !ok
}

// renew signs an answer again, as a voter of the configuration that is in force now.
func (n *node) renew(r *bftraft.BlockReply) {
	r.Reply.Configuration = n.c.verifier().Members().At.Index
	r.Sig = quorumcert.Sign(n.signer, r.Reply)
}

// takeOfMembers answers what is asked about the members.
func (n *node) takeOfMembers(frame []byte) {
	if number, err := bftraft.DecodeChangesRequest(frame); err == nil {
		n.send(n.c.verifier().EncodeChanges(number))
		return
	}
	ch, err := bftraft.DecodeReadyRequest(frame)
	require.NoError(n.c.t, err)
	n.mu.Lock()
	word := n.word
	n.mu.Unlock()
	if word == nil {
		return
	}
	r := word(ch)
	n.send(r.Encode())
}

// says sets what a node says when it is asked whether it is ready.
func (n *node) says(code bftraft.ReadyCode) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.word = func(ch *bftraft.Change) *bftraft.Readiness {
		r := &bftraft.Readiness{Change: ch.Digest(n.c.id), Code: code}
		if code == bftraft.ReadyYes {
			r.Word = bftraft.SignReady(n.c.id, ch, testKey(byte(n.id)))
		}
		return r
	}
}

// playChanging is play in a cluster whose members may change.
func playChanging(t *testing.T, size int, plot func(*scene)) {
	t.Helper()
	playOf(t, changingGenesis(size), nil, plot)
}
