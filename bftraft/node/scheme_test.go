package node

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
)

// pickyScheme is a scheme that knows only keys of its own, as one with fast batches does.
type pickyScheme struct{ strangers int }

type pickyKey struct{}

func (s *pickyScheme) Expand(crypto.PublicKey) (crypto.Verifier, error) { return pickyKey{}, nil }

func (s *pickyScheme) ExpandMember(k crypto.PublicKey) (crypto.Verifier, error) {
	return s.Expand(k)
}

func (s *pickyScheme) VerifyAll(checks []crypto.Check) bool {
	good := true
	for _, c := range checks {
		if _, ok := c.Key.(pickyKey); !ok {
			s.strangers++
		}
		good = good && c.Key.Verify(c.Domain, c.Msg, c.Sig)
	}
	return good
}

func (pickyKey) Verify(_ crypto.Domain, msg []byte, _ crypto.Signature) bool { return len(msg) > 0 }

func TestCountingChangesNoVerdictAndKeepsBatchesFast(t *testing.T) {
	inner := &pickyScheme{}
	s := &countingScheme{inner, prometheus.NewCounter(prometheus.CounterOpts{Name: "a"}),
		prometheus.NewCounter(prometheus.CounterOpts{Name: "b"})}
	key, err := s.Expand(crypto.PublicKey{})
	require.NoError(t, err)
	good, bad := crypto.Check{Key: key, Msg: []byte("m")}, crypto.Check{Key: key}

	require.True(t, s.VerifyAll([]crypto.Check{good, good, good}))
	require.False(t, s.VerifyAll([]crypto.Check{good, bad}))
	require.True(t, key.Verify("", good.Msg, good.Sig))
	require.False(t, key.Verify("", bad.Msg, bad.Sig))
	require.Zero(t, inner.strangers, "the scheme sees its own keys")
	require.Equal(t, 4, countOf(s.verified))
	require.Equal(t, 2, countOf(s.rejected))
	require.Same(t, key, good.Key, "the caller's checks are not touched")
}
