package chaos

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"tangaroa/crypto"
)

const patience = 20 * time.Second

// line is a connection of node 1 to node 2 through a net.
type line struct {
	*Net
	one, two net.Conn
}

var there, back = Route{1, 2}, Route{2, 1}

func newLine(t *testing.T) line {
	t.Helper()
	t.Cleanup(func() { goleak.VerifyNone(t) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	n, err := NewNet(map[crypto.NodeID]string{1: "127.0.0.1:1", 2: l.Addr().String()}, 1)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	one, err := net.Dial("tcp", n.Address(there))
	require.NoError(t, err)
	two, err := l.Accept()
	require.NoError(t, err)
	require.NoError(t, l.Close())
	t.Cleanup(func() { _, _ = one.Close(), two.Close() })
	for _, c := range []net.Conn{one, two} {
		require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	}
	return line{n, one, two}
}

// send sends bytes from one end to the other and returns what arrives.
func send(t *testing.T, from, to net.Conn, sent []byte) []byte {
	t.Helper()
	_, err := from.Write(sent)
	require.NoError(t, err)
	got := make([]byte, len(sent))
	_, err = io.ReadFull(to, got)
	require.NoError(t, err)
	return got
}

func TestGoodWeatherCarriesEverythingUnaltered(t *testing.T) {
	l := newLine(t)
	sent := bytes.Repeat([]byte("every byte in its place "), 10000)
	require.Equal(t, sent, send(t, l.one, l.two, sent))
	require.Equal(t, sent, send(t, l.two, l.one, sent))
	c := l.Counts()
	require.Equal(t, Counts{Connections: 1, Bytes: 2 * len(sent)}, c)
}

func TestLatencyLossAndSlicesDelayAndLoseNothing(t *testing.T) {
	l := newLine(t)
	const latency, hold = 30 * time.Millisecond, 50 * time.Millisecond
	l.Set(there, Weather{
		Latency: latency, Jitter: time.Millisecond, Loss: 1, Hold: hold, Slice: 3,
	})
	sent := bytes.Repeat([]byte("in order "), 1000)
	began := time.Now()
	require.Equal(t, sent, send(t, l.one, l.two, sent))
	require.GreaterOrEqual(t, time.Since(began), latency+hold)
	c := l.Counts()
	require.NotZero(t, c.Delayed)
	require.NotZero(t, c.Lost)
	require.NotZero(t, c.Sliced)
}

func TestStallHoldsOneDirectionUntilHealed(t *testing.T) {
	l := newLine(t)
	l.Set(there, Weather{Stall: true})
	_, err := l.one.Write([]byte("held"))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return l.Counts().Stalled == 1 }, patience,
		time.Millisecond)
	require.Equal(t, "passes", string(send(t, l.two, l.one, []byte("passes"))))
	require.Equal(t, len("passes"), l.Counts().Bytes)
	l.Heal()
	got := make([]byte, 4)
	_, err = io.ReadFull(l.two, got)
	require.NoError(t, err)
	require.Equal(t, "held", string(got))
}

func TestCorruptFlipsOneBit(t *testing.T) {
	l := newLine(t)
	l.Corrupt(there)
	sent := []byte("one bit of this")
	got := send(t, l.one, l.two, sent)
	differ := 0
	for i := range sent {
		if x := sent[i] ^ got[i]; x != 0 {
			require.Zero(t, x&(x-1), "more than one bit")
			differ++
		}
	}
	require.Equal(t, 1, differ)
	require.Equal(t, sent, send(t, l.one, l.two, sent), "only once")
	require.Equal(t, 1, l.Counts().Survived, "nobody has minded")
	require.NoError(t, l.two.Close())
	require.Eventually(t, func() bool { return l.Counts().Survived == 0 }, patience,
		time.Millisecond)
}

func TestCutAndRefuseEndConnections(t *testing.T) {
	l := newLine(t)
	send(t, l.one, l.two, []byte("x")) // before that the line may know its far end only
	l.Set(back, Weather{Refuse: true})
	l.Cut(back)
	_, err := l.two.Read(make([]byte, 1))
	require.Error(t, err)
	again, err := net.Dial("tcp", l.Address(there))
	require.NoError(t, err)
	defer again.Close()
	require.NoError(t, again.SetDeadline(time.Now().Add(patience)))
	_, err = again.Read(make([]byte, 1))
	require.Error(t, err)
	c := l.Counts()
	require.Equal(t, 1, c.Cut)
	require.Equal(t, 1, c.Refused)
}

func TestPlanIsDecidedByItsSeedAndLeavesNoKindOut(t *testing.T) {
	require.Equal(t, NewPlan(7, 4, time.Minute), NewPlan(7, 4, time.Minute))
	require.NotEqual(t, NewPlan(7, 4, time.Minute), NewPlan(8, 4, time.Minute))
	for seed := range uint64(100) {
		p := NewPlan(seed, 4, time.Minute)
		seen, sum := map[Kind]int{}, time.Duration(0)
		for _, r := range p.Rounds {
			seen[r.Net]++
			seen[r.Process]++
			sum += r.Hold + r.Rest
			if r.Process == Kill || r.Process == Freeze {
				require.NotEqual(t, p.Faulty, r.Victim)
			}
			if r.Process == Twin {
				require.NotEqual(t, p.Faulty, r.At)
			}
			if r.Process == Liar || r.Process == Twin {
				require.Equal(t, p.Faulty, r.Victim)
			}
		}
		for _, kind := range append(append([]Kind{}, NetKinds...), ProcessKinds...) {
			require.NotZero(t, seen[kind], "seed %d has no %s", seed, kind)
		}
		require.Less(t, sum, time.Minute+8*time.Second)
		require.Less(t, p.first(Twin), p.first(Liar), "seed %d", seed)
	}
}
