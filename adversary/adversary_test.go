package adversary

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/replica"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

func TestRegistryKnowsItsAttacksAndRefusesOthers(t *testing.T) {
	require.True(t, slices.IsSorted(Names()))
	o := Options{Core: newCluster(t, 4, nil).config(1)}
	for _, a := range All() {
		require.NotEmpty(t, a.Does, a.Name)
		require.NotEmpty(t, a.Caught, a.Name)
		spec, err := Parse(a.Name)
		require.NoError(t, err)
		_, err = New([]Spec{spec, spec}, o)
		require.NoError(t, err)
		for _, option := range a.Options {
			require.NotEmpty(t, option.Does, a.Name)
			if option.Default != "" {
				_, err := Parse(a.Name + "," + option.Name + "=" + option.Default)
				require.NoError(t, err)
			}
		}
	}
	_, err := New([]Spec{{Name: "harmless"}}, o)
	require.ErrorIs(t, err, ErrUnknown)
	_, err = New([]Spec{{Name: "silent"}}, Options{})
	require.Error(t, err, "a liar without a key")
}

func TestOptionsOfAttacksAreReadAndRefused(t *testing.T) {
	s, err := Parse("equivocate,split=one")
	require.NoError(t, err)
	require.Equal(t, "one", s.Get("split"))
	require.Empty(t, s.Get("rate"))
	require.Equal(t, "equivocate,split=one", s.String())
	s, err = Parse("leaky,to=tcp:127.0.0.1:99")
	require.NoError(t, err)
	require.Equal(t, "tcp:127.0.0.1:99", s.Get("to"))
	for text, says := range map[string]string{
		"":                               "no such adversary",
		"harmless":                       "only ackliar, amnesiac",
		"equivocate,":                    "is not option=value",
		"equivocate,split":               "is not option=value",
		"equivocate,split=third":         "one of half, one, rest, random",
		"equivocate,split=one,split=one": "twice",
		"equivocate,rate=3":              `no "rate", only split`,
		"idleboss,rate=3":                "only its name",
		"flood,rate=0":                   "from 1 to 10000",
		"flood,rate=many":                "from 1 to 10000",
	} {
		_, err := Parse(text)
		require.ErrorContains(t, err, says, text)
	}
}

// convicted says that all the given hold proof against the liar.
func convicted(members []*member, liar crypto.NodeID) bool {
	for _, m := range members {
		found := false
		for _, e := range m.Core().Evidence {
			found = found || e.Culprit() == liar && e.Acks != nil
		}
		if !found {
			return false
		}
	}
	return true
}

// proposals collects the positions a leader acked in proposals, by receiver.
type proposals map[crypto.NodeID]map[bftraft.Position]bool

func (p proposals) collect(from crypto.NodeID, d packet) {
	m, drop := bftraft.DecodeMessage(d.frame)
	if d.from != from || drop != bftraft.Accepted {
		return
	}
	if a, ok := m.(*bftraft.AppendEntries); ok && len(a.Blocks) > 0 {
		if p[d.to] == nil {
			p[d.to] = map[bftraft.Position]bool{}
		}
		p[d.to][a.Blocks[0].End()] = true
	}
}

func TestEquivocatingLeaderIsConvictedDeposedAndNeverElectedAgain(t *testing.T) {
	const liar = crypto.NodeID(2) // leads term 1: rank 0 is the voter at position 1
	for _, n := range []int{4, 7} {
		c := newCluster(t, n, map[crypto.NodeID]string{liar: "equivocate"})
		honest := c.honest(liar)
		c.until("the liar leads", func() bool { return c.member(liar).Core().Leading })
		c.request()
		said := proposals{}
		c.spy = func(p packet) { said.collect(liar, p) }
		c.until("all honest members convict the liar",
			func() bool { return convicted(honest, liar) })
		first, last := honest[0].id, honest[len(honest)-1].id
		for at := range said[last] {
			require.False(t, said[first][at], "both halves were told the same")
		}
		require.NotEmpty(t, said[first])
		require.NotEmpty(t, said[last])

		c.until("an honest leader", func() bool {
			for _, m := range honest {
				if l := m.Core().Leader; l == 0 || l == liar {
					return false
				}
			}
			return true
		})
		for range 5 {
			c.request()
		}
		c.agree(honest)
		neverElected(c, honest, liar)
	}
}

// neverElected lets leaders resign until the liar has been refused in a term that would be its.
func neverElected(c *cluster, honest []*member, liar crypto.NodeID) {
	from := honest[0].Core().Term
	c.until("the liar's turn comes and goes", func() bool {
		for _, m := range honest {
			if s := m.Core(); s.Leading {
				m.Resign()
			}
			require.NotEqual(c.t, liar, m.Core().Leader)
		}
		return honest[0].Core().Term >= from+bftraft.Term(2*len(c.members))
	})
	refused := 0
	for _, m := range honest {
		refused += m.drops[liar][bftraft.FaultySender]
	}
	require.Positive(c.t, refused)
	c.request()
	c.agree(honest)
}

func TestEquivocatorBehavesUntilItLeads(t *testing.T) {
	c := newCluster(t, 4, map[crypto.NodeID]string{4: "equivocate"})
	for range 5 {
		c.request()
	}
	c.agree(c.members)
	for _, m := range c.members {
		require.Empty(t, m.Core().Evidence)
	}
}

func TestSilentMemberSendsNothingAndStopsNothing(t *testing.T) {
	for _, silent := range []crypto.NodeID{2, 4} { // the first leader, or a follower
		c := newCluster(t, 4, map[crypto.NodeID]string{silent: "silent"})
		honest := c.honest(silent)
		sent := 0
		c.spy = func(p packet) {
			if p.from == silent {
				sent++
			}
		}
		c.until("an honest leader", func() bool { return honest[0].Core().Leader != 0 })
		for range 5 {
			c.request()
		}
		c.agree(c.members) // it executes all the same
		for range 500 {
			c.tick()
		}
		require.Zero(t, sent)
		require.Zero(t, c.member(silent).replies)
		require.Positive(t, honest[0].replies)
		for _, m := range honest {
			s := m.Core()
			require.Empty(t, s.Evidence)
			for _, p := range s.Peers {
				require.Equal(t, p.ID == silent, p.Silent, "node %d of %d", m.id, p.ID)
			}
		}
	}
}

// TestHonestMemberStopsWhenItIsProvenFaulty: somebody else signs with its key, or its disk was set
// back (J7). It must not sign again, whenever it is started.
func TestHonestMemberStopsWhenItIsProvenFaulty(t *testing.T) {
	const victim, other = crypto.NodeID(4), crypto.NodeID(1)
	c := newCluster(t, 4, nil)
	c.request()
	signer := crypto.NewSigner(victim, seeded(byte(victim)))
	vote := func(candidate crypto.NodeID) quorumcert.SignedVote {
		v := quorumcert.Vote{
			Cluster: c.verifier.Cluster(), Term: 9, Candidate: candidate,
			Lock: quorumcert.Lock{Hash: c.verifier.Cluster()},
		}
		return quorumcert.SignedVote{Vote: v, Signer: victim, Sig: quorumcert.Sign(signer, v)}
	}
	m := &bftraft.Accusation{Evidence: quorumcert.Evidence{
		Votes: &quorumcert.VoteConflict{A: vote(1), B: vote(2)},
	}}
	bftraft.SignMessage(crypto.NewSigner(other, seeded(byte(other))), c.verifier.Cluster(), m)
	v, drop := c.verifier.Verify(other, bftraft.Encode(m))
	require.Equal(t, bftraft.Accepted, drop)
	accused := c.member(victim)
	accused.Step(v)
	require.ErrorIs(t, accused.Flush(), replica.ErrAccused)
	said := len(c.wire)
	accused.Tick()
	require.ErrorIs(t, accused.Flush(), replica.ErrAccused)
	require.Len(t, c.wire, said, "it says something after that")

	cfg := replica.Config{
		Core: c.config(victim), Machine: &chainOf{}, Transport: accused, Storage: accused.disk,
	}
	again, err := replica.New(cfg)
	require.NoError(t, err)
	again.Tick()
	require.ErrorIs(t, again.Flush(), replica.ErrAccused, "it is started again")
	require.Len(t, c.wire, said)
}

// foundOut is a core that is shown what ends an honest member.
type foundOut struct{ replica.Protocol }

func (foundOut) Ready() (bftraft.Ready, bool) {
	return bftraft.Ready{Accused: true, Forgot: true}, true
}

func TestLiarGoesOnWhenItIsFoundOut(t *testing.T) {
	c := newCluster(t, 4, nil)
	l, err := New([]Spec{{Name: "leaky"}}, Options{Core: c.config(4)})
	require.NoError(t, err)
	r, some := l.Core(foundOut{}).Ready()
	require.True(t, some)
	require.False(t, r.Accused)
	require.False(t, r.Forgot)
}
