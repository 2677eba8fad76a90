package store

import (
	"os"
	"sync"
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
	err     error // the first failure, after which nothing more is written
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
		w.left -= len(batch)
		w.err = err
		w.changed.Broadcast()
	}
	w.queue, w.busy = nil, false
	w.changed.Broadcast()
}

// unwritten is how many chunks are not durable yet.
func (w *chunkWriter) unwritten() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.left
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

// remover takes files away whose blocks it may take the disk a while to free.
type remover struct {
	wg  sync.WaitGroup
	mu  sync.Mutex
	err error // the first failure
}

// remove closes a file and takes it away.
func (r *remover) remove(f *os.File, path string) {
	r.wg.Go(func() {
		err := f.Close()
		if err == nil {
			err = os.Remove(path)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.err == nil {
			r.err = err
		}
	})
}

// failure returns what went wrong so far.
func (r *remover) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// wait returns once all is gone, or what went wrong.
func (r *remover) wait() error {
	r.wg.Wait()
	return r.failure()
}
