package store

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// queuedChunks is how many chunks may wait for the disk before whoever adds one waits, too.
const queuedChunks = 8

// chunkWriter writes the chunks of a snapshot and flushes them, so that whoever adds them waits for
// no disk. Its goroutine lives as long as there is something to write. Nobody but that touches the
// files meanwhile: wait comes first.
type chunkWriter struct {
	mu      sync.Mutex
	changed sync.Cond // whenever something was written
	queue   []queuedChunk
	left    int // chunks that are not durable
	busy    bool
	spare   [][]byte // the room of those that are, for the next: it would be most of all garbage
	sealed  []byte   // room for one as it stands on the disk, of the goroutine
	err     error    // the first failure, after which nothing more is written
}

// queuedChunk is a chunk on its way to the disk.
type queuedChunk struct {
	number int
	from   int64 // where it begins in the file
	data   []byte
}

func newChunkWriter() *chunkWriter {
	w := &chunkWriter{}
	w.changed.L = &w.mu
	return w
}

// room returns an empty slice with room for n bytes.
func (w *chunkWriter) room(n int) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	if last := len(w.spare) - 1; last >= 0 {
		b := w.spare[last]
		w.spare = w.spare[:last]
		if cap(b) >= n {
			return b
		}
	}
	return make([]byte, 0, n+n/8) // chunks are about as long as each other
}

// add queues a chunk for a file, or says what went wrong with those before.
func (w *chunkWriter) add(f *snapshotFile, c queuedChunk) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.left >= queuedChunks && w.err == nil {
		w.changed.Wait()
	}
	if w.err != nil {
		return w.err
	}
	w.queue = append(w.queue, c)
	w.left++
	if !w.busy {
		w.busy = true
		go w.run(f)
	}
	return nil
}

// run writes what is queued until nothing is.
func (w *chunkWriter) run(f *snapshotFile) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) > 0 && w.err == nil {
		batch := w.queue
		w.queue = nil
		w.mu.Unlock()
		err := f.write(batch)
		w.mu.Lock()
		if w.err = err; err == nil {
			w.left -= len(batch)
			for _, c := range batch {
				w.spare = append(w.spare, c.data[:0])
			}
		}
		w.changed.Broadcast()
	}
	w.queue, w.busy = nil, false
	w.changed.Broadcast()
}

// unwritten is how many chunks are not durable yet, or what keeps them from ever being.
func (w *chunkWriter) unwritten() (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.left, w.err
}

// wait returns once all that was added is durable, or cannot be.
func (w *chunkWriter) wait() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.busy {
		w.changed.Wait()
	}
	return w.err
}

// remover takes files away, a piece at a time: to free the blocks of a large one at once keeps the
// disk from all else for a while.
type remover struct {
	names int // how many were given, so that each is another
	wg    sync.WaitGroup
	hurry atomic.Bool // somebody waits
	mu    sync.Mutex
	err   error // the first failure
}

// A piece of so many bytes is given back at a time, with pauses between: no faster than another
// snapshot is written meanwhile. Where the kernel tells the disk of each piece (discard), the disk
// does nothing else until it is done with that.
const (
	removedBytes = 1 << 20
	removedPause = 25 * time.Millisecond
)

// remove takes a file away and closes it. Nobody else may use it any more.
func (r *remover) remove(f *os.File, path string) {
	r.wg.Go(func() {
		err := errors.Join(r.shrink(f, path), f.Close(), os.Remove(path))
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.err == nil {
			r.err = err
		}
	})
}

// discard takes a file away that is not finished, by and by. Another may have its name at once.
func (r *remover) discard(f *snapshotFile) error {
	r.names++
	gone := fmt.Sprintf("%s%s%d", f.path, goneSuffix, r.names)
	if err := errors.Join(f.chunks.wait(), os.Rename(f.path, gone), f.dropParts()); err != nil {
		return errors.Join(err, f.file.Close())
	}
	r.remove(f.file, gone)
	return nil
}

// shrink gives all of a file back but a piece.
func (r *remover) shrink(f *os.File, path string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	for size := info.Size() - removedBytes; size > 0 && !r.hurry.Load(); size -= removedBytes {
		if err := os.Truncate(path, size); err != nil {
			return err
		}
		time.Sleep(removedPause)
	}
	return nil
}

// failure returns what went wrong so far.
func (r *remover) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// wait returns once all is gone, or what went wrong.
func (r *remover) wait() error {
	r.hurry.Store(true)
	r.wg.Wait()
	r.hurry.Store(false)
	return r.failure()
}
