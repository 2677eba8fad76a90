package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/pprof"

	"tangaroa/bench/attack"
	"tangaroa/bench/contestant"
	"tangaroa/bench/load"
)

// errParent is why a run ends early.
var errParent = errors.New("the parent process has ended")

// Child reads a job from in, does it, and writes its outcome to out.
func Child(in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	decoder := json.NewDecoder(in)
	var job Job
	if err := decoder.Decode(&job); err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	// The parent does the same, unless it is killed.
	defer func() { _ = os.RemoveAll(job.Options.Dir) }()
	go func() {
		_, _ = io.Copy(io.Discard, in)
		cancel(errParent)
	}()
	outcome := do(ctx, &job)
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(outcome)
}

// do starts a cluster, loads it, and sees whether it is sound afterwards.
func do(ctx context.Context, job *Job) *Outcome {
	o := &Outcome{}
	cluster, err := start(ctx, job)
	if err != nil {
		o.NotStarted = err.Error()
		return o
	}
	switch store, ok := cluster.(attack.Store); {
	case job.Attack == nil:
		if err = measure(ctx, job, cluster, o); err == nil {
			err = judge(ctx, job, cluster, o)
		}
	case ok:
		o.Attack, err = attack.Run(ctx, store, *job.Attack)
	default:
		err = errors.New("this contestant has no liars")
	}
	err = errors.Join(err, cluster.Close())
	if err == nil {
		o.DiskBytes, err = size(job.Options.Dir)
	}
	if err != nil {
		o.Void = err.Error()
	}
	return o
}

func start(ctx context.Context, job *Job) (contestant.Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	c, err := contestant.Find(job.Contestant)
	if err != nil {
		return nil, err
	}
	job.Options.Outstanding = job.Workload.Outstanding
	job.Options.ValueBytes = job.Workload.ValueBytes
	job.Options.KillsLeader = job.KillLeader
	cluster, err := c.Start(ctx, job.Options)
	if err != nil {
		return nil, err
	}
	for range job.Dead {
		if err := cluster.KillFollower(); err != nil {
			return nil, errors.Join(err, cluster.Close())
		}
	}
	return cluster, nil
}

// measure drives the load; the counts are taken just outside of the measured time.
func measure(ctx context.Context, job *Job, c contestant.Cluster, o *Outcome) error {
	var before, after contestant.Counts
	var errs [3]error
	var profile *os.File
	hooks := load.Hooks{
		Begin: func() {
			before, errs[0] = c.Counts()
			if job.CPUProfile != "" {
				if profile, errs[2] = os.Create(job.CPUProfile); errs[2] == nil {
					errs[2] = pprof.StartCPUProfile(profile)
				}
			}
		},
		End: func() {
			if profile != nil {
				pprof.StopCPUProfile()
				errs[2] = errors.Join(errs[2], profile.Close())
			}
			after, errs[1] = c.Counts()
		},
	}
	if job.KillLeader {
		hooks.During = func(context.Context) error { return c.KillLeader() }
	}
	var err error
	o.Result, err = load.Run(ctx, c, job.Workload, hooks)
	if err = errors.Join(err, errs[0], errs[1], errs[2]); err != nil {
		return err
	}
	o.Counts = contestant.Counts{}
	for name, n := range after {
		o.Counts[name] = n - before[name]
	}
	return nil
}

// judge says why a run does not count.
func judge(ctx context.Context, job *Job, c contestant.Cluster, o *Outcome) error {
	r := &o.Result
	switch {
	case r.Errors > 0:
		return fmt.Errorf("%d operations failed, the first: %s", r.Errors, r.FirstErr)
	case r.Ops == 0:
		return errors.New("no operation ended in time")
	}
	alive := uint64(job.Options.Nodes - job.Dead)
	// What was under way when the measured time began may have been written before.
	sure := r.Writes - min(r.Writes, uint64(job.Workload.Outstanding))
	least := int64(sure * uint64(job.Workload.ValueBytes) * alive / 2)
	if r.Usage.Written >= 0 && r.Usage.Written < least && job.Options.Adversary == "" {
		return fmt.Errorf("%d bytes were handed to the disk, where %d were to be durable: "+
			"durability is off", r.Usage.Written, least)
	}
	ctx, cancel := context.WithTimeout(ctx, soundTimeout)
	defer cancel()
	return c.Sound(ctx)
}

// size is what the files below dir take on the disk; some are longer than that.
func size(dir string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += onDisk(info)
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("see what is on the disk: %w", err)
	}
	return sum, nil
}
