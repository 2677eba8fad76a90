package contestant

import (
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// countingStream is the TCP of hashicorp/raft, as its own transport uses it, with counters. What
// raft flushes at once, it writes at once, so a write is a message.
type countingStream struct {
	net.Listener
	messages, bytes atomic.Uint64
}

func listenCounting() (*countingStream, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return &countingStream{Listener: l}, nil
}

// Dial implements raft.StreamLayer.
func (s *countingStream) Dial(to raft.ServerAddress, limit time.Duration) (net.Conn, error) {
	c, err := net.DialTimeout("tcp", string(to), limit)
	if err != nil {
		return nil, err
	}
	return &countingConn{c, s}, nil
}

// Accept implements net.Listener.
func (s *countingStream) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &countingConn{c, s}, nil
}

type countingConn struct {
	net.Conn
	stream *countingStream
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.stream.messages.Add(1)
	c.stream.bytes.Add(uint64(len(p)))
	return c.Conn.Write(p)
}
