package cli

import (
	"errors"
	"fmt"
)

// Code is the exit code of a command.
type Code int

// The exit codes of both tools. They are part of the interface: scripts rely on them.
const (
	OK            Code = 0  // what was asked for was done
	Failed        Code = 1  // what was asked for failed, and no other code fits
	Usage         Code = 2  // the command line or a settings file is wrong
	NotFound      Code = 3  // the key does not exist
	NotMet        Code = 4  // the condition of a compare was not met
	NoQuorum      Code = 5  // no quorum answered in time
	BadProof      Code = 6  // a proof does not verify
	NotAuthorised Code = 7  // the cluster does not know or accept this key
	MustNotSign   Code = 8  // bftnode: what is on disk does not allow this node to sign
	InUse         Code = 9  // bftnode: the data directory belongs to another process
	Locked        Code = 10 // bftnode: an unlock key or master key is missing or wrong
	TakenOut      Code = 11 // bftnode: a change has taken this node out of the cluster for good
	NotReady      Code = 12 // bftclient: too few of the nodes that would vote are ready to
)

// coded is an error that knows its exit code.
type coded struct {
	code Code
	err  error
}

func (e *coded) Error() string { return e.err.Error() }
func (e *coded) Unwrap() error { return e.err }

// WithCode gives an error an exit code. It returns nil for nil.
func WithCode(code Code, err error) error {
	if err == nil {
		return nil
	}
	return &coded{code: code, err: err}
}

// Errorf is fmt.Errorf with an exit code.
func Errorf(code Code, format string, args ...any) error {
	return &coded{code: code, err: fmt.Errorf(format, args...)}
}

// CodeOf returns the exit code of an error: that of the outermost WithCode around it, Failed for
// any other error, OK for nil.
func CodeOf(err error) Code {
	var c *coded
	switch {
	case err == nil:
		return OK
	case errors.As(err, &c):
		return c.code
	}
	return Failed
}
