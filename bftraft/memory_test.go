package bftraft

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
)

// countedScheme counts the signatures that are judged.
type countedScheme struct {
	crypto.Scheme
	judged int
}

func (s *countedScheme) VerifyAll(checks []crypto.Check) bool {
	s.judged += len(checks)
	return s.Scheme.VerifyAll(checks)
}

// remembering returns a gate with a memory, and what it judges.
func (c *wireCluster) remembering(t *testing.T, limit int) (*Verifier, *countedScheme) {
	scheme := &countedScheme{Scheme: crypto.ZIP215()}
	gate, err := NewVerifier(scheme, c.genesis)
	require.NoError(t, err)
	return gate.Remembering(NewRecent(limit)), scheme
}

func TestRecentForgetsTheOldestFirst(t *testing.T) {
	mark := func(i int) SignedDigest { return SignedDigest{Digest: Digest{byte(i)}} }
	r := NewRecent(3)
	for i := range 10 {
		require.False(t, r.Knows(mark(i)))
		r.Keep(mark(i))
		r.Keep(mark(i)) // twice is once
		for k := range 10 {
			require.Equal(t, k <= i && k > i-3, r.Knows(mark(k)), "%d after %d", k, i)
		}
	}
	require.Len(t, r.known, 3)
	for limit, some := range []bool{false, true} {
		few := NewRecent(limit)
		few.Keep(mark(1))
		require.Equal(t, some, few.Knows(mark(1)), "room for %d", limit)
	}
}

func TestKnownRequestIsNotJudgedAgain(t *testing.T) {
	c := newWireCluster(t)
	gate, scheme := c.remembering(t, 10)
	r := c.request(11, 1, "put")
	for range 3 {
		_, err := gate.VerifyRequest(r.Raw())
		require.NoError(t, err)
	}
	require.Equal(t, 1, scheme.judged)
	other := c.request(12, 1, "put")
	b := NewBlock(Position{Hash: c.id}, []Entry{r.Entry(), other.Entry()})
	b.checked = unchecked // as one that has come from another node
	gate.CheckBlocks([]*Block{b})
	require.Equal(t, entriesValid, b.checked)
	require.Equal(t, 2, scheme.judged, "the block's second request only")
	_, err := gate.VerifyRequest(other.Raw())
	require.NoError(t, err)
	require.Equal(t, 2, scheme.judged, "a block's requests are remembered too")
}

func TestGateWithoutMemoryStaysWithoutOne(t *testing.T) {
	c := newWireCluster(t)
	scheme := &countedScheme{Scheme: crypto.ZIP215()}
	plain, err := NewVerifier(scheme, c.genesis)
	require.NoError(t, err)
	gate := plain.Remembering(NewRecent(10))
	r := c.request(11, 1, "put")
	for i, v := range []*Verifier{plain, plain, gate, gate, plain} {
		_, err := v.VerifyRequest(r.Raw())
		require.NoError(t, err)
		require.Equal(t, []int{1, 2, 3, 3, 4}[i], scheme.judged)
	}
}

func TestWhatDiffersFromAKnownRequestIsJudged(t *testing.T) {
	c := newWireCluster(t)
	gate, _ := c.remembering(t, 10)
	good := c.request(11, 1, "put").Raw()
	_, err := gate.VerifyRequest(good)
	require.NoError(t, err)
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 1
		_, got := gate.VerifyRequest(bad)
		_, want := c.gate.VerifyRequest(bad)
		require.Equal(t, want, got)
		require.Error(t, got, "byte %d", i)
		_, again := gate.VerifyRequest(bad)
		require.Error(t, again, "byte %d is not remembered as valid", i)
	}
}

func TestManyRequestsAreJudgedAsEachByItself(t *testing.T) {
	c := newWireCluster(t)
	spoilt := slices.Clone(c.request(11, 2, "spoilt").Raw())
	spoilt[len(spoilt)-1] ^= 1
	kinds := [][]byte{
		c.request(11, 1, "a").Raw(), c.request(12, 1, "b").Raw(), spoilt,
		c.request(60, 1, "stranger").Raw(), {1, 2, 3}, c.request(12, 2, "c").Raw(),
	}
	for chosen := range 1 << len(kinds) {
		var raws [][]byte
		for i, raw := range kinds {
			if chosen>>i&1 == 1 {
				raws = append(raws, raw)
			}
		}
		gate, _ := c.remembering(t, 10)
		for range 2 { // the second time they are known
			requests, errs := gate.VerifyRequests(raws)
			require.Len(t, requests, len(raws))
			for i, raw := range raws {
				want, err := c.gate.VerifyRequest(raw)
				require.Equal(t, err, errs[i])
				require.Equal(t, want, requests[i])
			}
		}
	}
}

func TestForgedRequestThatComesAloneIsJudgedOnce(t *testing.T) {
	c := newWireCluster(t)
	gate, scheme := c.remembering(t, 10)
	forged := slices.Clone(c.request(11, 1, "put").Raw())
	forged[len(forged)-1] ^= 1
	_, err := gate.VerifyRequest(forged)
	require.ErrorIs(t, err, ErrRequestSignature)
	require.Equal(t, 1, scheme.judged)
}

func TestForgedRequestAmongKnownOnesSpoilsItsBlock(t *testing.T) {
	c := newWireCluster(t)
	gate, _ := c.remembering(t, 10)
	good := c.request(11, 1, "put")
	_, err := gate.VerifyRequest(good.Raw())
	require.NoError(t, err)
	forged := slices.Clone(c.request(12, 1, "put").Raw())
	forged[len(forged)-1] ^= 1
	b := NewBlock(Position{Hash: c.id},
		[]Entry{good.Entry(), {EntryRequest, forged}})
	b.checked = unchecked // as one that has come from another node
	gate.CheckBlocks([]*Block{b})
	require.Equal(t, entriesInvalid, b.checked)
}
