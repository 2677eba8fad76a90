package replica

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft/kv"
)

func TestC1WorkOfARequestIsBounded(t *testing.T) {
	const half, all = MaxRequestWork / 2, MaxRequestWork
	for _, c := range []struct {
		work     []uint64
		executed int
	}{
		{[]uint64{all, 1, 0}, 1},
		{[]uint64{half, half, 1, half}, 2},
		{[]uint64{half, half - 1, all, 1}, 3},
		{[]uint64{0, 0, 1}, 3},
	} {
		a := newAlone(t)
		m := &laborious{work: 77}
		a.r.cfg.Machine = m
		var ops []string
		for _, work := range c.work {
			ops = append(ops, string(binary.BigEndian.AppendUint64(nil, work)))
		}
		frames := a.submit(a.request(1, 1, ops...), a.request(1, 2, ops[0]))
		require.Len(t, frames, 2)
		results := a.reply(frames[0]).Results
		require.Len(t, results, len(ops))
		for i, res := range results {
			require.Equal(t, i >= c.executed, string(res) == "too much", "%v: operation %d", c.work, i)
		}
		require.Equal(t, append(ops[:c.executed:c.executed], ops[0]), m.lines,
			"the next request has a budget of its own")
	}
}

func TestC1OperationsThatAreTooMuchWorkAreToldSo(t *testing.T) {
	a := newAlone(t)
	m := kv.New()
	a.r.cfg.Machine = m
	const keys = 1024
	put := make([]string, keys)
	for i := range put {
		put[i] = encoded(t, kv.Put{Key: fmt.Append(nil, "k", i), Value: []byte("v")})
	}
	a.submit(a.request(1, 1, put...))
	count := make([]string, MaxRequestWork/keys+2)
	for i := range count {
		count[i] = encoded(t, kv.Range{Span: kv.Prefix([]byte("k")), CountOnly: true})
	}
	results := a.reply(a.submit(a.request(1, 2, count...))[0]).Results
	for i, raw := range results {
		res, err := kv.DecodeResult(raw)
		require.NoError(t, err)
		if i < MaxRequestWork/keys {
			require.Equal(t, uint64(keys), res.Ops[0].Count)
		} else {
			require.ErrorIs(t, res.Code.Err(), kv.ErrTooMuchWork)
		}
	}
}

func encoded(t *testing.T, op kv.Op) string {
	b, err := kv.EncodeOp(op)
	require.NoError(t, err)
	return string(b)
}
