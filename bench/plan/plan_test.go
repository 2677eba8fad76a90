package plan

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/adversary"
	"tangaroa/bench/contestant"
)

func everybody() []string {
	var names []string
	for _, c := range contestant.All() {
		names = append(names, c.Name)
	}
	return names
}

func TestOnlyWhoCanTakesPart(t *testing.T) {
	three := Workload{Nodes: 3, ValueBytes: 128, Outstanding: 1}.Among(everybody(), 1)
	require.NotContains(t, three.Contestants, "ours", "three nodes bear no liar")
	require.Contains(t, three.Contestants, "etcd")
	lied := Workload{Nodes: 4, ValueBytes: 128, Outstanding: 1, Adversary: "silent"}
	require.Equal(t, []string{"ours", "single"}, lied.Among(everybody(), 1).Contestants)
}

func TestFullPlanHasWhatWeSetOutToReach(t *testing.T) {
	has := map[Workload]Comparison{}
	lies := map[string]bool{}
	for _, c := range Full(everybody(), 3) {
		require.NotContains(t, has, c.Workload, "a workload is measured once")
		has[c.Workload] = c
		lies[c.Workload.Adversary] = true
	}
	for _, w := range []Workload{
		{Nodes: 4, ValueBytes: 128, Outstanding: 1},
		{Nodes: 4, ValueBytes: 128, Outstanding: 64},
		{Nodes: 4, ValueBytes: 128, Outstanding: 1024},
		{Nodes: 4, ValueBytes: 1024, Outstanding: 1024},
		{Nodes: 4, ValueBytes: 128, Outstanding: 1024, Reads: 1},
		{Nodes: 4, ValueBytes: 128, Outstanding: 1024, Reads: 0.9},
		{Nodes: 4, ValueBytes: 128, Outstanding: 1024, Dead: 1},
		{Nodes: 4, ValueBytes: 128, Outstanding: 64, KillLeader: true},
		{Nodes: 7, ValueBytes: 128, Outstanding: 1024},
		{Nodes: 10, ValueBytes: 128, Outstanding: 1024},
	} {
		require.Equal(t, everybody(), has[w].Contestants, "%s", w)
		require.Equal(t, 3, has[w].Rounds)
	}
	for _, name := range adversary.Names() {
		require.True(t, lies[name], name)
	}
}

func TestRunsInWhichTheLeaderDiesAreLongEnough(t *testing.T) {
	times := Times{Measure: time.Second, Keys: 1}
	w := Workload{Nodes: 4, ValueBytes: 128, Outstanding: 1}
	calm := w.Job("ours", times)
	require.Equal(t, time.Second, calm.Workload.Measure)
	w.KillLeader = true
	killed := w.Job("ours", times)
	require.Greater(t, killed.Workload.Measure, 3*time.Second)
	require.NoError(t, killed.Workload.Validate())
}
