//go:build linux

package processes

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"
)

// action is what a client may do to a register.
type action int

const (
	get action = iota
	put
	cas
)

// call is what a client asked of a key, and answer what it was told. A call whose outcome is
// unknown has an answer that is not known, and returns never: it may take effect at any time, or
// not at all.
type call struct {
	action     action
	key        string
	old, value string
}

type answer struct {
	known bool
	value string // what a get found, or a cas that failed; "" for nothing
	done  bool   // a cas has succeeded
}

// never is when a call with an unknown outcome returns.
const never = math.MaxInt64

// register is the model of one key: it holds one value, "" if none.
var register = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		var parts [][]porcupine.Operation
		place := map[string]int{}
		for _, op := range history {
			key := op.Input.(call).key
			at, ok := place[key]
			if !ok {
				at = len(parts)
				place[key] = at
				parts = append(parts, nil)
			}
			parts[at] = append(parts[at], op)
		}
		return parts
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		return step(state.(string), input.(call), output.(answer))
	},
	DescribeOperation: func(input, output any) string {
		return fmt.Sprintf("%+v -> %+v", input, output)
	},
}

// step says whether a register that holds a value can give the answer, and what it holds then.
func step(held string, in call, out answer) (bool, string) {
	switch in.action {
	case get:
		return !out.known || out.value == held, held
	case put:
		return true, in.value
	}
	if held != in.old {
		return !out.known || !out.done && out.value == held, held
	}
	return !out.known || out.done, in.value
}

// checkEach is how much longer the checker may take for each operation.
const checkEach = 100 * time.Microsecond

// requireLinearizable fails on a history that is not, and on one that is not decided in time.
func requireLinearizable(t *testing.T, history []porcupine.Operation) {
	t.Helper()
	limit := patience + time.Duration(len(history))*checkEach
	verdict := porcupine.CheckOperationsTimeout(register, history, limit)
	require.NotEqual(t, porcupine.Unknown, verdict, "the checker needs more than %v", limit)
	require.Equal(t, porcupine.Ok, verdict, "the history is not linearizable")
}

// at makes an operation of a history.
func at(from, to int64, in call, out answer) porcupine.Operation {
	return porcupine.Operation{Input: in, Output: out, Call: from, Return: to}
}

func TestCheckerTellsHistoriesApart(t *testing.T) {
	found := func(v string) answer { return answer{known: true, value: v} }
	done := answer{known: true, done: true}
	write := func(v string) call { return call{action: put, key: "k", value: v} }
	swap := func(old, v string) call { return call{action: cas, key: "k", old: old, value: v} }
	read := call{action: get, key: "k"}
	ok, illegal := porcupine.Ok, porcupine.Illegal
	for _, c := range []struct {
		name    string
		verdict porcupine.CheckResult
		history []porcupine.Operation
	}{
		{"in turn", ok, []porcupine.Operation{
			at(1, 2, write("a"), done), at(3, 4, read, found("a")),
			at(5, 6, swap("a", "b"), done), at(7, 8, read, found("b"))}},
		{"stale read", illegal, []porcupine.Operation{
			at(1, 2, write("a"), done), at(3, 4, write("b"), done), at(5, 6, read, found("a"))}},
		{"lost write", illegal, []porcupine.Operation{
			at(1, 2, write("a"), done), at(3, 4, read, found(""))}},
		{"value that nobody wrote", illegal, []porcupine.Operation{
			at(1, 2, write("a"), done), at(3, 4, read, found("c"))}},
		{"two swaps of one value", illegal, []porcupine.Operation{
			at(1, 2, write("a"), done), at(3, 6, swap("a", "b"), done),
			at(4, 7, swap("a", "c"), done)}},
		{"swap that failed though it fits", illegal, []porcupine.Operation{
			at(1, 2, write("a"), done), at(3, 4, swap("a", "b"), found("a"))}},
		{"reads go back", illegal, []porcupine.Operation{
			at(1, 2, write("a"), done), at(3, 9, write("b"), done),
			at(4, 5, read, found("b")), at(6, 7, read, found("a"))}},
		{"unknown write seen late", ok, []porcupine.Operation{
			at(1, 2, write("a"), done), at(3, never, write("b"), answer{}),
			at(4, 5, read, found("a")), at(6, 7, read, found("b"))}},
		{"unknown write never seen", ok, []porcupine.Operation{
			at(1, 2, write("a"), done), at(3, never, write("b"), answer{}),
			at(4, 5, read, found("a"))}},
		{"unknown write seen too early", illegal, []porcupine.Operation{
			at(1, 2, read, found("b")), at(3, never, write("b"), answer{})}},
		{"unknown write taken back", illegal, []porcupine.Operation{
			at(1, 2, write("a"), done), at(3, never, write("b"), answer{}),
			at(4, 5, read, found("b")), at(6, 7, read, found("a"))}},
		{"keys are apart", ok, []porcupine.Operation{
			at(1, 2, write("a"), done),
			at(3, 4, call{action: get, key: "other"}, found(""))}},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.verdict,
				porcupine.CheckOperationsTimeout(register, c.history, time.Minute))
		})
	}
}
