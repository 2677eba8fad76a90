package crypto

import (
	"bytes"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strconv"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"
)

// A key file is one PEM block. Its headers say how the body is to be read; its
// body is the seed, in version 2 the master key behind it, or what of these there
// is, sealed. The header Check is a hash of everything else, so that damage and a
// wrong passphrase can be told apart. It proves nothing against somebody who may
// write the file.
const (
	keyFileType = "TANGAROA PRIVATE KEY"

	headerCheck     = "Check"
	headerCipher    = "Cipher"
	headerMemory    = "Memory-KiB"
	headerNonce     = "Nonce"
	headerPublic    = "Public"
	headerSalt      = "Salt"
	headerThreads   = "Threads"
	headerTime      = "Time"
	headerVersion   = "Version"
	versionSigning  = "1" // a signing key
	versionMaster   = "2" // a signing key and the master key of a store
	cipherNone      = "none"
	cipherSealed    = "argon2id+xchacha20poly1305"
	seedBytes       = 32
	masterBytes     = 32
	saltBytes       = 16
	nonceBytes      = chacha20poly1305.NonceSizeX
	defaultTime     = 3         // passes; with the next two, RFC 9106 §4, second choice
	defaultMemory   = 64 * 1024 // KiB
	defaultThreads  = 4
	maxArgonTime    = 32
	maxArgonMemory  = 1024 * 1024 // KiB
	maxArgonThreads = 64
)

// keyFile is a decoded key file whose checksum is right.
type keyFile struct {
	public PublicKey
	master bool // a master key follows the seed
	sealed bool
	argon  argonCost
	salt   [saltBytes]byte
	nonce  [nonceBytes]byte
	body   []byte // the secrets, or the sealed secrets
}

type argonCost struct {
	passes, memory uint32
	threads        uint8
}

func plainKeyFile(k PrivateKey) []byte { return KeyFile{Signing: k}.encode(random{}) }

func sealedKeyFile(
	k PrivateKey, passphrase []byte, salt [saltBytes]byte, nonce [nonceBytes]byte,
) []byte {
	return KeyFile{Signing: k, Passphrase: passphrase}.encode(random{salt, nonce})
}

// random is what must be new whenever a key file is sealed.
type random struct {
	salt  [saltBytes]byte
	nonce [nonceBytes]byte
}

// encode returns the text of the file.
func (k KeyFile) encode(r random) []byte {
	f := keyFile{public: k.Signing.Public(), master: !k.Master.IsZero()}
	seed := k.Signing.Seed()
	secrets := seed[:]
	if f.master {
		master := k.Master.Bytes()
		secrets = append(secrets, master[:]...)
	}
	if f.body = secrets; len(k.Passphrase) > 0 {
		f.sealed, f.salt, f.nonce = true, r.salt, r.nonce
		f.argon = argonCost{
			passes: defaultTime, memory: defaultMemory, threads: defaultThreads,
		}
		f.body = f.cipher(k.Passphrase).Seal(nil, f.nonce[:], secrets, f.bound())
	}
	return f.encode()
}

// bound is what a sealed body belongs to.
func (f *keyFile) bound() []byte {
	if f.master {
		return append([]byte(versionMaster), f.public[:]...)
	}
	return f.public[:]
}

func openKeyFile(text []byte, passphrase func() ([]byte, error)) (PrivateKey, error) {
	k, err := openKeys(text, passphrase)
	return k.Signing, err
}

// openKeys is the inverse of KeyFile.encode.
func openKeys(text []byte, passphrase func() ([]byte, error)) (KeyFile, error) {
	f, err := decodeKeyFile(text)
	if err != nil {
		return KeyFile{}, err
	}
	var k KeyFile
	body := f.body
	if f.sealed {
		if passphrase == nil {
			return KeyFile{}, ErrPassphraseNeeded
		}
		word, err := passphrase()
		if err != nil {
			return KeyFile{}, fmt.Errorf("ask for passphrase: %w", err)
		}
		body, err = f.cipher(word).Open(nil, f.nonce[:], f.body, f.bound())
		if err != nil {
			return KeyFile{}, ErrWrongPassphrase
		}
		k.Passphrase = word
	}
	if k.Signing = KeyFromSeed([32]byte(body)); k.Signing.Public() != f.public {
		return KeyFile{}, fmt.Errorf("%w: key and public key do not match", ErrKeyFileDamaged)
	}
	if f.master {
		k.Master = NewSecretKey([32]byte(body[seedBytes:]))
	}
	return k, nil
}

// cipher derives the key from the passphrase; it takes the time and memory that
// the file asks for.
func (f keyFile) cipher(passphrase []byte) aead {
	key := argon2.IDKey(passphrase, f.salt[:], f.argon.passes, f.argon.memory,
		f.argon.threads, chacha20poly1305.KeySize)
	sealer, err := chacha20poly1305.NewX(key)
	if err != nil {
		panic(fmt.Sprintf("crypto: key of our own making: %v", err))
	}
	return sealer
}

// aead is the part of crypto/cipher.AEAD that key files use.
type aead interface {
	Seal(dst, nonce, plaintext, additionalData []byte) []byte
	Open(dst, nonce, ciphertext, additionalData []byte) ([]byte, error)
}

func (f keyFile) encode() []byte {
	headers := map[string]string{
		headerVersion: versionSigning,
		headerPublic:  f.public.String(),
		headerCipher:  cipherNone,
	}
	if f.master {
		headers[headerVersion] = versionMaster
	}
	if f.sealed {
		headers[headerCipher] = cipherSealed
		headers[headerTime] = strconv.FormatUint(uint64(f.argon.passes), 10)
		headers[headerMemory] = strconv.FormatUint(uint64(f.argon.memory), 10)
		headers[headerThreads] = strconv.FormatUint(uint64(f.argon.threads), 10)
		headers[headerSalt] = hex.EncodeToString(f.salt[:])
		headers[headerNonce] = hex.EncodeToString(f.nonce[:])
	}
	block := &pem.Block{Type: keyFileType, Headers: headers, Bytes: f.body}
	headers[headerCheck] = Hash(DomainKeyFile, pem.EncodeToMemory(block)).String()
	return pem.EncodeToMemory(block)
}

// decodeKeyFile accepts only what encode writes, to the byte.
func decodeKeyFile(text []byte) (keyFile, error) {
	block, rest := pem.Decode(text)
	if block == nil || len(rest) > 0 || block.Type != keyFileType {
		return keyFile{}, fmt.Errorf("%w: not one block %q", ErrKeyFileDamaged, keyFileType)
	}
	h := block.Headers
	v := h[headerVersion]
	if v != versionSigning && v != versionMaster {
		return keyFile{}, fmt.Errorf("%w: version %q is not known", ErrKeyFileDamaged, v)
	}
	f := keyFile{
		master: v == versionMaster, sealed: h[headerCipher] == cipherSealed, body: block.Bytes,
	}
	if err := f.readHeaders(h); err != nil {
		return keyFile{}, fmt.Errorf("%w: %w", ErrKeyFileDamaged, err)
	}
	if !bytes.Equal(f.encode(), text) {
		return keyFile{}, fmt.Errorf("%w: checksum or form", ErrKeyFileDamaged)
	}
	return f, nil
}

// readHeaders fills in what the headers say and checks the body's length. That
// nothing else stands in them is checked by encoding again.
func (f *keyFile) readHeaders(h map[string]string) error {
	if err := decodeHex(f.public[:], h[headerPublic], headerPublic); err != nil {
		return err
	}
	want := seedBytes
	if f.master {
		want += masterBytes
	}
	if f.sealed {
		want += chacha20poly1305.Overhead
		if err := f.argon.read(h); err != nil {
			return err
		}
		if err := decodeHex(f.salt[:], h[headerSalt], headerSalt); err != nil {
			return err
		}
		if err := decodeHex(f.nonce[:], h[headerNonce], headerNonce); err != nil {
			return err
		}
	}
	if len(f.body) != want {
		return fmt.Errorf("body of %d bytes instead of %d", len(f.body), want)
	}
	return nil
}

// read takes the cost of argon2id within limits: a file must not be able to make
// the program use all memory.
func (c *argonCost) read(h map[string]string) error {
	passes, err := readCost(h, headerTime, maxArgonTime)
	if err != nil {
		return err
	}
	memory, err := readCost(h, headerMemory, maxArgonMemory)
	if err != nil {
		return err
	}
	threads, err := readCost(h, headerThreads, maxArgonThreads)
	if err != nil {
		return err
	}
	*c = argonCost{passes: passes, memory: memory, threads: uint8(threads)}
	return nil
}

func readCost(h map[string]string, name string, limit uint32) (uint32, error) {
	v, err := strconv.ParseUint(h[name], 10, 32)
	if err != nil || v < 1 || v > uint64(limit) {
		return 0, fmt.Errorf("%s %q is not in 1..%d", name, h[name], limit)
	}
	return uint32(v), nil
}
