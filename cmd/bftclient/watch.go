package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	ucli "github.com/urfave/cli/v2"

	"tangaroa/bftraft"
	"tangaroa/bftraft/client"
	"tangaroa/bftraft/kv"
	"tangaroa/cmd/internal/cli"
	"tangaroa/quorumcert"
)

// event is one line of watch in JSON.
type event struct {
	Revision kv.Revision `json:"revision"`
	Type     string      `json:"type"` // put or delete
	entry
	Prev *entry `json:"prev,omitempty"`
}

func watchCommand() *ucli.Command {
	return &ucli.Command{
		Name: "watch", Usage: "print what happens to the keys that begin with a prefix",
		ArgsUsage: "PREFIX",
		Description: `Prints one line for each change, in the order of revisions, once f+1 nodes have
told the same, until it is interrupted, has printed --count changes, or this client is removed by a
change. With -o json each line is a JSON value. --timeout bounds the start only.`,
		Flags: []ucli.Flag{
			hexFlag(), identityFlag(),
			&ucli.Uint64Flag{Name: "from", Usage: "begin with revision `REV`; 0 is what comes next"},
			&ucli.Uint64Flag{Name: "count", Usage: "end after `N` changes; 0 is never"},
			&ucli.BoolFlag{Name: "prev", Usage: "print what each key was before, too"},
		},
		Action: watch,
	}
}

func watch(c *ucli.Context) error {
	if err := cli.RequireArgs(c, 1, 1); err != nil {
		return err
	}
	prefix, err := argument(c, 0)
	if err != nil {
		return err
	}
	format, err := cli.FormatOf(c)
	if err != nil {
		return err
	}
	o, err := openerOf(c)
	if err != nil {
		return err
	}
	s, err := connect(c, nil)
	if err != nil {
		return err
	}
	defer s.close()
	from := kv.Revision(c.Uint64("from"))
	if from == 0 {
		if from, err = s.revision(); err != nil {
			return err
		}
		from++
	}
	w := &watcher{
		session: s, opener: o, span: kv.Prefix(prefix), json: format == cli.JSON, out: c.App.Writer,
		hex: c.Bool("hex"), prev: c.Bool("prev"), left: c.Uint64("count"),
		forever: c.Uint64("count") == 0,
		merger:  newMerger(quorumcert.ForNodes(len(s.Members().Voters)).F, from),
	}
	if !w.json {
		fmt.Fprintf(c.App.ErrWriter, "watching %q from revision %d\n", prefix, from)
	}
	return w.run(c.Context)
}

// watcher polls all nodes and prints what is confirmed.
type watcher struct {
	*session
	opener *opener
	span   kv.Span
	json   bool
	hex    bool
	prev   bool
	out    io.Writer

	mu      sync.Mutex
	polled  map[quorumcert.Voter]context.CancelFunc // who is asked, and what ends that
	merger  *merger
	forever bool
	left    uint64 // lines to be printed, unless forever
	named   quorumcert.Set
	room    sync.Cond // something was confirmed, so there is room for more
}

// errEnough ends a watch that has printed what it was asked for.
var errEnough = errors.New("enough")

// followPause is how long it may take until the voters are asked that there are now.
const followPause = time.Second

// run polls until ctx ends, which is how a watch is meant to end.
func (w *watcher) run(ctx context.Context) error {
	w.room.L, w.polled = &w.mu, make(map[quorumcert.Voter]context.CancelFunc)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	wake := context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.room.Broadcast()
	})
	defer wake()
	var nodes sync.WaitGroup
	for {
		for v, ctx := range w.follow(ctx, w.Members().Voters) {
			nodes.Go(func() {
				if err := w.poll(ctx, v.ID); err != nil {
					cancel(err)
				}
			})
		}
		if !pause(ctx, followPause) {
			break
		}
	}
	nodes.Wait()
	switch err := context.Cause(ctx); {
	case errors.Is(err, errEnough), errors.Is(err, context.Canceled):
		return nil
	default:
		return err
	}
}

// follow ends what is asked of those that are no voters any more, and returns the new ones, each
// with a context for what it is asked.
func (w *watcher) follow(
	ctx context.Context, voters []quorumcert.Voter,
) map[quorumcert.Voter]context.Context {
	w.mu.Lock()
	defer w.mu.Unlock()
	var others quorumcert.Set
	for v, end := range w.polled {
		if !slices.Contains(voters, v) {
			end()
			delete(w.polled, v)
			others = others.With(v.ID)
		}
	}
	came := make(map[quorumcert.Voter]context.Context)
	for _, v := range voters {
		if w.polled[v] == nil {
			came[v], w.polled[v] = context.WithCancel(ctx)
			others = others.With(v.ID)
		}
	}
	if others != 0 {
		w.merger.follow(others, quorumcert.ForNodes(len(voters)).F)
		w.named &^= others
		w.room.Broadcast()
	}
	return came
}

// poll asks one node page after page. When there is nothing new the question waits at the node,
// until it has executed more than it had.
func (w *watcher) poll(ctx context.Context, id bftraft.NodeID) error {
	var least bftraft.Index
	for {
		q, ok := w.next(ctx, id)
		if !ok {
			return nil
		}
		encoded, err := kv.EncodeQuery(q)
		if err != nil {
			return explain(err)
		}
		got, err := w.ReadFrom(ctx, id, least, encoded)
		switch {
		case errors.Is(err, client.ErrNotAuthorised):
			return explain(err)
		case err != nil:
			return nil // the watch has ended
		}
		more, err := w.take(ctx, id, got.Value)
		rest := time.Duration(0)
		switch {
		case errors.Is(err, errPage):
			w.warn.dissent(client.Dissent{Node: id, Kind: client.DissentInvalid})
			rest = time.Second
		case err != nil:
			return err
		case !more:
			// Whoever answers at once what should have waited cannot make us spin.
			rest = 5 * time.Millisecond
		}
		if !pause(ctx, rest) {
			return nil
		}
		if least = got.Index; !more {
			least++
		}
	}
}

// pause is false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// next returns the next question for a node. It waits while too much of it is not confirmed.
func (w *watcher) next(ctx context.Context, id bftraft.NodeID) (kv.Events, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for ctx.Err() == nil {
		q, room := w.merger.question(id, w.span)
		if room {
			q.PrevKV = w.prev
			return q, true
		}
		w.room.Wait()
	}
	return kv.Events{}, false
}

// take adds a node's answer and prints what it confirms. When ctx has ended it is no voter's.
func (w *watcher) take(
	ctx context.Context, id bftraft.NodeID, value []byte,
) (more bool, err error) {
	result, err := kv.DecodeQueryResult(value)
	if err != nil {
		return false, errPage
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() != nil {
		return false, nil
	}
	switch result := result.(type) {
	case kv.QueryError:
		switch {
		case result.Code != kv.CodeCompacted:
			return false, errPage
		case w.merger.compacted(id):
			return false, fmt.Errorf("revision %d: %w", w.merger.at+1, kv.ErrCompacted)
		}
		return false, nil
	case kv.EventsResult:
		confirmed, err := w.merger.add(id, result)
		for _, c := range confirmed {
			if err := w.print(c); err != nil {
				return false, err
			}
		}
		if len(confirmed) > 0 {
			w.room.Broadcast()
		}
		w.blame()
		return result.More, err
	}
	return false, errPage
}

// blame names the nodes that said something else.
func (w *watcher) blame() {
	fresh := w.merger.differ &^ w.named
	w.named |= fresh
	for id := fresh.Next(0); id != 0; id = fresh.Next(id) {
		w.warn.dissent(client.Dissent{Node: id, Kind: client.DissentRead})
	}
}

func (w *watcher) print(c change) error {
	for _, e := range c.events {
		if err := w.printEvent(e); err != nil {
			return err
		}
		if w.forever {
			continue
		}
		if w.left--; w.left == 0 {
			return errEnough
		}
	}
	return nil
}

func (w *watcher) printEvent(e kv.Event) error {
	kind := "put"
	if e.Deleted {
		kind = "delete"
	}
	held := []kv.KV{e.KV}
	if e.Prev != nil {
		held = append(held, *e.Prev)
	}
	if err := w.opener.openAll(held); err != nil {
		return err
	}
	if e.KV = held[0]; e.Prev != nil {
		e.Prev = &held[1]
	}
	if w.json {
		text := event{Revision: e.KV.Mod, Type: kind, entry: newEntry(e.KV, w.hex)}
		text.Mod = 0 // it is the event's revision
		if e.Deleted {
			text.Value, text.ValueHex = nil, nil
		}
		if e.Prev != nil {
			prev := newEntry(*e.Prev, w.hex)
			prev.Key, prev.KeyHex = nil, nil
			text.Prev = &prev
		}
		return line(w.out, text)
	}
	text := fmt.Sprintf("%d %s %s", e.KV.Mod, kind, shown(e.KV.Key, w.hex))
	if !e.Deleted {
		text += " = " + shownValue(e.KV.Value, w.hex)
	}
	if e.Prev != nil {
		text += " (was " + shownValue(e.Prev.Value, w.hex) + ")"
	}
	_, err := fmt.Fprintln(w.out, text)
	return err
}
