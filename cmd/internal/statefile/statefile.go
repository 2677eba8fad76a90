// Package statefile keeps a certified state of a cluster in a file of its own: what bftnode
// snapshot saves, verifies and restores. The file is
//
//	magic | length | manifest | length | chunk 0 | length | chunk 1 | …
//
// with lengths of 32 bits. The manifest names the digest of each chunk and holds the certificate of
// the checkpoint, so whoever has the genesis can judge all of it, and needs to trust nobody who had
// the file in hand. It is not encrypted.
package statefile

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"tangaroa/bftraft"
)

const magic = "tangaroa state 1\n"

// maxManifestBytes bounds a manifest: of the most chunks, with certificates.
const maxManifestBytes = bftraft.MaxManifestBytes

// ErrNotCertified is returned when a file is not a state that the cluster of the genesis has
// certified: damaged, altered, cut short, of another cluster, or something else altogether.
var ErrNotCertified = errors.New("not a state that this cluster has certified")

// ErrExists is returned by Write when the file is there already.
var ErrExists = errors.New("the file exists")

// Write writes a new file with the chunks of a manifest, durably. It is there as a whole or not.
func Write(path string, m *bftraft.Manifest, chunk func(k int) ([]byte, error)) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%w: %s", ErrExists, path)
	}
	fresh := path + ".new"
	f, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = write(f, m, chunk)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Link(fresh, path) // unlike a renaming it takes no other's place
	}
	return errors.Join(err, os.Remove(fresh))
}

func write(to io.Writer, m *bftraft.Manifest, chunk func(k int) ([]byte, error)) error {
	w := bufio.NewWriter(to)
	part := func(data []byte) {
		_, _ = w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(data)))) // Flush says
		_, _ = w.Write(data)
	}
	_, _ = w.WriteString(magic)
	part(m.Encode())
	for k := range m.Chunks() {
		data, err := chunk(k)
		if err != nil {
			return err
		}
		part(data)
	}
	return w.Flush()
}

// File is a file that was opened, and whose manifest the cluster has certified.
type File struct {
	Manifest *bftraft.Manifest
	Cluster  bftraft.Digest
	file     *os.File
	in       *bufio.Reader
	next     int
	rest     []byte
}

// Open opens a file and judges its manifest by the cluster's verifier.
func Open(path string, v *bftraft.Verifier) (*File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	f := &File{Cluster: v.Cluster(), file: file, in: bufio.NewReaderSize(file, 1<<16)}
	if f.Manifest, err = f.manifest(v); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), file.Close())
	}
	return f, nil
}

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }

func (f *File) manifest(v *bftraft.Verifier) (*bftraft.Manifest, error) {
	front := make([]byte, len(magic))
	if _, err := io.ReadFull(f.in, front); err != nil || string(front) != magic {
		return nil, ErrNotCertified
	}
	raw, err := f.part(maxManifestBytes)
	if err != nil {
		return nil, err
	}
	m, ok := bftraft.DecodeManifest(raw)
	if !ok || !m.Verify(v) {
		return nil, ErrNotCertified
	}
	return m, nil
}

func (f *File) part(most uint32) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(f.in, head[:]); err != nil {
		return nil, tooShort(err)
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > most {
		return nil, ErrNotCertified
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(f.in, data); err != nil {
		return nil, tooShort(err)
	}
	return data, nil
}

// tooShort tells a file that ends too early from a failure to read.
func tooShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrNotCertified
	}
	return err
}

// Chunk returns the next chunk, which is the one that the manifest names, and its number; io.EOF
// after the last, behind which the file must end.
func (f *File) Chunk() (int, []byte, error) {
	if f.next == f.Manifest.Chunks() {
		if _, err := f.in.ReadByte(); !errors.Is(err, io.EOF) {
			return 0, nil, errors.Join(ErrNotCertified, err)
		}
		return 0, nil, io.EOF
	}
	data, err := f.part(bftraft.MaxChunkBytes)
	if err != nil {
		return 0, nil, err
	}
	if !f.Manifest.Holds(f.next, data) {
		return 0, nil, fmt.Errorf("%w: chunk %d", ErrNotCertified, f.next)
	}
	f.next++
	return f.next - 1, data, nil
}

// Read reads the state machine's snapshot, that is the chunks of the state one after the other, up
// to the end of the file. It implements io.Reader.
func (f *File) Read(p []byte) (int, error) {
	for len(f.rest) == 0 {
		k, data, err := f.Chunk()
		if err != nil {
			return 0, err
		}
		if k >= len(f.Manifest.Sessions) {
			f.rest = data
		}
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}
