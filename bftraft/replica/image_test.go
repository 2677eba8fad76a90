package replica

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// remembering returns a replica that remembers what random requests of some clients have left:
// sessions that were forgotten, results large and none, and convictions.
func remembering(rng *rand.Rand, requests int, sessions uint64) *Replica {
	r := &Replica{cluster: crypto.Digest{7}, sessions: newSessions(4)}
	next := map[[2]uint64]uint64{}
	for range requests {
		who := [2]uint64{rng.Uint64N(5), 1 + rng.Uint64N(sessions)}
		next[who]++
		req := &bftraft.Request{
			Client: crypto.PublicKey{byte(who[0]), 3}, Session: who[1], Sequence: next[who],
		}
		if r.sessions.admit(req) != bftraft.Executed {
			continue
		}
		results := [][]byte{bytes.Repeat([]byte{byte(next[who])}, rng.IntN(50)), nil}
		r.sessions.remember(req, resultIn(rng, r.cluster, req, results))
	}
	for k := range 3 {
		votes := &quorumcert.VoteConflict{}
		votes.A.Signer, votes.B.Signer = bftraft.NodeID(3-k), bftraft.NodeID(3-k)
		votes.A.Candidate, votes.B.Candidate = 1, 2
		r.evidence.convicted = append(r.evidence.convicted, bftraft.Conviction{
			Index: bftraft.Index(5 + 2*k), Evidence: quorumcert.Evidence{Votes: votes},
		})
	}
	return r
}

// resultIn returns the result of a request that stands somewhere in a block.
func resultIn(
	rng *rand.Rand, cluster bftraft.Digest, req *bftraft.Request, results [][]byte,
) result {
	digest := crypto.Digest{byte(rng.Uint32()), byte(req.Sequence)}
	leaves := make([]bftraft.Digest, 1+rng.IntN(9))
	place := rng.IntN(len(leaves))
	leaves[place] = bftraft.ResultLeaf(digest, bftraft.Executed, results)
	tree := crypto.NewMerkleTree(leaves)
	return result{
		sequence: req.Sequence, request: digest, results: results,
		reply:  quorumcert.Reply{Cluster: cluster, Index: 9, Results: tree.Root()},
		place:  uint32(place),
		leaves: uint32(len(leaves)), branch: tree.Branch(place),
	}
}

func pieces(s *imageScan, size int) []byte {
	var all []byte
	for {
		piece, more := s.next(size)
		all = append(all, piece...)
		if !more {
			return all
		}
	}
}

func imageOf(r *Replica) []byte { return pieces(r.scanImage(), 1<<16) }

func TestImageOfTheSessionsIsReadBack(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, requests := range []int{0, 1, 5, 200, 5000} {
		r := remembering(rng, requests, 40)
		image := imageOf(r)
		back, convicted, err := readImage(bytes.NewReader(image), r.cluster, Limits{Results: 4})
		require.NoError(t, err)
		require.Equal(t, r.sessions.digest(), back.digest())
		require.Equal(t, r.evidence.convicted, convicted)
		again := &Replica{sessions: back, evidence: evidence{convicted: convicted}}
		require.Equal(t, image, imageOf(again), "one state has one image")
		for i, c := range r.sessions.clients {
			for k, l := range c.live {
				require.Equal(t, l.bytes, back.clients[i].live[k].bytes)
			}
		}
	}
}

func TestImageOfNothingIsReadBack(t *testing.T) {
	r := &Replica{sessions: newSessions(4)}
	back, convicted, err := readImage(bytes.NewReader(imageOf(r)), r.cluster, Limits{Results: 4})
	require.NoError(t, err)
	require.Empty(t, back.clients)
	require.Empty(t, convicted)
}

func TestImageIsCutAtTheSamePlacesWhateverItHolds(t *testing.T) {
	r := remembering(rand.New(rand.NewPCG(3, 4)), 100, 9)
	whole := imageOf(r)
	for _, size := range []int{1, 7, 100, len(whole) - 1, len(whole), len(whole) + 1} {
		s := r.scanImage()
		for at := 0; ; at += size {
			piece, more := s.next(size)
			require.Equal(t, whole[at:min(at+size, len(whole))], piece)
			require.Equal(t, at+size < len(whole), more, "pieces of %d at %d", size, at)
			if !more {
				break
			}
		}
	}
}

func TestImageStaysThatOfItsBeginning(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	r := remembering(rng, 200, 9)
	want := imageOf(r)
	s := r.scanImage()
	first, _ := s.next(64)
	for _, c := range slices.Clone(r.sessions.clients) {
		for _, l := range slices.Clone(c.live) {
			for range 10 { // pushes out all results that were there
				req := &bftraft.Request{Client: c.key, Session: l.number, Sequence: l.last + 1}
				if r.sessions.admit(req) == bftraft.Executed {
					r.sessions.remember(req, resultIn(rng, r.cluster, req, nil))
				}
			}
		}
		for n := range uint64(MaxSessions) { // pushes out all sessions
			req := &bftraft.Request{Client: c.key, Session: 1000 + n, Sequence: 1}
			require.Equal(t, bftraft.Executed, r.sessions.admit(req))
			r.sessions.remember(req, resultIn(rng, r.cluster, req, nil))
		}
	}
	r.evidence.convicted = r.evidence.convicted[:1]
	require.NotEqual(t, want, imageOf(r))
	require.Equal(t, want, append(first, pieces(s, 100)...))
}

func TestDamagedImageIsRefused(t *testing.T) {
	r := remembering(rand.New(rand.NewPCG(7, 8)), 30, 1)
	image := imageOf(r)
	read := func(b []byte) error {
		_, _, err := readImage(bytes.NewReader(b), r.cluster, Limits{Results: 4})
		return err
	}
	require.NoError(t, read(image))
	for n := range image {
		require.ErrorIs(t, read(image[:n]), ErrImage, "cut to %d bytes", n)
	}
	require.ErrorIs(t, read(append(slices.Clone(image), 0)), ErrImage)
	_, _, err := readImage(bytes.NewReader(image), crypto.Digest{8}, Limits{Results: 4})
	require.ErrorIs(t, err, ErrImage, "of another cluster")
	_, _, err = readImage(bytes.NewReader(image), r.cluster, Limits{Results: 3})
	require.ErrorIs(t, err, ErrImage, "more results than may be remembered")
	broken := errors.New("broken")
	_, _, err = readImage(iotest.ErrReader(broken), r.cluster, Limits{Results: 4})
	require.ErrorIs(t, err, broken)
	require.NotErrorIs(t, err, ErrImage, "a failure to read says nothing about the image")
	huge := binary.BigEndian.AppendUint32(nil, maxRecordBytes+1)
	require.ErrorIs(t, read(append(huge, make([]byte, maxRecordBytes+2)...)), ErrImage)
}

// What reads back otherwise than it was written would be two images of one state.
func TestAlteredImageIsRefusedOrAnotherState(t *testing.T) {
	r := remembering(rand.New(rand.NewPCG(9, 10)), 20, 2)
	image := imageOf(r)
	for at := range image {
		for _, bit := range []byte{1, 0x80} {
			image[at] ^= bit
			back, convicted, err := readImage(bytes.NewReader(image), r.cluster, Limits{Results: 4})
			if err == nil {
				again := &Replica{sessions: back, evidence: evidence{convicted: convicted}}
				require.Equal(t, image, imageOf(again), "byte %d", at)
			}
			image[at] ^= bit
		}
	}
}

// edited returns the image with records changed.
func edited(image []byte, edit func(records [][]byte) [][]byte) []byte {
	var records [][]byte
	for len(image) > 0 {
		n := 5 + int(binary.BigEndian.Uint32(image))
		records, image = append(records, image[:n]), image[n:]
	}
	return bytes.Join(edit(records), nil)
}

// ranges returns the edit that keeps the records from..to of each pair of numbers.
func ranges(fromTo ...int) func([][]byte) [][]byte {
	return func(l [][]byte) (kept [][]byte) {
		for k := 0; k < len(fromTo); k += 2 {
			kept = append(kept, l[fromTo[k]:fromTo[k+1]]...)
		}
		return kept
	}
}

// smallImage returns an image, and the cluster it is of. Its records: client 1, session 1, results
// 1 and 2, session 2, result 1, client 2, session 5, result 1, conviction, conviction, end.
func smallImage(t *testing.T, rng *rand.Rand) ([]byte, bftraft.Digest) {
	r := &Replica{cluster: crypto.Digest{7}, sessions: newSessions(4)}
	for _, e := range [][3]uint64{{1, 1, 1}, {1, 1, 2}, {1, 2, 1}, {2, 5, 1}} {
		req := &bftraft.Request{
			Client: crypto.PublicKey{byte(e[0])}, Session: e[1], Sequence: e[2],
		}
		require.Equal(t, bftraft.Executed, r.sessions.admit(req))
		r.sessions.remember(req, resultIn(rng, r.cluster, req, [][]byte{{1}}))
	}
	r.evidence.convicted = remembering(rng, 0, 1).evidence.convicted[:2]
	return imageOf(r), r.cluster
}

// requireRead says whether the image with each of the edits is read, and only then.
func requireRead(t *testing.T, ok bool, edits map[string]func(l [][]byte) [][]byte) {
	image, cluster := smallImage(t, rand.New(rand.NewPCG(11, 12)))
	for name, edit := range edits {
		b := edited(slices.Clone(image), edit)
		_, _, err := readImage(bytes.NewReader(b), cluster, Limits{Results: 4})
		if ok {
			require.NoError(t, err, name)
		} else {
			require.ErrorIs(t, err, ErrImage, name)
		}
	}
}

// session6 returns the records of session 6 of a client, with one result.
func session6(client, sequence byte) [][]byte {
	req := &bftraft.Request{
		Client: crypto.PublicKey{client}, Session: 6, Sequence: uint64(sequence),
	}
	res := resultIn(rand.New(rand.NewPCG(17, 18)), crypto.Digest{7}, req, nil)
	return [][]byte{
		record(recordSession, []byte{7: 6, 15: sequence}),
		record(recordResult, res.encode(req.Client, req.Session)),
	}
}

func TestImageOfRecordsThatNoNodeWritesIsRefused(t *testing.T) {
	requireRead(t, true, map[string]func(l [][]byte) [][]byte{
		"the same": ranges(0, 12),
		"one session more": func(l [][]byte) [][]byte {
			return slices.Concat(l[:9], session6(2, 1), l[9:])
		},
		"one client more": func(l [][]byte) [][]byte {
			third := record(recordClient, []byte{0: 3, 39: 0})
			return slices.Concat(l[:9], [][]byte{third}, session6(3, 1), l[9:])
		},
	})
	changed := func(l [][]byte, k, at int, to byte) [][]byte {
		l[k] = slices.Clone(l[k])
		l[k][at] = to
		return l
	}
	requireRead(t, false, map[string]func(l [][]byte) [][]byte{
		"an unknown record": func(l [][]byte) [][]byte {
			return slices.Concat(l[:9], [][]byte{record(9, nil)}, l[9:])
		},
		"a client after the proofs": func(l [][]byte) [][]byte {
			third := record(recordClient, []byte{0: 3, 39: 0})
			return slices.Concat(l[:11], [][]byte{third}, session6(3, 1), l[11:])
		},
		"a session after the proofs": func(l [][]byte) [][]byte {
			return slices.Concat(l[:11], session6(2, 1), l[11:])
		},
		"a result of sequence 0": func(l [][]byte) [][]byte {
			return slices.Concat(l[:9], session6(2, 0), l[9:])
		},
		"a result left out": func(l [][]byte) [][]byte {
			newest, first := session6(2, 3), session6(2, 1)[1:]
			return slices.Concat(l[:9], newest[:1], first, newest[1:], l[9:])
		},
		"a result that its branch does not prove": func(l [][]byte) [][]byte {
			at := bytes.Index(l[3], []byte{0, 1, 0, 0, 0, 1, 1})
			return changed(l, 3, at+6, 2)
		},
		"a proof that stands nowhere": func(l [][]byte) [][]byte { return changed(l, 9, 12, 0) },
		"two proofs against one": func(l [][]byte) [][]byte {
			again := changed(slices.Clone(l), 9, 12, 8)[9]
			return slices.Concat(l[:11], [][]byte{again}, l[11:])
		},
		"more behind the end": func(l [][]byte) [][]byte {
			return append(l[:11], record(recordEnd, []byte{0}))
		},
		"a session at the floor": func(l [][]byte) [][]byte { return changed(l, 0, 44, 1) },
	})
}

func TestImageOfRecordsOutOfPlaceIsRefused(t *testing.T) {
	requireRead(t, false, map[string]func(l [][]byte) [][]byte{
		"no client first":           ranges(1, 12),
		"clients out of order":      ranges(6, 9, 0, 6, 9, 12),
		"a client twice":            ranges(0, 6, 0, 6, 6, 12),
		"a client of no session":    ranges(0, 7, 9, 12),
		"that, and another follows": ranges(0, 1, 6, 12),
		"sessions out of order":     ranges(0, 1, 4, 6, 1, 4, 6, 12),
		"a session twice":           ranges(0, 4, 1, 12),
		"a session of no result":    ranges(0, 2, 4, 12),
		"a result twice":            ranges(0, 4, 3, 12),
		"results out of order":      ranges(0, 2, 3, 4, 2, 12),
		"a result of no session":    ranges(0, 1, 2, 12),
		"the newest result gone":    ranges(0, 3, 4, 12),
		"another session's result":  ranges(0, 2, 5, 6, 3, 12),
		"a client after proofs":     ranges(0, 10, 6, 12),
		"proofs out of order":       ranges(0, 9, 10, 11, 9, 10, 11, 12),
		"a proof twice":             ranges(0, 10, 9, 12),
		"no end":                    ranges(0, 11),
		"two ends":                  ranges(0, 12, 11, 12),
	})
}

// record returns a record as it stands in an image.
func record(kind byte, body []byte) []byte {
	s := &imageScan{}
	s.add(kind, body)
	return s.buf
}

func TestImageOfMoreSessionsThanAreRememberedIsRefused(t *testing.T) {
	r := &Replica{cluster: crypto.Digest{7}, sessions: newSessions(4)}
	rng := rand.New(rand.NewPCG(15, 16))
	c := &client{key: crypto.PublicKey{1}}
	r.sessions.clients = []*client{c}
	for n := range uint64(MaxSessions + 1) {
		_, _, err := readImage(bytes.NewReader(imageOf(r)), r.cluster, Limits{Results: 4})
		if n > 0 {
			require.NoError(t, err, "%d sessions", n)
		}
		req := &bftraft.Request{Client: c.key, Session: 1 + n, Sequence: 1}
		l := &session{number: 1 + n, last: 1, results: []result{resultIn(rng, r.cluster, req, nil)}}
		c.live = append(c.live, l)
	}
	_, _, err := readImage(bytes.NewReader(imageOf(r)), r.cluster, Limits{Results: 4})
	require.ErrorIs(t, err, ErrImage)
}

func FuzzReadImage(f *testing.F) {
	r := remembering(rand.New(rand.NewPCG(13, 14)), 10, 2)
	f.Add(imageOf(r))
	f.Add(imageOf(&Replica{sessions: newSessions(4)}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		back, convicted, err := readImage(bytes.NewReader(raw), r.cluster, Limits{Results: 4})
		if err != nil {
			require.ErrorIs(t, err, ErrImage)
			return
		}
		again := &Replica{sessions: back, evidence: evidence{convicted: convicted}}
		require.Equal(t, raw, imageOf(again))
	})
}
