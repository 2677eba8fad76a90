package store_test

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/store"
	"tangaroa/bftraft/store/storetest"
	"tangaroa/quorumcert"
)

// The tests here need a process that may die. It is this binary, told by the environment what to
// do on which directory.
const (
	envChild = "STORE_CHILD"
	envDir   = "STORE_DIR"
	exitNo   = 23 // the child may not sign
)

func TestMain(m *testing.M) {
	switch os.Getenv(envChild) {
	case "save":
		childSaves(os.Getenv(envDir))
	case "drop":
		childDrops(os.Getenv(envDir))
	case "load":
		childLoads(os.Getenv(envDir))
	case "rotate":
		childRotates(os.Getenv(envDir))
	default:
		os.Exit(m.Run())
	}
}

func childOpens(dir string) (*store.Badger, bftraft.Restored) {
	s, err := store.Open(dir, small(storetest.Identity))
	var r bftraft.Restored
	if err == nil {
		r, err = s.Load()
	}
	if err != nil {
		fmt.Println(err)
		if store.MustNotSign(err) {
			os.Exit(exitNo)
		}
		os.Exit(1)
	}
	return s, r
}

// childSaves saves without end and says after each Save how far it has come.
func childSaves(dir string) {
	s, r := childOpens(dir)
	rng := rand.New(rand.NewPCG(uint64(r.Tip.Index), 3))
	for tip := r.Tip; ; {
		b := chainOf(rng, tip, 1, rng.IntN(60000))[0]
		tip = b.End()
		if err := s.Save(&bftraft.Ready{Blocks: []*bftraft.Block{b}, MustSync: true}); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(tip.Index)
	}
}

// childDrops saves, takes snapshots, and drops the log behind them, without end.
func childDrops(dir string) {
	s, r := childOpens(dir)
	rng := rand.New(rand.NewPCG(uint64(r.Tip.Index), 3))
	hard, tip := r.HardState, r.Tip
	for n := 0; ; n++ {
		b := chainOf(rng, tip, 1, rng.IntN(60000))[0]
		tip = b.End()
		hard.Lock = quorumcert.Lock{Term: hard.Term, Index: tip.Index, Hash: tip.Hash}
		err := s.Save(&bftraft.Ready{
			HardState: &hard, Blocks: []*bftraft.Block{b}, MustSync: true,
			Commits: []*quorumcert.Commit{commitAt(tip)},
		})
		if n%4 == 3 {
			err = errors.Join(err, s.BeginSnapshot(tip), s.AddChunk(b.Raw()), s.AddChunk(b.Raw()),
				s.FinishSnapshot(b.Raw()), s.DropLog(tip))
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(tip.Index)
	}
}

func childLoads(dir string) {
	s, r := childOpens(dir)
	fmt.Println(r.Tip.Hash)
	if err := s.Close(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// childRotates changes the data key without end, rewrites all that is stored with each second one,
// saves something with each, and says how far it has come.
func childRotates(dir string) {
	s, r := childOpens(dir)
	rng := rand.New(rand.NewPCG(uint64(r.Tip.Index), 4))
	for tip, n := r.Tip, 0; ; n++ {
		if err := s.RotateDataKey(n%2 == 0); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		b := chainOf(rng, tip, 1, rng.IntN(60000))[0]
		tip = b.End()
		if err := s.Save(&bftraft.Ready{Blocks: []*bftraft.Block{b}, MustSync: true}); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(tip.Index)
	}
}

// TestKilledRotationLosesNothing kills a process in the middle of changing data keys, again and
// again.
func TestKilledRotationLosesNothing(t *testing.T) {
	if store.RunMaster().IsZero() {
		return // TestEverythingHoldsEncrypted runs it
	}
	rng := rand.New(rand.NewPCG(storetest.Seed(t), 1))
	dir := create(t, names(20)...)
	var reached uint64
	for range 5 {
		reached = max(reached, killedAfter(t, child("rotate", dir), rng.IntN(8)))
		r, err := loadOnce(dir)
		require.NoError(t, err)
		require.GreaterOrEqual(t, uint64(r.Tip.Index), reached)
	}
	require.Greater(t, reached, uint64(20))
}

// killedAfter kills a child when it has said so many lines or a little later, and returns the last
// number that it said.
func killedAfter(t *testing.T, cmd *exec.Cmd, lines int) (last uint64) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	said := bufio.NewScanner(out)
	for n := 0; n <= lines && said.Scan(); n++ {
		last, err = strconv.ParseUint(said.Text(), 10, 64)
		require.NoError(t, err)
	}
	require.NoError(t, cmd.Process.Kill())
	for said.Scan() {
		if n, err := strconv.ParseUint(said.Text(), 10, 64); err == nil {
			last = n
		}
	}
	require.ErrorContains(t, cmd.Wait(), "killed")
	return last
}

func child(what, dir string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envChild+"="+what, envDir+"="+dir)
	return cmd
}

func TestKilledProcessKeepsWhatItSaved(t *testing.T) {
	dir := create(t)
	var reached uint64
	for round := range 4 {
		reached = killedAfter(t, child("save", dir), 19+90*round)
		r, err := loadOnce(dir)
		require.NoError(t, err)
		require.GreaterOrEqual(t, uint64(r.Tip.Index), reached)
	}
	require.Greater(t, reached, uint64(200))
}

// TestKilledProcessKeepsWhatItHadNotDropped: the base lies where a snapshot is, whole, and behind
// it is all that was saved.
func TestKilledProcessKeepsWhatItHadNotDropped(t *testing.T) {
	dir := create(t)
	base := bftraft.Index(0)
	for round := range 4 {
		reached := killedAfter(t, child("drop", dir), 9+7*round)
		s, r := open(t, dir)
		require.GreaterOrEqual(t, uint64(r.Tip.Index), reached)
		require.Greater(t, r.Base.Index, base)
		base = r.Base.Index
		info, ok := s.Snapshot()
		require.True(t, ok)
		require.GreaterOrEqual(t, info.At.Index, base)
		require.NoError(t, s.AbortSnapshot()) // which the process may have begun
		require.NoError(t, s.Close())
		finished(t, dir)
	}
}

// damage changes a file in one of the ways disks do.
func damage(t *testing.T, rng *rand.Rand, path string, how int) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	used := len(strings.TrimRight(string(raw), "\x00"))
	if used == 0 {
		return ""
	}
	at := rng.IntN(used)
	var what string
	switch how {
	case 0:
		raw[at] ^= 1 << rng.IntN(8)
		what = fmt.Sprintf("bit flipped at %d of %d", at, used)
	case 1:
		at -= at % 4096
		clear(raw[at:min(at+4096, len(raw))])
		what = fmt.Sprintf("page at %d of %d zeroed", at, used)
	case 2:
		raw = raw[:at]
		what = fmt.Sprintf("cut at %d of %d", at, used)
	case 3:
		require.NoError(t, os.Remove(path))
		return "removed"
	}
	require.NoError(t, os.WriteFile(path, raw, 0o600))
	return what
}

// TestDamagedFilesAreSeenOrHarmless damages each file in turn. The store, which begins at a base,
// is then what it was, or the process does not get as far as signing; it never goes on with less.
func TestDamagedFilesAreSeenOrHarmless(t *testing.T) {
	rng := rand.New(rand.NewPCG(storetest.Seed(t), 1))
	dir := create(t)
	s, r := open(t, dir)
	m := storetest.NewModel(storetest.Identity.Cluster)
	for range 50 {
		m = committed(t, s, m, chainOf(rng, m.Tip(), 2, 100<<10)...)
	}
	take(t, s, snapshotAt(m.Tip(), "state"))
	require.NoError(t, s.FinishSnapshot(nil))
	require.NoError(t, s.DropLog(m.Blocks[9].End()))
	r.Tip = m.Tip()
	image := filepath.Join(t.TempDir(), "data")
	copyTree(t, dir, image) // as after a kill: with write-ahead logs
	require.NoError(t, s.Close())
	kinds := map[string]int{}
	for _, file := range filesOf(t, image) {
		for how := range 4 {
			broken := filepath.Join(t.TempDir(), "data")
			copyTree(t, image, broken)
			what := damage(t, rng, filepath.Join(broken, file), how)
			if what == "" {
				continue
			}
			out, err := child("load", broken).CombinedOutput()
			first, rest, _ := strings.Cut(string(out), "\n")
			require.NoError(t, os.RemoveAll(broken))
			var exit *exec.ExitError
			switch {
			case err == nil:
				require.Equal(t, r.Tip.Hash.String(), first, "%s %s", file, what)
				kinds["harmless"]++
			case errors.As(err, &exit) && exit.ExitCode() == exitNo:
				require.Empty(t, rest, "it takes more than one line to say why")
				kinds["refused"]++
			default:
				kinds["stopped"]++
			}
			t.Logf("%s %s: %v %s", file, what, err, first)
		}
	}
	require.Greater(t, kinds["refused"], 5, "%v", kinds)
	t.Log(kinds)
}
