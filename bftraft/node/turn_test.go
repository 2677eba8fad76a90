package node

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

// TestSlowTurnsAreLoggedOnceInAWhile: with what they were spent on, and how many were left out.
func TestSlowTurnsAreLoggedOnceInAWhile(t *testing.T) {
	var out bytes.Buffer
	seconds := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "turns"})
	ts := turns{log: slog.New(slog.NewJSONHandler(&out, nil)), seconds: seconds}
	now := time.Unix(1000, 0)
	turn := func(input, storage, rest time.Duration) {
		began := now
		now = now.Add(input + storage + rest)
		ts.stored = storage
		ts.end(began, began.Add(input), now)
		require.Zero(t, ts.stored)
	}
	line := func() map[string]any {
		var of map[string]any
		require.NoError(t, json.Unmarshal(out.Bytes(), &of))
		out.Reset()
		return of
	}
	turn(20*time.Millisecond, 60*time.Millisecond, 19*time.Millisecond)
	require.Empty(t, out.String())
	turn(20*time.Millisecond, 60*time.Millisecond, 20*time.Millisecond)
	first := line()
	require.Equal(t, "WARN", first["level"])
	require.Equal(t, 20e6, first["input"])
	require.Equal(t, 60e6, first["storage"])
	require.Equal(t, 20e6, first["rest"])
	require.Equal(t, 100e6, first["took"])
	require.Zero(t, first["unsaid"])
	turn(0, time.Second, 0)
	turn(0, 0, time.Second)
	require.Empty(t, out.String())
	now = now.Add(slowTurnEvery)
	turn(0, 0, time.Millisecond)
	require.Empty(t, out.String())
	turn(0, 0, time.Second)
	require.Equal(t, 2.0, line()["unsaid"])
}
