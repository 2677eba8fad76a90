package store

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/crypto/cryptobyte"

	"tangaroa/crypto"
	"tangaroa/internal/mutant"
)

// keysFile is where an encrypted store keeps its data keys, each wrapped by the master key, which
// is not in the store's directory. While the master key is changed there are two wraps, so that
// the node starts with whichever of the two it has.
//
//	magic | meta | newest epoch | n | n times: name of a master key, nonce, wrap | checksum
//
// A wrap hides, for each data key, its epoch and the key. It is bound to all that stands before
// the n and to the name, so that neither can be exchanged; the checksum tells damage from a wrong
// key and is no protection.
const keysFile = "keys"

const (
	keysMagic    = "tangaroa data keys\n"
	keysFront    = len(keysMagic) + metaBytes + epochBytes
	dataKeyBytes = epochBytes + 32
	maxDataKeys  = 64
	maxMasters   = 2
	maxKeysBytes = 8192
)

// wrappedKeys is a decoded file of keys.
type wrappedKeys struct {
	meta   meta
	newest epoch
	wraps  []wrap
}

type wrap struct {
	master crypto.KeyName
	nonce  [crypto.SealNonceBytes]byte
	sealed []byte
}

// wrapKeys hides the keys under each of the master keys.
func wrapKeys(m meta, keys *dataKeys, masters ...crypto.SecretKey) *wrappedKeys {
	nonces := make([][crypto.SealNonceBytes]byte, len(masters))
	for i := range nonces {
		rand.Read(nonces[i][:])
	}
	return wrapKeysWith(nonces, m, keys, masters)
}

func wrapKeysWith(
	nonces [][crypto.SealNonceBytes]byte, m meta, keys *dataKeys, masters []crypto.SecretKey,
) *wrappedKeys {
	w := &wrappedKeys{meta: m, newest: keys.newest}
	var plain []byte
	for _, k := range keys.all {
		raw := k.key.Bytes()
		plain = binary.BigEndian.AppendUint32(plain, uint32(k.epoch))
		plain = append(plain, raw[:]...)
	}
	for i, master := range masters {
		name := master.Name()
		sealed := crypto.NewSealer(master).Seal(nil, nonces[i], plain, w.place(name))
		w.wraps = append(w.wraps, wrap{master: name, nonce: nonces[i], sealed: sealed})
	}
	return w
}

func (w *wrappedKeys) front() []byte {
	b := append([]byte(keysMagic), w.meta.encode()...)
	return binary.BigEndian.AppendUint32(b, uint32(w.newest))
}

func (w *wrappedKeys) place(name crypto.KeyName) []byte { return append(w.front(), name[:]...) }

func (w *wrappedKeys) encode() []byte {
	b := append(w.front(), byte(len(w.wraps)))
	for i := range w.wraps {
		b = append(b, w.wraps[i].master[:]...)
		b = append(b, w.wraps[i].nonce[:]...)
		b = binary.BigEndian.AppendUint16(b, uint16(len(w.wraps[i].sealed)))
		b = append(b, w.wraps[i].sealed...)
	}
	sum := crypto.Hash(crypto.DomainDataKeys, b)
	return append(b, sum[:]...)
}

// decodeKeys accepts what encode wrote.
func decodeKeys(raw []byte) (*wrappedKeys, bool) {
	if len(raw) < keysFront+1+32 || string(raw[:len(keysMagic)]) != keysMagic {
		return nil, false
	}
	end := len(raw) - 32
	sum := crypto.Hash(crypto.DomainDataKeys, raw[:end])
	if string(sum[:]) != string(raw[end:]) {
		return nil, false
	}
	w := &wrappedKeys{}
	s := cryptobyte.String(raw[len(keysMagic):end])
	var count uint8
	if !readMeta(&s, &w.meta) || !s.ReadUint32((*uint32)(&w.newest)) || !s.ReadUint8(&count) ||
		!w.meta.encrypted || count == 0 || count > maxMasters {
		return nil, false
	}
	for range count {
		var next wrap
		var sealed cryptobyte.String
		if !s.CopyBytes(next.master[:]) || !s.CopyBytes(next.nonce[:]) ||
			!s.ReadUint16LengthPrefixed(&sealed) {
			return nil, false
		}
		next.sealed = slices.Clone(sealed)
		w.wraps = append(w.wraps, next)
	}
	return w, s.Empty()
}

// open returns the data keys, for who has the master key.
func (w *wrappedKeys) open(master crypto.SecretKey) (*dataKeys, error) {
	name := master.Name()
	for i := range w.wraps {
		if w.wraps[i].master != name && !mutant.On(mutant.M66) {
			continue
		}
		plain, ok := crypto.NewSealer(master).Open(nil, w.wraps[i].nonce, w.wraps[i].sealed,
			w.place(name))
		keys, fits := readDataKeys(plain, w.newest)
		switch {
		case mutant.On(mutant.M66) && !ok:
			return firstKeys(), nil
		case !ok || !fits:
			return nil, fmt.Errorf("%w: its data keys do not open", ErrDamaged)
		}
		return keys, nil
	}
	return nil, fmt.Errorf("%w: it takes key %s, and this is %s", ErrWrongKey,
		w.wraps[0].master, name)
}

func readDataKeys(plain []byte, newest epoch) (*dataKeys, bool) {
	keys := &dataKeys{newest: newest}
	s := cryptobyte.String(plain)
	last := epoch(0)
	for !s.Empty() {
		var e epoch
		var raw [32]byte
		if !s.ReadUint32((*uint32)(&e)) || !s.CopyBytes(raw[:]) || e <= last {
			return nil, false
		}
		keys.all = append(keys.all, newDataKey(e, crypto.NewSecretKey(raw)))
		last = e
	}
	return keys, last == newest && newest > 0 && len(keys.all) <= maxDataKeys
}

// unlock opens the data keys of a store in dir with the master key of the options. It returns
// neither for a store that is not encrypted. It changes nothing.
func unlock(dir string, o *Options) (*wrappedKeys, *dataKeys, error) {
	raw, err := readKeysFile(filepath.Join(dir, keysFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read data keys: %w", err)
	}
	w, ok := decodeKeys(raw)
	if !ok {
		return nil, nil, fmt.Errorf("%w: the file %q cannot be read", ErrDamaged, keysFile)
	}
	if err := w.meta.identity.match(o.Identity); err != nil {
		return nil, nil, err
	}
	if o.Master.IsZero() {
		return nil, nil, ErrNeedsKey
	}
	keys, err := w.open(o.Master)
	return w, keys, err
}

func readKeysFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	raw := make([]byte, maxKeysBytes)
	n := 0
	for n < len(raw) {
		more, err := f.Read(raw[n:])
		if n += more; err != nil {
			break // what is missing shows in the checksum
		}
	}
	return raw[:n], nil
}

// replaceKeys returns the steps that put the file of keys in the place of the one there is.
func replaceKeys(dir string, w *wrappedKeys) []func() error {
	path := filepath.Join(dir, keysFile)
	return []func() error{
		func() error { return writeSynced(path+".new", w.encode()) },
		func() error { return os.Rename(path+".new", path) },
		func() error { return syncDirectory(dir) },
	}
}

// writeSynced writes a file of which nobody knows yet.
func writeSynced(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

func run(what string, steps []func() error) error {
	if err := do(steps); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func do(steps []func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
