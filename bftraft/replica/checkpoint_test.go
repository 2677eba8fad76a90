package replica

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// shelf keeps snapshots in memory, and refuses what it is told to.
type shelf struct {
	begun     *snapshot
	finished  *snapshot
	refuses   string
	unwritten int
	calls     int
}

type snapshot struct {
	at     bftraft.Position
	chunks [][]byte
	proof  []byte
}

var errFull = errors.New("no room")

func (s *shelf) call(name string) error {
	s.calls++
	if s.refuses == name {
		return errFull
	}
	return nil
}

func (s *shelf) BeginSnapshot(at bftraft.Position) error {
	if err := s.call("begin"); err != nil {
		return err
	}
	s.begun = &snapshot{at: at}
	return nil
}

func (s *shelf) AddChunk(data []byte) error {
	if len(data) == 0 {
		panic("an empty chunk")
	}
	if err := s.call("add"); err != nil {
		return err
	}
	s.begun.chunks = append(s.begun.chunks, slices.Clone(data))
	return nil
}

func (s *shelf) FinishSnapshot(proof []byte) error {
	if err := s.call("finish"); err != nil {
		return err
	}
	s.begun.proof = proof
	s.finished, s.begun = s.begun, nil
	return nil
}

func (s *shelf) AbortSnapshot() error {
	s.begun = nil
	return nil
}

func (s *shelf) Unwritten() int                               { return s.unwritten }
func (s *shelf) Unfinished() (i bftraft.SnapshotInfo, _ bool) { return i, false }
func (s *shelf) ResumeSnapshot() error                        { return errFull }
func (s *shelf) BegunChunk(int) ([]byte, bool)                { return nil, false }
func (s *shelf) CutSnapshot(int) error                        { return errFull }

func (s *shelf) Snapshot() (bftraft.SnapshotInfo, bool) {
	if s.finished == nil {
		return bftraft.SnapshotInfo{}, false
	}
	f := s.finished
	return bftraft.SnapshotInfo{At: f.at, Chunks: len(f.chunks), Proof: f.proof}, true
}

func (s *shelf) SnapshotChunk(k int) ([]byte, bool) { return s.finished.chunks[k], true }

// What others would fetch is not held here, and the log stays: see transfer_test.go.
func (s *shelf) HoldSnapshot() error                            { return errFull }
func (s *shelf) ReleaseSnapshot() error                         { return nil }
func (s *shelf) HeldSnapshot() (i bftraft.SnapshotInfo, _ bool) { return i, false }
func (s *shelf) HeldChunk(int) ([]byte, bool)                   { return nil, false }
func (s *shelf) DropLog(bftraft.Position) error                 { return errFull }

func (s *shelf) InstallSnapshot(bftraft.HardState, *quorumcert.Commit) error { return errFull }

// checkpointed returns a cluster of one that takes checkpoints. What it says is certified at once.
func checkpointed(t *testing.T, every bftraft.Index) (*alone, *shelf) {
	s := &shelf{}
	a := newAlone(t)
	a.points = Checkpoints{Every: every, Store: s, ChunkBytes: 64}
	a.start()
	return a, s
}

// write has so many operations executed, each in a block of its own.
func (a *alone) write(n int) {
	for range n {
		k := uint64(len(a.tape.lines) + 1)
		require.Len(a.t, a.submit(a.request(1, k, fmt.Sprint("op", k))), 1)
	}
}

// ticks lets time pass.
func (a *alone) ticks(n int) {
	for range n {
		a.r.Tick()
		require.NoError(a.t, a.r.Flush())
	}
}

// settled lets time pass until the checkpoint on its way is written.
func (a *alone) settled() {
	for range 1000 {
		if a.r.taking == nil {
			return
		}
		a.ticks(1)
	}
	require.Fail(a.t, "the checkpoint does not come to an end")
}

func TestK1CheckpointsAreDueAtTheFirstEndBeyondEachMultiple(t *testing.T) {
	c := Checkpoints{Every: 10}
	block := func(first, last bftraft.Index) *bftraft.Block {
		entries := make([]bftraft.Entry, last-first+1)
		return bftraft.NewBlock(bftraft.Position{Index: first - 1}, entries)
	}
	for _, b := range []struct {
		first, last bftraft.Index
		due         bool
	}{
		{1, 9, false}, {1, 10, true}, {10, 10, true}, {11, 11, false}, {11, 19, false},
		{8, 35, true}, {36, 39, false}, {20, 20, true}, {21, 29, false}, {19, 21, true},
	} {
		require.Equal(t, b.due, c.due(block(b.first, b.last), 0), "%d to %d", b.first, b.last)
	}
	require.False(t, (&Checkpoints{}).due(block(1, 1), 1<<40), "never")
	one := block(1, 1)
	size := uint64(len(one.Raw()))
	c = Checkpoints{Bytes: 10 * size}
	require.False(t, c.due(one, 9*size-1))
	require.True(t, c.due(one, 9*size))
}

// Bytes count from one checkpoint to the next, on a node that goes on from a snapshot too.
func TestK1CheckpointsComeByBytes(t *testing.T) {
	a, s := checkpointed(t, 0)
	a.points = Checkpoints{Bytes: 1000, Store: s, ChunkBytes: 4096}
	a.start()
	var due, bytes []int
	since := 0
	for k := 1; k <= 40; k++ {
		a.write(1)
		b, ok := a.disk.Block(a.r.Executed().Index)
		require.True(t, ok)
		if since += len(b.Raw()); a.r.taking != nil {
			due, bytes, since = append(due, k), append(bytes, since), 0
			a.settled()
			a.start()
			require.Equal(t, a.r.Executed(), s.finished.at)
		}
	}
	require.Greater(t, len(due), 4, "%v", due)
	for i, n := range bytes {
		require.GreaterOrEqual(t, n, 1000, "at %d", due[i])
		require.Less(t, n, 1500, "at %d", due[i])
	}
}

// stepwise is a core that sees whether it is told that a Ready is done.
type stepwise struct {
	Protocol
	undone bool
}

func (p *stepwise) Ready() (bftraft.Ready, bool) {
	r, some := p.Protocol.Ready()
	p.undone = some
	return r, some
}

func (p *stepwise) Advance(r bftraft.Ready) {
	p.undone = false
	p.Protocol.Advance(r)
}

// What a snapshot stands on becomes durable before it. If that fails the node stops there and then:
// its storage may have nothing to say any more.
func TestK1FailureWhileACheckpointIsKeptStopsTheNode(t *testing.T) {
	a, s := checkpointed(t, 10)
	core := &stepwise{Protocol: a.r.core}
	a.r.core = core
	a.write(10)
	require.NotNil(t, a.r.taking)
	a.disk.onlySyncs = errFull
	for range 1000 {
		if a.r.Tick(); a.r.Flush() != nil {
			break
		}
	}
	require.ErrorIs(t, a.r.Flush(), ErrStopped)
	require.ErrorIs(t, a.r.Flush(), errFull)
	require.True(t, core.undone, "the Ready in which it failed is not done")
	require.Nil(t, s.finished)
}

func TestK1CheckpointIsOfTheMomentItWasDueAndIsKept(t *testing.T) {
	a, s := checkpointed(t, 10)
	a.write(10)
	at, lines, image := a.r.Executed(), slices.Clone(a.tape.lines), imageOf(a.r)
	require.NotNil(t, a.r.taking)
	a.write(5) // meanwhile life goes on
	a.settled()
	require.Equal(t, uint64(1), a.r.Stats().Checkpoints)
	require.Equal(t, at, s.finished.at)
	m, ok := bftraft.DecodeManifest(s.finished.proof)
	require.True(t, ok)
	require.True(t, m.Verify(a.verifier))
	require.Equal(t, at, bftraft.Position{Index: m.Stable.Index, Hash: m.Stable.Hash})
	require.Equal(t, m.Chunks(), len(s.finished.chunks))
	for k, chunk := range s.finished.chunks {
		require.True(t, m.Holds(k, chunk), "chunk %d", k)
	}
	require.Equal(t, image, bytes.Join(s.finished.chunks[:len(m.Sessions)], nil))
	held := &tape{}
	require.NoError(t, held.Restore(bytes.NewReader(
		bytes.Join(s.finished.chunks[len(m.Sessions):], nil))))
	require.Equal(t, lines, held.lines)
	a.write(5)
	a.settled()
	require.Equal(t, a.r.Executed(), s.finished.at, "the next one takes its place")
	require.Equal(t, uint64(2), a.r.Stats().Checkpoints)
}

func TestK1AChunkIsWrittenInATick(t *testing.T) {
	a, s := checkpointed(t, 10)
	a.write(10)
	calls := s.calls
	a.write(3)
	require.Equal(t, calls, s.calls, "operations wait for nothing of it")
	for n := 1; a.r.taking != nil; n++ {
		a.ticks(1)
		require.LessOrEqual(t, s.calls, calls+n+1, "with the end of it")
	}
	require.Greater(t, len(s.finished.chunks), 5)
}

func TestK1StartGoesOnFromTheSnapshot(t *testing.T) {
	a, s := checkpointed(t, 10)
	votes := &quorumcert.VoteConflict{}
	votes.A.Signer = 3
	a.r.evidence.convicted = []bftraft.Conviction{
		{Index: 5, Evidence: quorumcert.Evidence{Votes: votes}},
	}
	votes.A.Candidate, votes.B = 1, votes.A
	votes.B.Candidate = 2
	a.write(10)
	a.settled()
	a.write(4)
	lines, sessions := slices.Clone(a.tape.lines), a.r.SessionsDigest()
	a.start()
	require.Equal(t, lines, a.tape.lines)
	require.Equal(t, sessions, a.r.SessionsDigest())
	require.Equal(t, uint64(4), a.r.Stats().Ops, "the rest comes from the snapshot")
	require.Equal(t, bftraft.Index(14), a.r.Executed().Index)
	require.Equal(t, bftraft.Index(10), a.r.stable.Index)
	first := a.submit(a.request(1, 9, "op9"))
	require.Equal(t, "9:op9", string(a.reply(first[0]).Results[0]), "answered from what was kept")
	require.Nil(t, a.r.taking, "what is kept is not taken again")
	a.write(6)
	a.settled()
	require.Equal(t, bftraft.Index(20), s.finished.at.Index)
}

// informed is a core that notes of which proofs it is told.
type informed struct {
	Protocol
	proofs []quorumcert.Evidence
}

func (p *informed) Convict(proofs []quorumcert.Evidence) { p.proofs = append(p.proofs, proofs...) }

// What a snapshot knows of liars the core must know: it may be all that is left of the proofs.
func TestK1StartTellsTheCoreOfTheConvicted(t *testing.T) {
	a, _ := checkpointed(t, 10)
	votes := &quorumcert.VoteConflict{}
	votes.A.Signer, votes.A.Candidate = 3, 1
	votes.B = votes.A
	votes.B.Candidate = 2
	proof := quorumcert.Evidence{Votes: votes}
	a.r.evidence.convicted = []bftraft.Conviction{{Index: 5, Evidence: proof}}
	a.write(10)
	a.settled()
	core := &informed{}
	_, err := New(Config{
		Core: a.core(), Storage: a.disk, Transport: a.out, Machine: &tape{},
		Checkpoints: a.points,
		Wrap:        func(p Protocol) Protocol { core.Protocol = p; return core },
	})
	require.NoError(t, err)
	require.Equal(t, []quorumcert.Evidence{proof}, core.proofs)
}

func TestK1StartTakesTheLastCheckpointThatWasDue(t *testing.T) {
	a, s := checkpointed(t, 10)
	s.refuses = "finish"
	a.write(34)
	a.settled()
	require.Nil(t, s.finished)
	s.refuses = ""
	a.start()
	a.settled()
	require.Equal(t, bftraft.Index(30), s.finished.at.Index)
	require.Equal(t, uint64(1), a.r.Stats().Checkpoints)
	a.start()
	require.Equal(t, uint64(4), a.r.Stats().Ops)
}

// A crash may come between the snapshot and what says that it is committed: it says so itself.
func TestK1SnapshotTellsWhatIsCommitted(t *testing.T) {
	a, s := checkpointed(t, 10)
	a.write(10)
	a.settled()
	require.NotNil(t, s.finished)
	a.disk.commits = a.disk.commits[:5]
	r, err := New(Config{
		Core: a.r.cfg.Core, Storage: a.disk, Transport: a.out, Machine: &tape{},
		Checkpoints: a.points,
	})
	require.NoError(t, err)
	require.Equal(t, s.finished.at, r.Executed())
	require.Equal(t, s.finished.at.Index, a.disk.commits[5].Index)
}

func TestK1SnapshotThatDoesNotFitItsCertificateIsRefused(t *testing.T) {
	for name, spoil := range map[string]func(s *shelf){
		"sessions": func(s *shelf) { s.finished.chunks[0][3] ^= 1 },
		"state":    func(s *shelf) { s.finished.chunks[len(s.finished.chunks)-1][0] ^= 1 },
		"exchanged": func(s *shelf) {
			c := s.finished.chunks
			c[1], c[2] = c[2], c[1]
		},
		"missing":   func(s *shelf) { s.finished.chunks = s.finished.chunks[1:] },
		"one more":  func(s *shelf) { s.finished.chunks = append(s.finished.chunks, []byte{1}) },
		"no proof":  func(s *shelf) { s.finished.proof = nil },
		"forged":    func(s *shelf) { s.finished.proof[len(s.finished.proof)-1] ^= 1 },
		"elsewhere": func(s *shelf) { s.finished.at.Index-- },
		"fork":      func(s *shelf) { s.finished.at.Hash[0] ^= 1 },
	} {
		a, s := checkpointed(t, 10)
		a.write(10)
		a.settled()
		spoil(s)
		machine := &tape{}
		_, err := New(Config{
			Core: a.r.cfg.Core, Storage: a.disk, Transport: a.out, Machine: machine,
			Checkpoints: a.points,
		})
		require.ErrorIs(t, err, ErrSnapshot, name)
		require.Empty(t, machine.lines, name)
	}
}

// certificate returns one of a checkpoint that this node does not share.
func (a *alone) certificate(at bftraft.Position) *quorumcert.Stable {
	return &quorumcert.Stable{Checkpoint: quorumcert.Checkpoint{
		Cluster: a.verifier.Cluster(), Index: at.Index, Hash: at.Hash, State: crypto.Digest{1},
	}}
}

func TestK1NodeWhoseStateIsNotTheCertifiedOneStops(t *testing.T) {
	a, s := checkpointed(t, 10)
	a.write(10)
	a.r.sawStable(a.certificate(a.r.Executed()))
	require.NoError(t, a.r.Flush(), "nobody knows before it is written")
	for a.r.taking != nil && !a.r.taking.written {
		a.r.Tick()
	}
	err := a.r.Flush()
	require.ErrorIs(t, err, ErrStopped)
	require.ErrorIs(t, err, ErrDiverged)
	require.Nil(t, s.finished)
}

// Else one that always is the last to write would keep none. What is due before the newest that is
// certified is of no use to anybody, as long as none is on its way.
func TestK1CheckpointIsFinishedThoughOthersHaveGotFurther(t *testing.T) {
	a, s := checkpointed(t, 10)
	a.write(10)
	a.ticks(1)
	far := a.certificate(bftraft.Position{Index: 35})
	a.r.sawStable(far)
	require.NotNil(t, a.r.taking)
	a.settled()
	require.Equal(t, bftraft.Index(10), s.finished.at.Index)
	a.write(24)
	require.Nil(t, a.r.taking, "what was due at 20 and 30")
	a.r.sawStable(a.certificate(bftraft.Position{Index: 5}))
	require.Equal(t, far, a.r.stable, "nor does an older one count")
	a.write(6)
	a.settled()
	require.Equal(t, bftraft.Index(40), s.finished.at.Index)
}

// Who is slow finds the checkpoint certified when it comes there, and keeps it all the same.
func TestK1CheckpointMayBeCertifiedBeforeItIsTaken(t *testing.T) {
	a, s := checkpointed(t, 10)
	a.write(10)
	a.settled()
	first := s.finished
	m, ok := bftraft.DecodeManifest(first.proof)
	require.True(t, ok)
	s.finished, a.disk = nil, &disk{}
	a.start() // as another node that executes the same
	a.r.stable = &m.Stable
	a.write(10)
	a.settled()
	require.Equal(t, first, s.finished)
}

func TestK1WantOfSpaceCostsACheckpointAndNothingElse(t *testing.T) {
	for _, call := range []string{"begin", "add", "finish"} {
		a, s := checkpointed(t, 10)
		s.refuses = call
		a.write(10)
		a.settled()
		require.Nil(t, s.finished, call)
		require.Nil(t, s.begun, call)
		require.Empty(t, a.tape.frozen, call)
		s.refuses = ""
		a.write(10)
		a.settled()
		require.Equal(t, bftraft.Index(20), s.finished.at.Index, call)
	}
}

func TestK1StateThatIsTooLargeIsGivenUp(t *testing.T) {
	a, s := checkpointed(t, 10)
	a.write(10)
	a.r.taking.manifest.State = make([]bftraft.Digest, bftraft.MaxChunks-1)
	a.settled()
	require.Nil(t, s.finished)
	require.NoError(t, a.r.Flush())
}

// Nodes that waited for the certificates of different checkpoints would wait for ever, and so would
// those that always begin with different ones.
func TestK1CheckpointThatNobodyCertifiesMakesRoomForOneThatMoreNodesTake(t *testing.T) {
	a, _ := checkpointed(t, 10)
	a.write(10)
	first := a.r.taking
	a.write(10)
	require.Same(t, first, a.r.taking, "20 is left out while 10 is being written")
	first.written = true // and not certified, say
	a.write(10)
	require.Same(t, first, a.r.taking, "30 is not the first behind a multiple of 16")
	a.write(10)
	require.Equal(t, bftraft.Index(40), a.r.taking.at.Index)
	a.r.taking.written = true
	a.write(20)
	require.Equal(t, bftraft.Index(40), a.r.taking.at.Index)
	a.write(10)
	require.Equal(t, bftraft.Index(70), a.r.taking.at.Index, "the first behind a multiple of 32")
}

func TestCheckpointsThatCannotBeTakenAreRefused(t *testing.T) {
	a := newAlone(t)
	c := Config{
		Core: a.r.cfg.Core, Storage: a.disk, Transport: a.out,
		Machine:     struct{ StateMachine }{&tape{}},
		Checkpoints: Checkpoints{Every: 1, Store: &shelf{}},
	}
	_, err := New(c)
	require.ErrorIs(t, err, bftraft.ErrConfig)
	c.Checkpoints = Checkpoints{}
	_, err = New(c)
	require.NoError(t, err)
	c.Machine = &tape{}
	for points, ok := range map[Checkpoints]bool{
		{Every: 1}: false, {Every: 1, Store: &shelf{}}: true,
		{Every: 1, Store: &shelf{}, ChunkBytes: -1}:                        false,
		{Every: 1, Store: &shelf{}, ChunkBytes: bftraft.MaxChunkBytes}:     true,
		{Every: 1, Store: &shelf{}, ChunkBytes: bftraft.MaxChunkBytes + 1}: false,
	} {
		c.Checkpoints = points
		_, err = New(c)
		require.Equal(t, !ok, errors.Is(err, bftraft.ErrConfig), "%+v", points)
	}
}
