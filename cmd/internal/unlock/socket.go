package unlock

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"tangaroa/crypto"
)

// The words of the two sides: a line with the key, and one of these.
const (
	saysRight = "ok\n"
	saysWrong = "wrong\n"
)

// patience is how long one side waits for the other to say its line; a key takes a second to try.
const patience = 30 * time.Second

// wait makes the socket and tries what is brought to it, from one after the other, until one is not
// wrong. Others than our own user and root are sent away.
func (s *Sources) wait(ctx context.Context, path string, try func(key []byte) error) error {
	l, err := listen(ctx, s.Socket)
	if err != nil {
		return fmt.Errorf("wait for unlock key: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer func() {
		if stop() {
			_ = l.Close()
		}
	}()
	fmt.Fprintf(s.Prompt, "%s is locked; waiting for its unlock key at %s\n", path, s.Socket)
	for {
		conn, err := l.AcceptUnix()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("wait for unlock key: %w", err)
		}
		err = serve(conn, try)
		_ = conn.Close()
		if !errors.Is(err, crypto.ErrWrongPassphrase) && !errors.Is(err, errVisitor) {
			return err
		}
	}
}

// listen makes the socket; one that nobody listens at any more is taken away.
func listen(ctx context.Context, path string) (*net.UnixListener, error) {
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
		if conn, err := net.Dial("unix", path); err == nil {
			return nil, errors.Join(fmt.Errorf("another process waits at %s", path), conn.Close())
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l.(*net.UnixListener), nil
}

// errVisitor is returned for one who came without a key.
var errVisitor = errors.New("no key was brought")

func serve(conn *net.UnixConn, try func(key []byte) error) error {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return errVisitor
	}
	if !trusted(conn) {
		return errVisitor
	}
	line, err := bufio.NewReader(io.LimitReader(conn, maxKeyBytes)).ReadBytes('\n')
	if err != nil || len(line) < 2 {
		return errVisitor
	}
	err = try(line[:len(line)-1])
	answer := saysRight
	if errors.Is(err, crypto.ErrWrongPassphrase) {
		answer = saysWrong
	}
	_, _ = io.WriteString(conn, answer) // who has gone does not need to know
	return err
}

// Send brings a key to the node that waits at the socket, and returns ErrRefused if it is wrong.
func Send(ctx context.Context, path string, key []byte) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return fmt.Errorf("bring unlock key: %w", err)
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if err := conn.SetDeadline(time.Now().Add(2 * patience)); err != nil {
		return fmt.Errorf("bring unlock key: %w", err)
	}
	if _, err := conn.Write(append(append([]byte(nil), key...), '\n')); err != nil {
		return fmt.Errorf("bring unlock key: %w", err)
	}
	answer, err := io.ReadAll(io.LimitReader(conn, 16))
	switch {
	case string(answer) == saysRight:
		return nil
	case string(answer) == saysWrong:
		return ErrRefused
	}
	return fmt.Errorf("bring unlock key: the node did not answer: %w", errors.Join(err, io.EOF))
}
