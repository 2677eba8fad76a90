package run

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/bench/contestant"
	"tangaroa/bench/load"
)

func job(t *testing.T, name string) *Job {
	dir := filepath.Join(t.TempDir(), "run")
	require.NoError(t, os.Mkdir(dir, 0o700))
	return &Job{
		Contestant: name, Options: contestant.Options{Nodes: 4, Dir: dir},
		Workload: load.Workload{
			Outstanding: 8, ValueBytes: 128, Keys: 10, Measure: 200 * time.Millisecond,
			Timeout: time.Minute,
		},
	}
}

// child runs a job as the process of its own would, with a parent that waits.
func child(t *testing.T, j *Job) *Outcome {
	text, err := json.Marshal(j)
	require.NoError(t, err)
	r, w := io.Pipe()
	go func() { _, _ = w.Write(text) }()
	defer w.Close()
	var out bytes.Buffer
	require.NoError(t, Child(r, &out))
	o := &Outcome{}
	require.NoError(t, json.Unmarshal(out.Bytes(), o))
	_, err = os.Stat(j.Options.Dir)
	require.ErrorIs(t, err, os.ErrNotExist, "a run leaves nothing behind")
	return o
}

func TestChildMeasuresAndLeavesNothingBehind(t *testing.T) {
	o := child(t, job(t, "ours"))
	require.True(t, o.Valid(), "%s%s", o.NotStarted, o.Void)
	require.Positive(t, o.Result.Ops)
	require.Positive(t, o.Counts[contestant.Signed])
	require.Positive(t, o.DiskBytes)
}

func TestWhatDoesNotStartIsNotZero(t *testing.T) {
	j := job(t, "wal")
	j.Options.Nodes = 0
	o := child(t, j)
	require.False(t, o.Valid())
	require.Contains(t, o.NotStarted, "0 nodes")
}

func TestChildEndsWithItsParent(t *testing.T) {
	j := job(t, "plain")
	j.Workload.Measure = time.Hour
	text, err := json.Marshal(j)
	require.NoError(t, err)
	// The parent is gone as soon as it has written.
	require.ErrorIs(t, Child(bytes.NewReader(text), io.Discard), errParent)
	_, err = os.Stat(j.Options.Dir)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// broken is a cluster that answers, and is what a test makes of it.
type broken struct {
	contestant.Cluster
	put   error
	sound error
}

func (b *broken) Put(context.Context, []byte, []byte) error   { return b.put }
func (b *broken) Get(context.Context, []byte) ([]byte, error) { return nil, nil }
func (b *broken) Sound(context.Context) error                 { return b.sound }
func (b *broken) Counts() (contestant.Counts, error)          { return contestant.Counts{}, nil }

func TestRunsThatDoNotCountAreVoid(t *testing.T) {
	j := job(t, "ours")
	o := &Outcome{}
	o.Result = load.Result{Ops: 20, Writes: 20, Usage: load.Usage{Written: 1 << 20}}
	ctx := context.Background()
	require.NoError(t, judge(ctx, j, &broken{}, o))

	fell := errors.New("a node fell over")
	require.ErrorIs(t, judge(ctx, j, &broken{sound: fell}, o), fell)
	o.Result.Usage.Written = 100
	require.ErrorContains(t, judge(ctx, j, &broken{}, o), "durability is off")
	o.Result.Usage.Written = -1 // the kernel does not say
	require.NoError(t, judge(ctx, j, &broken{}, o))
	o.Result.Errors = 1
	require.ErrorContains(t, judge(ctx, j, &broken{}, o), "1 operations failed")
	o.Result = load.Result{}
	require.ErrorContains(t, judge(ctx, j, &broken{}, o), "no operation ended")
}

func TestReadOfWhatNobodyWroteIsAnError(t *testing.T) {
	j := job(t, "ours")
	j.Workload.Reads = 1
	j.Workload.Measure = 20 * time.Millisecond
	r, err := load.Run(context.Background(), &broken{}, j.Workload, load.Hooks{})
	require.NoError(t, err)
	require.Positive(t, r.Errors)
	require.Zero(t, r.Ops)
}

func TestFlushesOfTheMeasuredTimeAreCountedOnce(t *testing.T) {
	dir := t.TempDir()
	log := `7 1700000000.500000 fdatasync(3 <unfinished ...>
8 1700000001.000000 fsync(4) = 0
7 1700000001.100000 <... fdatasync resumed>) = 0
8 1700000001.500000 msync(0x7f00, 4096, MS_SYNC) = 0
8 1700000001.600000 futex(0x7f00, FUTEX_WAIT) = 0
8 1700000002.000000 fsync(4) = 0
8 1700000003.000000 +++ exited with 0 +++
`
	require.NoError(t, os.WriteFile(filepath.Join(dir, traceFile), []byte(log), 0o600))
	o := &Outcome{Counts: contestant.Counts{}}
	o.Result.Began, o.Result.Ended = time.Unix(1700000001, 0), time.Unix(1700000002, 0)
	require.NoError(t, countSyncs(dir, o))
	require.InDelta(t, 2, o.Counts[contestant.Syncs], 0)
}
