package judge

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// configuration returns that of four voters.
func configuration(t *testing.T) *quorumcert.Configuration {
	t.Helper()
	return configurationBy(t, crypto.ZIP215())
}

func configurationBy(t *testing.T, scheme crypto.Scheme) *quorumcert.Configuration {
	t.Helper()
	g := &bftraft.Genesis{Name: "judge", Testnet: true, Nonce: bftraft.Digest{1}}
	for id := crypto.NodeID(1); id <= 4; id++ {
		g.Voters = append(g.Voters, quorumcert.Voter{ID: id, Key: signerOf(id).Public()})
	}
	cfg, err := g.Configuration(scheme)
	require.NoError(t, err)
	return cfg
}

func TestSettledTallyHoldsNoReplies(t *testing.T) {
	key := crypto.KeyFromSeed(crypto.Hash(crypto.DomainMessage, []byte("client")))
	req := bftraft.SignRequest(bftraft.Digest{}, key, 1, 1, [][]byte{{1}})
	tally := NewTally(bftraft.Digest{}, fixed{configuration(t)}, req)
	reply := func(id bftraft.NodeID) *bftraft.BlockReply {
		return &bftraft.BlockReply{
			Client: req.Client, Session: 1, Sequence: 1, Request: req.Digest(bftraft.Digest{}),
			Results: [][]byte{{2}}, Signer: id,
		}
	}
	verdict, _ := tally.Add(reply(1))
	require.Equal(t, Counted, verdict)
	require.Len(t, tally.voices, 1)
	require.Equal(t, quorumcert.SetOf(1), tally.Heard())
	verdict, _ = tally.Add(reply(2))
	require.Equal(t, Settled, verdict)
	require.Empty(t, tally.voices)
	require.Equal(t, quorumcert.SetOf(1, 2), tally.Heard())
}

// TestTallyCountsWhoVotesStill: the word of those who have left, whose keys may be in other hands,
// is nothing to who knows that they have.
func TestTallyCountsWhoVotesStill(t *testing.T) {
	of := func(entry quorumcert.Index, ids ...bftraft.NodeID) *quorumcert.Configuration {
		var voters []quorumcert.Voter
		for _, id := range ids {
			voters = append(voters, quorumcert.Voter{ID: id, Key: signerOf(id).Public()})
		}
		c, err := quorumcert.NewConfiguration(crypto.ZIP215(), entry, voters)
		require.NoError(t, err)
		return c
	}
	known := &grown{quorumcert.NewConfigurations(of(0, 1, 2, 3, 4))}
	key := crypto.KeyFromSeed(crypto.Hash(crypto.DomainMessage, []byte("client")))
	req := bftraft.SignRequest(bftraft.Digest{}, key, 1, 1, [][]byte{{1}})
	reply := func(id bftraft.NodeID) *bftraft.BlockReply {
		return &bftraft.BlockReply{
			Client: req.Client, Session: 1, Sequence: 1, Request: req.Digest(bftraft.Digest{}),
			Results: [][]byte{{2}}, Signer: id, Reply: quorumcert.Reply{Index: 3},
		}
	}
	says := func(tally *Tally, want Verdict, ids ...bftraft.NodeID) {
		t.Helper()
		for i, id := range ids {
			verdict, _ := tally.Add(reply(id))
			if i == len(ids)-1 {
				require.Equal(t, want, verdict)
			}
		}
	}
	says(NewTally(bftraft.Digest{}, known, req), Settled, 1, 2)
	late := NewTally(bftraft.Digest{}, known, req)
	says(late, Counted, 1)
	known.grow(t, of(5, 3, 4, 5, 6))
	says(late, Counted, 2)
	says(late, Counted, 3)
	says(late, Settled, 4)
	known.grow(t, of(9, 1, 2, 3, 4, 5, 6, 7))
	grew := NewTally(bftraft.Digest{}, known, req)
	says(grew, Counted, 1, 2)
	says(grew, Repeats, 2)
	known.grow(t, of(10, 1, 2, 3, 4))
	says(grew, Settled, 2)
}

// grown is a cluster with configurations that follow each other.
type grown struct{ cs *quorumcert.Configurations }

func (g *grown) Configurations() *quorumcert.Configurations { return g.cs }

func (*grown) ChangesUpTo(bftraft.Index) []*bftraft.ChangeProof { return nil }

func (g *grown) grow(t *testing.T, c *quorumcert.Configuration) {
	cs, err := g.cs.With(c)
	require.NoError(t, err)
	g.cs = cs
}

func TestQuestionAsksWhoIsBehindOnceForTheReadIndex(t *testing.T) {
	q := Linearizable(configuration(t), []byte("q"))
	q.Least = 2
	answer := func(id bftraft.NodeID, lock, executed bftraft.Index, result string) {
		q.Add(&bftraft.ReadReply{
			Signer: id, Lock: quorumcert.Lock{Index: lock}, Executed: executed,
			Results: [][]byte{[]byte(result)},
		})
	}
	asks := func(id bftraft.NodeID) bftraft.Index {
		r, err := bftraft.DecodeReadRequest(q.Frame(id))
		require.NoError(t, err)
		return r.MinIndex
	}
	answer(1, 5, 5, "a")
	answer(2, 4, 4, "b")
	require.Zero(t, q.Behind())
	require.False(t, q.Stuck())
	require.Equal(t, Waiting, q.Outcome(0))
	answer(3, 7, 7, "c")
	require.True(t, q.Stuck(), "the read index is known")
	require.Equal(t, quorumcert.SetOf(1, 2), q.Behind())
	require.Zero(t, q.Behind(), "once")
	require.Equal(t, bftraft.Index(7), asks(1))
	require.Equal(t, bftraft.Index(2), asks(3))
	answer(1, 7, 7, "d")
	require.Equal(t, Waiting, q.Outcome(0))
	answer(2, 7, 8, "e")
	require.Equal(t, Unsettled, q.Outcome(0))
	answer(4, 7, 8, "e")
	require.Equal(t, Answered, q.Outcome(0))
}

func TestQuestionIsSupersededByAnHonestWord(t *testing.T) {
	q := Linearizable(configuration(t), []byte("q"))
	q.Add(&bftraft.ReadReply{Signer: 1, Configuration: 9})
	require.Equal(t, Waiting, q.Outcome(0))
	q.Add(&bftraft.ReadReply{Signer: 2, Configuration: 9})
	require.Equal(t, Superseded, q.Outcome(0))
}

func TestEachQueryOfAQuestionHasItsOwnResult(t *testing.T) {
	q := Linearizable(configuration(t), []byte("p"), []byte("q"))
	answer := func(id bftraft.NodeID, executed bftraft.Index, results ...string) {
		r := &bftraft.ReadReply{
			Signer: id, Lock: quorumcert.Lock{Index: 7}, Executed: executed,
		}
		for _, result := range results {
			r.Results = append(r.Results, []byte(result))
		}
		q.Add(r)
	}
	answer(1, 7, "p", "a")
	answer(2, 7, "p", "b")
	answer(3, 5, "p", "c")
	require.Equal(t, Answered, q.Outcome(0))
	require.Equal(t, Waiting, q.Outcome(1))
	require.Equal(t, quorumcert.SetOf(3), q.Behind(), "for the second query")
	require.Equal(t, quorumcert.SetOf(4), q.Unheard())
	answer(4, 6, "p", "b")
	require.Zero(t, q.Unheard(), "though the first query has its result")
	require.Equal(t, quorumcert.SetOf(4), q.Behind())
	answer(3, 7, "p")
	require.Equal(t, Unsettled, q.Outcome(1))
	require.True(t, q.Tallies[1].Crowded(), "there was no room for the second result")
	require.False(t, q.Tallies[0].Crowded())
	answer(4, 8, "p", "b")
	require.Equal(t, Answered, q.Outcome(1))
	value, at, by, _ := q.Tallies[1].Result()
	require.Equal(t, "b", string(value))
	require.Equal(t, bftraft.Index(8), at)
	require.Equal(t, quorumcert.SetOf(2, 4), by)
}

func TestNoResultIsNotAnEmptyResult(t *testing.T) {
	q := Linearizable(configuration(t), []byte("p"), []byte("q"))
	for id := bftraft.NodeID(1); id <= 2; id++ {
		q.Add(&bftraft.ReadReply{Signer: id, Results: [][]byte{{1}, {}}})
	}
	q.Add(&bftraft.ReadReply{Signer: 3, Results: [][]byte{{1}}})
	require.Equal(t, Answered, q.Outcome(1))
	value, _, by, _ := q.Tallies[1].Result()
	require.Empty(t, value)
	require.Equal(t, quorumcert.SetOf(1, 2), by, "the third vouches for nothing")
	require.Zero(t, q.Tallies[1].Dissenters(), "and contradicts nothing")
	q.Add(&bftraft.ReadReply{Signer: 4, Results: [][]byte{{1}}})
	require.Zero(t, q.Tallies[1].Dissenters())
}

// said is the answer of a voter to one query; without result it is one that had no room for it.
func said(id bftraft.NodeID, lock, executed bftraft.Index, result ...string) *bftraft.ReadReply {
	r := &bftraft.ReadReply{Signer: id, Lock: quorumcert.Lock{Index: lock}, Executed: executed}
	for _, text := range result {
		r.Results = append(r.Results, []byte(text))
	}
	return r
}

func TestWhoHadNoRoomContradictsNobody(t *testing.T) {
	tally := NewReadTally(configuration(t))
	tally.Add(said(1, 7, 7))
	tally.Add(said(2, 7, 7, "a"))
	require.Equal(t, Settled, tally.Add(said(3, 7, 7, "a")))
	require.Equal(t, Agrees, tally.Add(said(4, 7, 7)), "after the result stands")
	require.Zero(t, tally.Dissenters(), "nor before")
	_, _, by, _ := tally.Result()
	require.Equal(t, quorumcert.SetOf(2, 3), by)
}

func TestVoterMovesTheReadIndexOnce(t *testing.T) {
	tally := NewReadTally(configuration(t))
	tally.Add(said(1, 3, 5, "a"))
	tally.Add(said(1, 9, 6, "b"))
	tally.Add(said(2, 4, 4, "c"))
	_, fixed := tally.ReadIndex()
	require.False(t, fixed, "two have answered")
	tally.Add(said(3, 2, 4, "d"))
	index, fixed := tally.ReadIndex()
	require.True(t, fixed)
	require.Equal(t, bftraft.Index(4), index)
}

func TestResultIsAsNewAsTheFurthestThatVouchesForIt(t *testing.T) {
	for _, executed := range [][]bftraft.Index{{5, 6, 9}, {9, 6, 5}, {6, 9, 5}} {
		tally := NewReadTally(configuration(t))
		tally.Add(said(4, 5, 20, "lie"))
		tally.Add(said(1, 5, executed[0], "a"))
		require.Equal(t, Settled, tally.Add(said(2, 5, executed[1], "a")))
		_, at, _, _ := tally.Result()
		require.Equal(t, max(executed[0], executed[1]), at)
	}
}

func TestQuestionWithItsResultCanStillBeAsked(t *testing.T) {
	q := Linearizable(configuration(t), []byte("q"))
	for id := bftraft.NodeID(1); id <= 3; id++ {
		q.Add(said(id, 2, bftraft.Index(id), "a"))
	}
	require.Equal(t, Answered, q.Outcome(0))
	require.Equal(t, quorumcert.SetOf(4), q.Unheard())
	require.Equal(t, quorumcert.SetOf(1), q.Behind())
	require.True(t, q.Stuck())
	r, err := bftraft.DecodeReadRequest(q.Frame(1))
	require.NoError(t, err)
	require.Equal(t, bftraft.Index(2), r.MinIndex)
}

// fixed is a cluster that never had another configuration.
type fixed struct{ c *quorumcert.Configuration }

func (f fixed) Configurations() *quorumcert.Configurations {
	return quorumcert.NewConfigurations(f.c)
}

func (fixed) ChangesUpTo(bftraft.Index) []*bftraft.ChangeProof { return nil }
