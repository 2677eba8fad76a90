package client

import "tangaroa/bftraft"

// Result is the accepted result of one operation.
type Result struct {
	ID    RequestID
	Place int    // of the operation in its request
	Value []byte // what the state machine returned
	// Index is the end of the block in which the request stands.
	Index bftraft.Index
	// Receipt proves all results of the request. It is shared and must not be changed.
	Receipt *Receipt
}

// Future is an operation on its way. Any number of goroutines may wait for it.
type Future struct {
	op     []byte
	alone  bool
	done   chan struct{}
	result Result // set before done is closed
	err    error  // likewise

	flight *flight // under the client's mutex: nil while it waits to be sent
}

// Done is closed when there is a result or an error.
func (f *Future) Done() <-chan struct{} { return f.done }

// Result returns the result. It must not be called before Done is closed.
func (f *Future) Result() (Result, error) { return f.result, f.err }

// fail ends a future. Its caller holds the client's mutex, or is the only one who knows it.
func (f *Future) fail(err error) {
	f.err = err
	close(f.done)
}

// cost is what the operation takes up in a request.
func (f *Future) cost() int { return len(f.op) + opOverhead }
