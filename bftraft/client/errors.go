package client

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"tangaroa/bftraft"
	"tangaroa/bftraft/client/judge"
)

// The errors of this package. Compare with errors.Is.
var (
	// ErrConfig is returned when a Config cannot work; the text names the field.
	ErrConfig = errors.New("client configuration is not valid")
	// ErrClosed is returned when the client was closed before the operation was sent.
	ErrClosed = errors.New("client is closed")
	// ErrNotAuthorised is returned when the cluster does not know the client's key: the genesis does
	// not, a change has removed it, or f+1 nodes say so.
	ErrNotAuthorised = errors.New("this key is not enrolled as a client of the cluster")
	// ErrMayOnlyRead is returned when this client's role is to read, or f+1 nodes say so.
	ErrMayOnlyRead = errors.New("this client may only read")
	// ErrMayNotAdminister is returned when what was asked for takes the role admin, which this client
	// does not have.
	ErrMayNotAdminister = errors.New("this client's role is not admin")
	// ErrTooLarge is returned when an operation exceeds a limit of the protocol.
	ErrTooLarge = errors.New("operation is too large")
	// ErrRefused is returned when f+1 nodes refuse a request for what it says. It will not be
	// executed.
	ErrRefused = errors.New("request was refused")
	// ErrQueueFull is returned when too much waits to be sent already.
	ErrQueueFull = errors.New("too many operations are waiting to be sent")
	// ErrNotSent is returned when the caller gave up before the operation was sent to any node: it
	// did not happen.
	ErrNotSent = errors.New("operation was not sent to any node")
	// ErrUnknownOutcome is returned when an operation was sent and not answered by f+1 nodes: it
	// may or may not have happened, or happen later. Sending the same under the same request id is
	// safe. The error in the chain is an *UnknownOutcomeError.
	ErrUnknownOutcome = errors.New("operation may or may not have happened")
	// ErrResultForgotten is returned when f+1 nodes no longer remember the result of a request, or
	// its session: it may or may not have happened.
	ErrResultForgotten = errors.New("result or session is no longer remembered by the cluster")
	// ErrOtherRequest is returned when f+1 nodes say that another request was executed under this
	// request id. This one was not, and will not be.
	ErrOtherRequest = errors.New("another request was executed under this request id")
	// ErrNoQuorum is returned when too few nodes answered a read in time.
	ErrNoQuorum = errors.New("too few nodes answered in time")
	// ErrOutdated is returned, beside why nothing came of it, when no member can be reached that this
	// client knows of, and the cluster has administrators: what has changed since, Config.Changes
	// tells.
	ErrOutdated = errors.New("none of the members that it knows of can be reached: they are down, " +
		"were replaced, or let it in no more")
	// ErrReadUnsettled is returned when a linearizable read found no f+1 equal answers in several
	// tries, because what it reads keeps changing: it should go through the log.
	ErrReadUnsettled = errors.New("what is read keeps changing; read it through the log")
	// ErrNewerConfiguration is returned when the cluster has a newer configuration than the one
	// this client knows, or a receipt names one that the genesis does not prove.
	ErrNewerConfiguration = judge.ErrNewerConfiguration
	// ErrReceipt is returned when a receipt is malformed or proves nothing; the text says why.
	ErrReceipt = judge.ErrReceipt
	// ErrRequestID is returned when a text is no request id.
	ErrRequestID = errors.New(`request id is not of the form "SESSION-SEQUENCE"`)
)

// RequestID names a request among all those of one client key. Both numbers count from 1.
type RequestID struct {
	Session  uint64
	Sequence uint64
}

// String returns the form "SESSION-SEQUENCE".
func (id RequestID) String() string {
	return fmt.Sprintf("%d-%d", id.Session, id.Sequence)
}

// ParseRequestID reads what String wrote.
func ParseRequestID(s string) (RequestID, error) {
	var id RequestID
	session, sequence, ok := strings.Cut(s, "-")
	var err error
	if ok {
		id.Session, err = strconv.ParseUint(session, 10, 64)
	}
	if ok && err == nil {
		id.Sequence, err = strconv.ParseUint(sequence, 10, 64)
	}
	if !ok || err != nil || id.Session == 0 || id.Sequence == 0 || id.String() != s {
		return RequestID{}, fmt.Errorf("%w: %q", ErrRequestID, s)
	}
	return id, nil
}

// UnknownOutcomeError is an ErrUnknownOutcome that names the request.
type UnknownOutcomeError struct {
	ID    RequestID
	Cause error // why nobody waits for the answer any more
}

// Error says that the operation may or may not have happened, and what is safe.
func (e *UnknownOutcomeError) Error() string {
	return fmt.Sprintf("%v: request %v: %v", ErrUnknownOutcome, e.ID, e.Cause)
}

// Is makes the error an ErrUnknownOutcome.
func (e *UnknownOutcomeError) Is(target error) bool { return target == ErrUnknownOutcome }

// Unwrap returns the cause.
func (e *UnknownOutcomeError) Unwrap() error { return e.Cause }

// refused says what it means for a request that f+1 nodes refuse it. What a client may do changes:
// one that may not write now, or not yet as these nodes know, may have had its request executed.
func (f *flight) refused(code bftraft.RefusalCode) error {
	err := refusalError(code)
	if errors.Is(err, ErrNotAuthorised) || errors.Is(err, ErrMayOnlyRead) {
		return f.unknown(err)
	}
	return err
}

// refusalError turns what f+1 nodes say into an error.
func refusalError(code bftraft.RefusalCode) error {
	switch code {
	case bftraft.RefusedClient:
		return ErrNotAuthorised
	case bftraft.RefusedRole:
		return ErrMayOnlyRead
	case bftraft.RefusedExpired:
		return ErrResultForgotten
	}
	return fmt.Errorf("%w: %v", ErrRefused, code)
}
