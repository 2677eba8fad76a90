package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFlagsMakeAComparisonByHand(t *testing.T) {
	s, err := parseSettings([]string{
		"--contestants", "ours,wal", "--sizes", "128,1024", "--outstanding", "1,64", "--seconds", "2",
	})
	require.NoError(t, err)
	require.Equal(t, 2*time.Second, s.times.Measure)
	todo := s.comparisons()
	require.Len(t, todo, 4)
	require.Equal(t, []string{"ours", "wal"}, todo[0].Contestants)
	require.Equal(t, 3, todo[0].Rounds)
	require.Empty(t, s.out, "only the whole comparison writes results by itself")
}

func TestQuickIsShort(t *testing.T) {
	s, err := parseSettings([]string{"--quick"})
	require.NoError(t, err)
	runs := 0
	for _, c := range s.comparisons() {
		runs += (c.Rounds + c.Extra()) * len(c.Contestants)
	}
	each := s.times.WarmUp + s.times.Measure + time.Second // to start and end
	require.Less(t, time.Duration(runs)*each, 2*time.Minute)
}

func TestMistakesInFlagsAreNamed(t *testing.T) {
	for _, c := range []struct{ args, about []string }{
		{[]string{"--contestants", "paper"}, []string{"paper", "etcd"}},
		{[]string{"--sizes", "many"}, []string{"sizes"}},
		{[]string{"--seconds", "-1"}, []string{"times must be positive"}},
		{[]string{"--rounds", "-1"}, []string{"--rounds"}},
		{[]string{"everything"}, []string{"everything"}},
	} {
		_, err := parseSettings(c.args)
		require.Error(t, err, "%v", c.args)
		for _, word := range c.about {
			require.ErrorContains(t, err, word)
		}
	}
	_, err := parseSettings([]string{"--help"})
	require.ErrorIs(t, err, errHelp)
}
