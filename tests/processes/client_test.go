//go:build linux

package processes

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/client"
	"tangaroa/bftraft/kv"
	"tangaroa/crypto"
)

// user is a client of the library. Its methods return errors, because goroutines use them.
type user struct{ *client.Client }

// user connects under the key of a client's folder. The client is closed with the test.
func (c *cluster) user(k int) user {
	c.t.Helper()
	cfg := client.DefaultConfig()
	cfg.Genesis, cfg.CheckOp, cfg.Peers = c.file.genesis(c.t), kv.CheckOp, c.file.peers(c.t, 0)
	cfg.Key = readKey(c.t, c.path(fmt.Sprintf("client%d", k)))
	made, err := client.New(cfg)
	require.NoError(c.t, err)
	c.t.Cleanup(func() { require.NoError(c.t, made.Close()) })
	return user{made}
}

// apply orders an operation.
func (u user) apply(ctx context.Context, op kv.Op) (kv.Result, error) {
	raw, err := kv.EncodeOp(op)
	if err != nil {
		return kv.Result{}, err
	}
	got, err := u.Submit(ctx, raw)
	if err != nil {
		return kv.Result{}, err
	}
	result, err := kv.DecodeResult(got.Value)
	if err == nil {
		err = result.Code.Err()
	}
	return result, err
}

// read answers a range without writing to the log, or through it what keeps changing, as bftclient
// does.
func (u user) read(ctx context.Context, r kv.Range) (kv.RangeResult, error) {
	raw, err := kv.EncodeQuery(r)
	if err != nil {
		return kv.RangeResult{}, err
	}
	got, err := u.Read(ctx, raw)
	if errors.Is(err, client.ErrReadUnsettled) {
		ordered, err := u.apply(ctx, r)
		if err != nil {
			return kv.RangeResult{}, err
		}
		op := ordered.Ops[0]
		return kv.RangeResult{Count: op.Count, More: op.More, KVs: op.KVs}, nil
	}
	if err != nil {
		return kv.RangeResult{}, err
	}
	result, err := kv.DecodeQueryResult(got.Value)
	if err != nil {
		return kv.RangeResult{}, err
	}
	found, ok := result.(kv.RangeResult)
	if !ok {
		return kv.RangeResult{}, fmt.Errorf("the answer is %v", result)
	}
	return found, nil
}

// list reads all keys with a prefix.
func (u user) list(t *testing.T, prefix string) map[string]kv.KV {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	all := map[string]kv.KV{}
	r := kv.Range{Span: kv.Prefix([]byte(prefix))}
	for {
		page, err := u.read(ctx, r)
		require.NoError(t, err)
		for _, held := range page.KVs {
			all[string(held.Key)] = held
		}
		if !page.More {
			return all
		}
		last := page.KVs[len(page.KVs)-1].Key
		r.Key = append(last[:len(last):len(last)], 0)
	}
}

// writer puts one new key after the other and remembers what was acknowledged.
type writer struct {
	t      *testing.T
	user   user
	prefix string
	stop   context.CancelFunc
	ended  chan struct{}

	mu    sync.Mutex
	acked int       // keys prefix/0 to prefix/(acked-1) were acknowledged
	last  time.Time // when
	worst time.Duration
	err   error
}

// write starts a writer, which ends with the test at the latest.
func (u user) write(t *testing.T, prefix string) *writer {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &writer{
		t: t, user: u, prefix: prefix, stop: cancel, ended: make(chan struct{}), last: time.Now(),
	}
	go w.run(ctx)
	t.Cleanup(func() { w.end() })
	return w
}

func (w *writer) key(n int) string { return fmt.Sprintf("%s/%d", w.prefix, n) }

func (w *writer) run(ctx context.Context) {
	defer close(w.ended)
	for n := 0; ; n++ {
		once, cancel := context.WithTimeout(ctx, patience)
		_, err := w.user.apply(once, kv.Put{Key: []byte(w.key(n)), Value: []byte(w.key(n))})
		cancel()
		if ctx.Err() != nil {
			return
		}
		w.note(err)
		if err != nil {
			return
		}
	}
}

func (w *writer) note(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err = err; err != nil {
		return
	}
	now := time.Now()
	w.worst, w.last = max(w.worst, now.Sub(w.last)), now
	w.acked++
}

func (w *writer) end() {
	w.stop()
	<-w.ended
}

func (w *writer) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	require.NoError(w.t, w.err)
	return w.acked
}

// more waits until so many more were acknowledged.
func (w *writer) more(n int) {
	w.t.Helper()
	goal := w.count() + n
	await(w.t, fmt.Sprintf("%d more writes", n), func() bool { return w.count() >= goal })
}

// watch begins to measure pauses, and pause returns the longest since.
func (w *writer) watch() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.worst, w.last = 0, time.Now()
}

func (w *writer) pause() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return max(w.worst, time.Since(w.last))
}

// check ends the writer and requires that everything it was promised is there, exactly once.
func (w *writer) check() {
	w.t.Helper()
	acked := w.count()
	w.end()
	require.NotZero(w.t, acked, "nothing was acknowledged")
	held := w.user.list(w.t, w.prefix+"/")
	for n := range acked {
		key := w.key(n)
		found, ok := held[key]
		require.True(w.t, ok, "%s was acknowledged and is lost, of %d", key, acked)
		require.Equal(w.t, key, string(found.Value))
		require.EqualValues(w.t, 1, found.Version, "%s was executed more than once", key)
	}
	require.LessOrEqual(w.t, len(held), acked+1, "there are keys that nobody wrote")
}

// awaitSame waits until nodes have executed equally far, and requires that their states are equal.
// Nobody may write meanwhile.
func (u user) awaitSame(t *testing.T, ids ...crypto.NodeID) {
	t.Helper()
	var states []bftraft.NodeStatus
	await(t, "all nodes to have executed the same", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		states = states[:0]
		_, reports := u.Status(ctx)
		for _, report := range reports {
			for _, id := range ids {
				if report.ID == id && report.Status != nil {
					states = append(states, *report.Status)
				}
			}
		}
		for _, s := range states {
			if s.Executed != states[0].Executed || s.Executed != s.Tip.Index {
				return false
			}
		}
		return len(states) == len(ids)
	})
	for _, s := range states {
		require.Equal(t, states[0].State, s.State, "states differ at %d", s.Executed)
	}
}
