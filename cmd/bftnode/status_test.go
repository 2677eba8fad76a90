package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft/node"
)

// TestStatusShowsHowFarAStateHasCome: to people as a bar, with who serves it and who served poison,
// and in JSON by the names of its fields.
func TestStatusShowsHowFarAStateHasCome(t *testing.T) {
	bar := func(full int) string {
		return "[" + strings.Repeat("#", full) + strings.Repeat(".", 24-full) + "]"
	}
	for _, test := range []struct {
		name     string
		fetching *node.Fetching
		line     string // "" for none
		json     string
	}{
		{"nothing", nil, "", ""},
		{"looking", &node.Fetching{From: []int{}, Poisoned: []int{}}, "looking for a state",
			`{"checkpoint":0,"chunks_done":0,"chunks":0,"chunks_kept":0,"from":[],"poisoned":[]}`},
		{"begun", &node.Fetching{Checkpoint: 40, Chunks: 6, From: []int{2}, Poisoned: []int{}},
			bar(0) + " 0 of 6 chunks of the state at 40 from nodes [2]",
			`{"checkpoint":40,"chunks_done":0,"chunks":6,"chunks_kept":0,"from":[2],"poisoned":[]}`},
		{"kept", &node.Fetching{Checkpoint: 40, Done: 3, Chunks: 6, Kept: 2, From: []int{2, 4},
			Poisoned: []int{}},
			bar(12) + " 3 of 6 chunks of the state at 40 from nodes [2 4]; " +
				"2 were here before it was started",
			`{"checkpoint":40,"chunks_done":3,"chunks":6,"chunks_kept":2,"from":[2,4],"poisoned":[]}`},
		{"poisoned", &node.Fetching{Checkpoint: 40, Done: 5, Chunks: 6, From: []int{2},
			Poisoned: []int{3, 4}},
			bar(20) + " 5 of 6 chunks of the state at 40 from nodes [2]; served poison: [3 4]",
			`{"checkpoint":40,"chunks_done":5,"chunks":6,"chunks_kept":0,"from":[2],"poisoned":[3,4]}`},
		{"whole", &node.Fetching{Checkpoint: 40, Done: 6, Chunks: 6, From: []int{2},
			Poisoned: []int{}},
			bar(24) + " 6 of 6 chunks of the state at 40 from nodes [2]",
			`{"checkpoint":40,"chunks_done":6,"chunks":6,"chunks_kept":0,"from":[2],"poisoned":[]}`},
	} {
		t.Run(test.name, func(t *testing.T) { showsFetching(t, test.fetching, test.line, test.json) })
	}
}

// showsFetching has a server tell the status, and requires what the command makes of it.
func showsFetching(t *testing.T, fetching *node.Fetching, line, want string) {
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	text, err := json.Marshal(&node.Status{Node: 1, Fetching: fetching})
	require.NoError(t, err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(text)
	}))
	t.Cleanup(server.Close)
	address := strings.TrimPrefix(server.URL, "http://")
	out := mustRun(t, "status", "--http", address)
	if line == "" {
		require.NotContains(t, out, "fetching")
	} else {
		require.Regexp(t, `(?m)^fetching +[^ ]`, out)
		require.Contains(t, out, line+"\n")
	}
	var got map[string]json.RawMessage
	out = mustRun(t, "status", "--http", address, "-o", "json")
	require.NoError(t, json.Unmarshal([]byte(out), &got))
	var compact bytes.Buffer
	if raw, some := got["fetching"]; some {
		require.NoError(t, json.Compact(&compact, raw))
	}
	require.Equal(t, want, compact.String())
}
