package crypto

import (
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSealerIsXChaCha20Poly1305 seals the example of draft-irtf-cfrg-xchacha-03, appendix A.3.1.
func TestSealerIsXChaCha20Poly1305(t *testing.T) {
	var key [32]byte
	var nonce [SealNonceBytes]byte
	for i := range key {
		key[i] = 0x80 + byte(i)
	}
	for i := range nonce {
		nonce[i] = 0x40 + byte(i)
	}
	place, err := hex.DecodeString("50515253c0c1c2c3c4c5c6c7")
	require.NoError(t, err)
	plain := "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for " +
		"the future, sunscreen would be it."
	s := NewSealer(NewSecretKey(key))
	sealed := s.Seal(nil, nonce, []byte(plain), place)
	require.Equal(t, "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb"+
		"731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452"+
		"2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9"+
		"21f9664c97637da9768812f615c68b13b52e"+"c0875924c1c7987947deafd8780acf49",
		hex.EncodeToString(sealed))
	require.Len(t, sealed, len(plain)+SealOverheadBytes)
	got, ok := s.Open([]byte("before "), nonce, sealed, place)
	require.True(t, ok)
	require.Equal(t, "before "+plain, string(got))
}

func TestSealerNoticesEveryChange(t *testing.T) {
	k, nonce := NewSecretKey([32]byte{1}), [SealNonceBytes]byte{2}
	place := []byte("place")
	s := NewSealer(k)
	sealed := s.Seal(nil, nonce, []byte("plain"), place)
	refused := func(s *Sealer, nonce [SealNonceBytes]byte, sealed, place []byte) {
		t.Helper()
		_, ok := s.Open(nil, nonce, sealed, place)
		require.False(t, ok)
	}
	for i := range sealed {
		changed := append([]byte(nil), sealed...)
		changed[i] ^= 1
		refused(s, nonce, changed, place)
		refused(s, nonce, sealed[:i], place)
	}
	refused(s, [SealNonceBytes]byte{3}, sealed, place)
	refused(s, nonce, sealed, []byte("Place"))
	refused(s, nonce, sealed, nil)
	refused(NewSealer(NewSecretKey([32]byte{4})), nonce, sealed, place)
	_, ok := s.Open(nil, nonce, sealed, place)
	require.True(t, ok)
}

func TestSecretKeyIsNeverPrinted(t *testing.T) {
	k := NewSecretKey([32]byte{0xab, 0xcd, 0xef})
	wrapped := struct{ key SecretKey }{k}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		for _, text := range []string{fmt.Sprintf(verb, k), fmt.Sprintf(verb, wrapped)} {
			require.NotContains(t, text, "abcdef", verb)
			require.NotContains(t, text, "ABCDEF", verb)
			require.NotContains(t, text, "171 205", verb)
		}
	}
	require.Equal(t, "secret key "+k.Name().String(), k.String())
	require.Equal(t, "secret key (none)", SecretKey{}.String())
	require.True(t, SecretKey{}.IsZero())
	require.NotEqual(t, k.Name(), NewSecretKey([32]byte{1}).Name())
	require.NotEqual(t, GenerateSecretKey().Bytes(), GenerateSecretKey().Bytes())
}
