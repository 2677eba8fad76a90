package replica

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft/kv"
)

// laborer is a state machine each of whose operations is as much work as it says.
type laborer struct {
	tape
	work uint64
}

func (m *laborer) Apply(index uint64, op []byte) []byte {
	var work uint64
	if _, err := fmt.Sscan(string(op), &work); err != nil {
		panic(err)
	}
	m.work += work
	return m.tape.Apply(index, op)
}

func (m *laborer) Work() uint64        { return m.work }
func (m *laborer) TooMuchWork() []byte { return []byte("too much") }

func TestC1WorkOfARequestIsBounded(t *testing.T) {
	half, all := fmt.Sprint(MaxRequestWork/2), fmt.Sprint(MaxRequestWork)
	for _, c := range []struct {
		ops      []string
		executed int
	}{
		{[]string{all, "1", "0"}, 1},
		{[]string{half, half, "1", half}, 2},
		{[]string{half, fmt.Sprint(MaxRequestWork/2 - 1), all, "1"}, 3},
		{[]string{"0", "0", "1"}, 3},
	} {
		a := newAlone(t)
		m := &laborer{work: 77}
		a.r.cfg.Machine = m
		frames := a.submit(a.request(1, 1, c.ops...), a.request(1, 2, "5"))
		require.Len(t, frames, 2)
		results := a.reply(frames[0]).Results
		require.Len(t, results, len(c.ops))
		for i, res := range results {
			require.Equal(t, i >= c.executed, string(res) == "too much", "%v: operation %d", c.ops, i)
		}
		require.Equal(t, append(c.ops[:c.executed:c.executed], "5"), m.lines,
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
