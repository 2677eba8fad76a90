package bftraft

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

func TestHonestMessagesPassTheGate(t *testing.T) {
	c := newWireCluster(t)
	for _, i := range c.instances() {
		v, drop := c.gate.Verify(i.from, Encode(i.msg))
		require.Equal(t, Accepted, drop, i.name)
		require.Equal(t, i.from, v.From(), i.name)
		require.IsType(t, i.msg, v.Message(), i.name)
		require.Equal(t, Encode(i.msg), Encode(v.Message()), i.name)
	}
	require.Equal(t, c.id, c.gate.Cluster())
	require.Equal(t, quorumcert.SetOf(1, 2, 3, 4), c.gate.Configurations().Latest().Members())
}

// BYZ-M2: a byte that can be changed without notice is a field that nobody signed.
func TestNoByteOfAFrameCanBeChanged(t *testing.T) {
	c, rng := newWireCluster(t), wireRand(t)
	for _, i := range c.instances() {
		frame := Encode(i.msg)
		allowed := []Drop{Malformed, BadSignature, WrongSender, Oversize}
		if _, whole := i.msg.(envelope); !whole {
			allowed = append(allowed, VoidAck, BrokenChain, BadCertificate, UnknownChange)
		}
		for at := range frame {
			for _, mask := range []byte{1 << rng.IntN(8), byte(1 + rng.IntN(255))} {
				bad := slices.Clone(frame)
				bad[at] ^= mask
				v, drop := c.gate.Verify(i.from, bad)
				require.Contains(t, allowed, drop, "%s: byte %d of %d, mask %#x: %v", i.name, at,
					len(frame), mask, drop)
				require.Zero(t, v)
			}
		}
	}
}

func TestTruncatedAndPaddedFramesDoNotPassTheGate(t *testing.T) {
	c := newWireCluster(t)
	for _, i := range c.instances() {
		frame := Encode(i.msg)
		for n := range frame {
			_, drop := c.gate.Verify(i.from, frame[:n])
			require.Equal(t, Malformed, drop, "%s cut to %d", i.name, n)
		}
		_, drop := c.gate.Verify(i.from, append(frame, 0))
		require.Equal(t, Malformed, drop, i.name)
	}
	_, drop := c.gate.Verify(1, make([]byte, MaxFrameBytes+1))
	require.Equal(t, Oversize, drop)
}

func TestFramesOfAnotherClusterAreRefused(t *testing.T) {
	c := newWireCluster(t)
	g := wireGenesis()
	g.Nonce[31] ^= 1
	other, err := NewVerifier(crypto.ZIP215(), g)
	require.NoError(t, err)
	for _, i := range c.instances() {
		_, drop := other.Verify(i.from, Encode(i.msg))
		require.Equal(t, BadSignature, drop, "%s: same voters, same keys, other cluster", i.name)
	}
}

// BYZ-M6: what a voter signed is worth nothing on another's link.
func TestFramesOnAnotherLinkAreRefused(t *testing.T) {
	c := newWireCluster(t)
	for _, i := range c.instances() {
		frame := Encode(i.msg)
		for id := range 256 {
			from, want := NodeID(id), UnknownSender
			switch {
			case from == i.from:
				continue
			case from >= 1 && from <= 4:
				want = WrongSender
			}
			_, drop := c.gate.Verify(from, frame)
			require.Equal(t, want, drop, "%s on the link of %d", i.name, from)
		}
	}
}

// signatureOf returns where the sender's own signature stands in a message.
func signatureOf(m Message) *crypto.Signature {
	switch m := m.(type) {
	case *AppendEntries:
		return &m.Ack.Sig
	case *AppendEntriesResponse:
		return &m.Ack.Sig
	case *Suspect:
		return &m.Sig
	case *RequestVoteResponse:
		return &m.Vote.Sig
	case *CheckpointVote:
		return &m.Checkpoint.Sig
	case envelope:
		return &m.envelope().Sig
	}
	panic("fixture: a message without signature")
}

// signedBytesOf returns the domain and the bytes that the sender of m signs.
func (c *wireCluster) signedBytesOf(m Message) (crypto.Domain, []byte) {
	var st quorumcert.Statement
	switch m := m.(type) {
	case *AppendEntries:
		st = m.Ack.Ack
	case *AppendEntriesResponse:
		st = m.Ack.Ack
	case *Suspect:
		st = quorumcert.Suspicion{Cluster: c.id, Term: m.Term}
	case *RequestVoteResponse:
		st = m.Vote.Vote
	case *CheckpointVote:
		st = m.Checkpoint.Checkpoint
	default:
		frame := Encode(m)
		digest := messageDigest(c.id, frame[:len(frame)-64])
		return crypto.DomainMessage, digest[:]
	}
	return st.Domain(), st.AppendTo(nil)
}

// BYZ-M1: a signature by anybody else, or none at all.
func TestForgedSignaturesAreRefusedOnEveryMessage(t *testing.T) {
	c := newWireCluster(t)
	for _, i := range c.instances() {
		slot := signatureOf(i.msg)
		good := *slot
		domain, msg := c.signedBytesOf(i.msg)
		forged := map[string]crypto.Signature{"none": {}, "all ones": {}}
		ones := forged["all ones"]
		copy(ones[:], slices.Repeat([]byte{0xff}, 64))
		forged["all ones"] = ones
		for key := range 30 {
			if key != int(i.from) {
				forged[fmt.Sprint("key ", key)] = wireKey(key).Sign(domain, msg)
			}
		}
		for name, sig := range forged {
			*slot = sig
			_, drop := c.gate.Verify(i.from, Encode(i.msg))
			require.Equal(t, BadSignature, drop, "%s: signature by %s", i.name, name)
		}
		*slot = wireKey(int(i.from)).Sign(domain, msg)
		require.Equal(t, good, *slot)
		_, drop := c.gate.Verify(i.from, Encode(i.msg))
		require.Equal(t, Accepted, drop, i.name)
	}
}

// BYZ-M3: what was signed as one kind of thing passes for no other.
func TestSignaturesHoldInTheirOwnDomainOnly(t *testing.T) {
	c := newWireCluster(t)
	domains := []crypto.Domain{crypto.DomainAck, crypto.DomainVote, crypto.DomainSuspect,
		crypto.DomainReply, crypto.DomainMessage, crypto.DomainRequest, crypto.DomainRead,
		crypto.DomainReadReply, crypto.DomainCheckpoint}
	for _, i := range c.instances() {
		right, msg := c.signedBytesOf(i.msg)
		slot := signatureOf(i.msg)
		for _, d := range domains {
			*slot = c.signer(i.from).Sign(d, msg)
			want := BadSignature
			if d == right {
				want = Accepted
			}
			_, drop := c.gate.Verify(i.from, Encode(i.msg))
			require.Equal(t, want, drop, "%s signed as %s", i.name, d)
		}
	}
}

// A signature moved to any other message of the same sender is refused there.
func TestSignaturesCannotBeMovedBetweenMessages(t *testing.T) {
	c := newWireCluster(t)
	resigned := func(m Message) {
		d, msg := c.signedBytesOf(m)
		*signatureOf(m) = c.signer(1).Sign(d, msg)
	}
	moved := func(m Message) Message {
		switch m := m.(type) {
		case *AppendEntries:
			m.Ack.Signer = 1
		case *AppendEntriesResponse:
			m.Ack.Signer = 1
		case *Suspect:
			m.Signer = 1
		case *RequestVoteResponse:
			m.Vote.Signer = 1
		case *CheckpointVote:
			m.Checkpoint.Signer = 1
		case envelope:
			m.envelope().From = 1
		}
		resigned(m)
		return m
	}
	all := c.instances()
	for _, i := range all {
		moved(i.msg)
		_, drop := c.gate.Verify(1, Encode(i.msg))
		require.Equal(t, Accepted, drop, "%s: any voter may sign it", i.name)
	}
	for _, i := range all {
		good := *signatureOf(i.msg)
		for _, other := range all {
			d, msg := c.signedBytesOf(i.msg)
			od, omsg := c.signedBytesOf(other.msg)
			if d == od && string(msg) == string(omsg) {
				continue
			}
			*signatureOf(i.msg) = *signatureOf(other.msg)
			_, drop := c.gate.Verify(1, Encode(i.msg))
			require.Equal(t, BadSignature, drop, "%s with the signature of %s", i.name, other.name)
			*signatureOf(i.msg) = good
		}
	}
}

func TestVoidAcksAreRefused(t *testing.T) {
	c := newWireCluster(t)
	at := c.b3.End()
	for name, a := range map[string]quorumcert.SignedAck{
		"certified beyond itself": c.ack(2, 3, at, at.Index+1),
		"certified far beyond":    c.ack(2, 3, at, 1<<63),
		"of term 0":               c.ack(2, 0, at, 0),
	} {
		for _, m := range []Message{
			&AppendEntries{Ack: a}, &AppendEntries{Ack: a, Blocks: fresh(c.b3)},
			&AppendEntriesResponse{a},
		} {
			_, drop := c.gate.Verify(2, Encode(m))
			require.Equal(t, VoidAck, drop, "%s %s", MessageName(m), name)
		}
		m := c.sealed(1, &Chain{Blocks: fresh(c.b3), LeaderAck: &a})
		_, drop := c.gate.Verify(1, Encode(m))
		require.Equal(t, VoidAck, drop, "chain %s", name)
	}
	whole := c.ack(2, 3, at, at.Index)
	_, drop := c.gate.Verify(2, Encode(&AppendEntriesResponse{whole}))
	require.Equal(t, Accepted, drop, "an ack may have its own index certified")
}

func TestAcksAndVotesOfAnotherClusterAreRefused(t *testing.T) {
	c := newWireCluster(t)
	a := quorumcert.Ack{Cluster: Digest{7}, Term: 3, Index: 6, Hash: c.b3.Hash()}
	v := quorumcert.Vote{Cluster: Digest{7}, Term: 3, Candidate: 1}
	sa := quorumcert.SignedAck{Ack: a, Signer: 2, Sig: quorumcert.Sign(c.signer(2), a)}
	sv := quorumcert.SignedVote{Vote: v, Signer: 2, Sig: quorumcert.Sign(c.signer(2), v)}
	chain := &Chain{Blocks: fresh(c.b3), LeaderAck: &sa}
	for _, m := range []Message{
		&AppendEntries{Ack: sa}, &AppendEntriesResponse{sa}, &RequestVoteResponse{sv},
		c.sealed(2, chain),
	} {
		_, drop := c.gate.Verify(2, Encode(m))
		require.Equal(t, BadSignature, drop, MessageName(m))
	}
}

func TestChainsLeaderAckIsJudged(t *testing.T) {
	c := newWireCluster(t)
	good := c.ack(2, 3, c.b3.End(), 3)
	blocks := func() []*Block { return fresh(c.b2, c.b3) }
	for name, want := range map[string]Drop{
		"flipped": BadSignature, "stranger": BadSignature, "voter 64": BadSignature,
		"other end": BrokenChain, "no blocks": BrokenChain, "other hash": BrokenChain,
	} {
		a, m := good, &Chain{Blocks: blocks()}
		switch name {
		case "flipped":
			a.Sig[3] ^= 1
		case "stranger":
			a.Sig = quorumcert.Sign(c.signer(9), a.Ack)
		case "voter 64":
			a.Signer = 64
		case "other end":
			a = c.ack(2, 3, c.b2.End(), 0)
		case "no blocks":
			m.Blocks = nil
		case "other hash":
			a = c.ack(2, 3, Position{6, Digest{1}}, 0)
		}
		m.LeaderAck = &a
		_, drop := c.gate.Verify(1, Encode(c.sealed(1, m)))
		require.Equal(t, want, drop, name)
	}
}

func TestEvidenceThatProvesNothingIsRefused(t *testing.T) {
	c := newWireCluster(t)
	base, _ := c.base()
	acks := func(spoil func(e *quorumcert.AckConflict)) quorumcert.Evidence {
		e := c.ackConflict()
		spoil(e)
		return quorumcert.Evidence{Acks: e}
	}
	votes := func(a, b quorumcert.SignedVote) quorumcert.Evidence {
		return quorumcert.Evidence{Votes: &quorumcert.VoteConflict{A: a, B: b}}
	}
	for name, e := range map[string]quorumcert.Evidence{
		"no headers":  acks(func(e *quorumcert.AckConflict) { e.Headers = nil }),
		"two voters":  acks(func(e *quorumcert.AckConflict) { e.B.Signer = 2 }),
		"bad ack":     acks(func(e *quorumcert.AckConflict) { e.A.Sig[0] ^= 1 }),
		"same ack":    acks(func(e *quorumcert.AckConflict) { e.B = e.A }),
		"other hash":  acks(func(e *quorumcert.AckConflict) { e.Headers[0].Root[0] ^= 1 }),
		"stranger":    acks(func(e *quorumcert.AckConflict) { e.A.Signer, e.B.Signer = 9, 9 }),
		"same vote":   votes(c.vote(3, 1, 3, base), c.vote(3, 1, 3, base)),
		"two terms":   votes(c.vote(3, 1, 3, base), c.vote(3, 2, 4, base)),
		"other voter": votes(c.vote(3, 1, 3, base), c.vote(4, 2, 3, base)),
		"higher lock": votes(c.vote(3, 1, 3, base), c.vote(3, 1, 3, Lock{Term: 2, Index: 3})),
	} {
		_, drop := c.gate.Verify(4, Encode(c.sealed(4, &Accusation{Evidence: e})))
		require.Equal(t, NoProof, drop, name)
	}
}

// certificatesIn returns the signatures of each certificate that a message carries.
func certificatesIn(m Message) map[string]*quorumcert.Signatures {
	out := make(map[string]*quorumcert.Signatures)
	add := func(
		tc *quorumcert.TC, ec *quorumcert.EC, cc *quorumcert.Commit, qcs ...*quorumcert.QC,
	) {
		if tc != nil {
			out["TC"] = &tc.Signatures
		}
		if ec != nil {
			out["EC"] = &ec.Signatures
		}
		if cc != nil {
			out["Commit"] = &cc.Signatures
		}
		for k, qc := range qcs {
			if qc != nil {
				out[fmt.Sprint("QC ", k)] = &qc.Signatures
			}
		}
	}
	switch m := m.(type) {
	case *AppendEntries:
		add(nil, m.Election, nil, m.BaseQC)
	case *RequestVote:
		add(m.TC, nil, nil, m.LockQC)
	case *Proof:
		add(m.TC, m.EC, m.Commit, m.BaseQC, m.QC)
	case *Committed:
		add(nil, nil, m.Commit, m.LockQC)
	}
	return out
}

func TestEachCertificateInAMessageIsVerified(t *testing.T) {
	c := newWireCluster(t)
	judged := 0
	for _, i := range c.instances() {
		verdict := func() Drop {
			if _, ok := i.msg.(envelope); ok {
				c.sealed(i.from, i.msg)
			}
			_, drop := c.gate.Verify(i.from, Encode(i.msg))
			return drop
		}
		for name, sigs := range certificatesIn(i.msg) {
			for k := range sigs.Sigs {
				sigs.Sigs[k][50] ^= 4
				require.Equal(t, BadCertificate, verdict(), "%s: %s, signature %d", i.name, name, k)
				sigs.Sigs[k][50] ^= 4
			}
			members := sigs.Signers
			sigs.Signers = members.Without(members.Next(0)).With(5)
			require.Equal(t, BadCertificate, verdict(), "%s: %s, signer from outside", i.name, name)
			sigs.Signers = members
			require.Equal(t, Accepted, verdict(), "%s: %s restored", i.name, name)
			judged++
		}
	}
	require.Equal(t, 11, judged, "certificates in all messages together")
}

func TestElectionComesWithTheCertificateOfItsBase(t *testing.T) {
	c := newWireCluster(t)
	base, baseQC := c.base()
	genesis := Lock{Hash: c.id}
	ec := c.ec(3, 2, base, 1, 2, 3)
	fromGenesis := c.ec(3, 2, genesis, 1, 2, 4)
	otherGenesis := c.ec(3, 2, Lock{Index: 2, Hash: c.b1.Hash()}, 1, 2, 4)
	for name, k := range map[string]struct {
		ec   *quorumcert.EC
		qc   *quorumcert.QC
		want Drop
	}{
		"complete":                 {ec, baseQC, Accepted},
		"from the genesis":         {fromGenesis, nil, Accepted},
		"base without certificate": {ec, nil, BadCertificate},
		"certificate of another":   {ec, c.qc(1, c.b2.End(), 1, 2, 3), BadCertificate},
		"of another term":          {ec, c.qc(2, c.b1.End(), 1, 2, 3), BadCertificate},
		"certificate alone":        {nil, baseQC, Malformed},
		"genesis with certificate": {fromGenesis, baseQC, BadCertificate},
		"a base nobody certified":  {otherGenesis, nil, BadCertificate},
		"too few votes":            {c.ec(3, 2, base, 1, 2), baseQC, BadCertificate},
		"leader from outside":      {c.ec(3, 5, base, 1, 2, 3), baseQC, BadCertificate},
		"base of its own term":     {c.ec(1, 2, base, 1, 2, 3), baseQC, BadCertificate},
	} {
		leader := &AppendEntries{Ack: c.ack(2, 3, c.b1.End(), 0), Election: k.ec, BaseQC: k.qc}
		_, drop := c.gate.Verify(2, Encode(leader))
		require.Equal(t, k.want, drop, "append: %s", name)
		proof := c.sealed(4, &Proof{TermProof: TermProof{EC: k.ec, BaseQC: k.qc}})
		_, drop = c.gate.Verify(4, Encode(proof))
		require.Equal(t, k.want, drop, "proof: %s", name)
	}
}

func TestCandidatesProveTheirLockAndTheirTerm(t *testing.T) {
	c := newWireCluster(t)
	base, qc := c.base()
	genesis := Lock{Hash: c.id}
	tc := c.tc(2, 1, 2, 3)
	for name, k := range map[string]struct {
		m    RequestVote
		want Drop
	}{
		"complete":           {RequestVote{Term: 3, Lock: base, LockQC: qc, TC: tc}, Accepted},
		"from the genesis":   {RequestVote{Term: 3, Lock: genesis, TC: tc}, Accepted},
		"first term":         {RequestVote{Term: 1, Lock: genesis}, Accepted},
		"term 0":             {RequestVote{Term: 0, Lock: genesis}, BadCertificate},
		"first term with TC": {RequestVote{Term: 1, Lock: genesis, TC: tc}, BadCertificate},
		"no TC":              {RequestVote{Term: 3, Lock: base, LockQC: qc}, BadCertificate},
		"TC of the term":     {RequestVote{Term: 2, Lock: genesis, TC: tc}, BadCertificate},
		"older TC":           {RequestVote{Term: 4, Lock: genesis, TC: tc}, BadCertificate},
		"lock of the term":   {RequestVote{Term: 1, Lock: base, LockQC: qc}, BadCertificate},
		"lock unproven":      {RequestVote{Term: 3, Lock: base, TC: tc}, BadCertificate},
		"another lock": {RequestVote{Term: 3, Lock: genesis, LockQC: qc, TC: tc},
			BadCertificate},
		"no genesis": {RequestVote{Term: 3, TC: tc}, BadCertificate},
		"genesis, other index": {RequestVote{Term: 3, Lock: Lock{Index: 1, Hash: c.id}, TC: tc},
			BadCertificate},
		"TC of too few": {RequestVote{Term: 3, Lock: genesis, TC: c.tc(2, 1, 3)},
			BadCertificate},
	} {
		_, drop := c.gate.Verify(1, Encode(c.sealed(1, &k.m)))
		require.Equal(t, k.want, drop, name)
	}
}

func TestBlocksInAMessageFollowEachOther(t *testing.T) {
	c := newWireCluster(t)
	rival := c.block(c.b1.End(), "rival")
	end := c.ack(2, 3, c.b3.End(), 0)
	for name, k := range map[string]struct {
		blocks []*Block
		want   Drop
	}{
		"in order":      {fresh(c.b1, c.b2, c.b3), Accepted},
		"gap":           {fresh(c.b1, c.b3), BrokenChain},
		"out of order":  {fresh(c.b2, c.b1, c.b3), BrokenChain},
		"twice":         {fresh(c.b2, c.b3, c.b3), BrokenChain},
		"other history": {fresh(c.b1, rival, c.b3), BrokenChain},
	} {
		_, drop := c.gate.Verify(2, Encode(&AppendEntries{Blocks: k.blocks, Ack: end}))
		require.Equal(t, k.want, drop, "append: %s", name)
		_, drop = c.gate.Verify(1, Encode(c.sealed(1, &Chain{Blocks: k.blocks})))
		require.Equal(t, k.want, drop, "chain: %s", name)
	}
	for _, a := range []quorumcert.SignedAck{
		c.ack(2, 3, c.b2.End(), 0), c.ack(2, 3, Position{6, c.b2.Hash()}, 0),
		c.ack(2, 3, Position{5, c.b3.Hash()}, 0),
	} {
		_, drop := c.gate.Verify(2, Encode(&AppendEntries{Blocks: fresh(c.b3), Ack: a}))
		require.Equal(t, BrokenChain, drop, "the ack stands elsewhere")
	}
}

func TestCommittedBlocksLeadToTheirCertificate(t *testing.T) {
	c := newWireCluster(t)
	h2, h3 := c.b2.Header(), c.b3.Header()
	forged := h2
	forged.Root[0] ^= 1
	type headers = []quorumcert.Header
	for name, k := range map[string]struct {
		blocks []*Block
		bridge headers
		cc     *quorumcert.Commit
		want   Drop
	}{
		"all":                {fresh(c.b1, c.b2), nil, c.commit(), Accepted},
		"bridged":            {fresh(c.b1), headers{h2}, c.commit(), Accepted},
		"certificate alone":  {nil, nil, c.commit(), Accepted},
		"no certificate":     {fresh(c.b1, c.b2), nil, nil, Malformed},
		"bridge from naught": {nil, headers{h2}, c.commit(), Malformed},
		"short":              {fresh(c.b1), nil, c.commit(), BrokenChain},
		"beyond":             {fresh(c.b1, c.b2, c.b3), nil, c.commit(), BrokenChain},
		"bridge too long":    {fresh(c.b1), headers{h2, h3}, c.commit(), BrokenChain},
		"bridge with a gap":  {fresh(c.b1), headers{h3}, c.commit(), BrokenChain},
		"forged bridge":      {fresh(c.b1), headers{forged}, c.commit(), BrokenChain},
		"gap":                {fresh(c.b2, c.b1), headers{h2}, c.commit(), BrokenChain},
	} {
		m := c.sealed(1, &Committed{Blocks: k.blocks, Bridge: k.bridge, Commit: k.cc})
		_, drop := c.gate.Verify(1, Encode(m))
		require.Equal(t, k.want, drop, name)
	}
}

// badEntries returns entries that may not stand in a block.
func (c *wireCluster) badEntries() map[string]Entry {
	good := c.request(11, 9, "op")
	flipped := slices.Clone(good.Raw())
	flipped[len(flipped)-1] ^= 1
	other := SignRequest(Digest{5}, wireKey(11), 1, 9, [][]byte{[]byte("op")})
	out := map[string]Entry{
		"forged signature": {EntryRequest, flipped},
		"unknown client":   c.request(13, 9, "op").Entry(),
		"a voter's key":    c.request(1, 9, "op").Entry(),
		"other cluster":    other.Entry(),
		"malformed":        {EntryRequest, good.Raw()[:40]},
		"trailing byte":    {EntryRequest, append(slices.Clone(good.Raw()), 0)},
		"empty":            {EntryRequest, nil},
		"session zero":     SignRequest(c.id, wireKey(11), 0, 9, [][]byte{{1}}).Entry(),
		"oversize":         c.request(11, 9, string(make([]byte, MaxOpBytes+1))).Entry(),
	}
	for _, k := range []EntryKind{0, EntryConfiguration, EntryCommit, EntryEvidence, 5, 255} {
		out[fmt.Sprint("kind ", k)] = Entry{k, good.Raw()}
	}
	return out
}

// Whether an entry may stand in a block is judged at the gate, but the block goes on to the core:
// with the leader's ack it is proof against the leader (A6).
func TestInvalidEntriesPassTheGateWithTheirVerdict(t *testing.T) {
	c := newWireCluster(t)
	good := c.request(12, 4, "good").Entry()
	judge := func(from NodeID, m Message) Message {
		v, drop := c.gate.Verify(from, Encode(m))
		require.Equal(t, Accepted, drop)
		return v.Message()
	}
	both := func(want checkState, why string, entries ...Entry) {
		b := NewBlock(c.b2.End(), entries)
		ack := c.ack(2, 3, b.End(), 0)
		appended := judge(2, &AppendEntries{Blocks: []*Block{b}, Ack: ack}).(*AppendEntries)
		require.Equal(t, want, appended.Blocks[0].checked, "append: %s", why)
		m := c.sealed(1, &Chain{Blocks: []*Block{b}, LeaderAck: &ack})
		require.Equal(t, want, judge(1, m).(*Chain).Blocks[0].checked, "chain: %s", why)
	}
	both(entriesValid, "one", good)
	both(entriesValid, "five", good, good, good, good, good)
	for name, bad := range c.badEntries() {
		first := entriesInvalid
		if bad.Kind == EntryCommit {
			first = entriesElsewhere // it would stand behind a change (J1)
		}
		both(first, name, bad)
		both(first, name+", first", bad, good, good, good, good)
		both(entriesInvalid, name+", last", good, good, good, good, bad)
	}
}

func TestABadBlockDoesNotTaintItsNeighbours(t *testing.T) {
	c := newWireCluster(t)
	bad := NewBlock(c.b2.End(), []Entry{{Kind: EntryEvidence}})
	next := c.block(bad.End(), "fine")
	m := &AppendEntries{Blocks: []*Block{c.b2, bad, next}, Ack: c.ack(2, 3, next.End(), 0)}
	v, drop := c.gate.Verify(2, Encode(m))
	require.Equal(t, Accepted, drop)
	var got []checkState
	for _, b := range v.Message().(*AppendEntries).Blocks {
		got = append(got, b.checked)
	}
	require.Equal(t, []checkState{entriesValid, entriesInvalid, entriesValid}, got)
}

// What a quorum has committed was judged by honest voters; it is proven, not judged again.
func TestCommittedBlocksAreNotJudged(t *testing.T) {
	c := newWireCluster(t)
	m := c.sealed(1, &Committed{Blocks: fresh(c.b1, c.b2), Commit: c.commit()})
	v, drop := c.gate.Verify(1, Encode(m))
	require.Equal(t, Accepted, drop)
	for _, b := range v.Message().(*Committed).Blocks {
		require.Equal(t, unchecked, b.checked)
	}
}
