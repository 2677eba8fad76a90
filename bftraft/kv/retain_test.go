package kv

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRetainedRevisionsStayAndOlderOnesGo(t *testing.T) {
	const retain = 8
	m := NewRetaining(retain)
	put := func(m *Machine, k int) {
		op, err := EncodeOp(Put{Key: fmt.Append(nil, "key", k%3), Value: fmt.Append(nil, k)})
		require.NoError(t, err)
		m.Apply(0, op)
	}
	for k := 1; k <= 100; k++ {
		put(m, k)
		kept := uint64(m.Revision() - m.Compacted())
		require.LessOrEqual(t, kept, uint64(retain+retain/4))
		require.GreaterOrEqual(t, kept, uint64(min(k, retain)))
	}
	// A replica that starts from a snapshot goes on as one that has seen it all.
	var image bytes.Buffer
	require.NoError(t, m.Snapshot(&image))
	restored := NewRetaining(retain)
	require.NoError(t, restored.Restore(&image))
	for k := 101; k <= 150; k++ {
		put(m, k)
		put(restored, k)
		require.Equal(t, m.Compacted(), restored.Compacted())
		require.Equal(t, m.Digest(), restored.Digest())
	}
	all := NewRetaining(0)
	for k := 1; k <= 100; k++ {
		put(all, k)
	}
	require.Zero(t, all.Compacted())
}
