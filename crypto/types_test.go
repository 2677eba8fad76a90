package crypto

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTextFormsHaveOneSpelling(t *testing.T) {
	k := KeyFromSeed([32]byte{3}).Public()
	parsed, err := ParsePublicKey(k.String())
	require.NoError(t, err)
	require.Equal(t, k, parsed)
	d := Hash(DomainAck, []byte("x"))
	digest, err := ParseDigest(d.String())
	require.NoError(t, err)
	require.Equal(t, d, digest)
	require.True(t, strings.HasPrefix(d.String(), d.Short()))
	require.Len(t, d.Short(), 8)
	require.Contains(t, k.String(), "a", "or the upper-case form would be no other")
	wrong := []string{"", k.String()[1:], k.String() + "0", strings.ToUpper(k.String()),
		" " + k.String()[1:], "g" + k.String()[1:], "0x" + k.String()[2:]}
	for _, s := range wrong {
		_, err := ParsePublicKey(s)
		require.ErrorIs(t, err, ErrBadHex, s)
		_, err = ParseDigest(s)
		require.ErrorIs(t, err, ErrBadHex, s)
	}
}

func TestKeysAndDigestsSurviveJSON(t *testing.T) {
	type pair struct {
		Key    PublicKey
		Digest Digest
	}
	in := pair{KeyFromSeed([32]byte{3}).Public(), Hash(DomainAck)}
	text, err := json.Marshal(in)
	require.NoError(t, err)
	require.JSONEq(t, fmt.Sprintf(`{"Key":%q,"Digest":%q}`, in.Key, in.Digest), string(text))
	var out pair
	require.NoError(t, json.Unmarshal(text, &out))
	require.Equal(t, in, out)
	require.ErrorIs(t, json.Unmarshal([]byte(`{"Key":"00"}`), &out), ErrBadHex)
	require.ErrorIs(t, json.Unmarshal([]byte(`{"Digest":"00"}`), &out), ErrBadHex)
}

func TestZeroValuesAreRecognised(t *testing.T) {
	require.True(t, Digest{}.IsZero())
	require.False(t, Digest{31: 1}.IsZero())
	require.True(t, PublicKey{}.IsZero())
	require.False(t, PublicKey{31: 1}.IsZero())
	require.True(t, PrivateKey{}.IsZero())
	require.False(t, KeyFromSeed([32]byte{}).IsZero())
}

// The seed is 32 times the same byte, so that any way of printing it is recognised.
func TestPrivateKeyIsNeverPrinted(t *testing.T) {
	var seed [32]byte
	for i := range seed {
		seed[i] = 0xa7
	}
	k := KeyFromSeed(seed)
	type holder struct{ key PrivateKey }
	values := []any{k, &k, holder{k}, &holder{k}, []PrivateKey{k}, map[string]PrivateKey{"k": k},
		NewSigner(1, k)}
	for _, v := range values {
		for _, verb := range strings.Fields("%v %+v %#v %s %x %X %d %q %o %b %t") {
			printed := strings.ToLower(fmt.Sprintf(verb, v))
			for _, leak := range []string{"a7a7", "a7, 0xa7", "a7 a7", "167 167", "247 247",
				"10100111 10100111"} {
				require.NotContains(t, printed, leak, "%s of %T", verb, v)
			}
		}
		text, err := json.Marshal(v)
		require.NoError(t, err)
		require.NotContains(t, string(text), "167")
	}
	require.Equal(t, "private key of "+k.Public().String(), fmt.Sprintf("%d", k))
	require.Equal(t, "private key (none)", PrivateKey{}.String())
}
