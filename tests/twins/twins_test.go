package twins

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	part  = flag.String("part", "", "play part K/N of all scenarios")
	slice = flag.Int("every", 13, "play every N-th scenario, unless there is a part")
	one   = flag.Int("scenario", -1, "play this scenario alone")
)

// choices are the leaders and partitions of a round: process 0 is always in group 0.
const (
	partitions = 16
	choices    = voters * partitions
	scenarios  = choices * choices * choices
)

// choose returns the leaders and partitions of a scenario.
func choose(k, processes int) (leaders, groups []int) {
	split := 1 << (processes - 1)
	for range rounds {
		leaders = append(leaders, k%voters)
		groups = append(groups, k/voters%split<<1)
		k /= voters * split
	}
	return leaders, groups
}

// playAll plays scenarios first, first+step, … below limit with the given twins on all processors,
// and returns what was seen and the first failure.
func playAll(t *testing.T, twins, first, step, limit int) (total seen, failed error) {
	workers := runtime.GOMAXPROCS(0)
	var mu sync.Mutex
	var all sync.WaitGroup
	played := 0
	for w := range workers {
		all.Go(func() {
			s := newStage(twins)
			for k := first + w*step; k < limit; k += workers * step {
				c := s.open()
				err := c.play(choose(k, len(s.ids)))
				mu.Lock()
				if err != nil && failed == nil {
					failed = fmt.Errorf("scenario %d: %w", k, err)
				}
				total.add(&c.seen)
				if played++; played%20_000 == 0 {
					fmt.Fprintf(os.Stderr, "%d of %d scenarios\n", played, (limit-first+step-1)/step)
				}
				stop := failed != nil
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d scenarios: %+v", played, total)
	return total, failed
}

func (s *seen) add(other *seen) {
	for i, n := range other.Commits {
		s.Commits[i] += n
	}
	s.BothLed += other.BothLed
	s.Convicted += other.Convicted
}

// TestTwinsBreakNothing is the exhaustive run, or a slice of it.
func TestTwinsBreakNothing(t *testing.T) {
	first, step, limit := 0, *slice, scenarios
	if *part != "" {
		var k, n int
		_, err := fmt.Sscanf(*part, "%d/%d", &k, &n)
		require.NoError(t, err, "-part is K/N")
		require.True(t, 1 <= k && k <= n, "-part is K/N, from 1/N to N/N")
		first, step, limit = scenarios*(k-1)/n, 1, scenarios*k/n
	}
	if *one >= 0 {
		first, step, limit = *one, 1, *one+1
	}
	total, err := playAll(t, 1, first, step, limit)
	require.NoError(t, err)
	if *one >= 0 {
		return
	}
	// A scenario in which nothing happens shows nothing.
	for round, n := range total.Commits {
		require.Positive(t, n, "nothing was committed in round %d", round+1)
	}
	require.Positive(t, total.BothLed, "no two leaders proposed in one round")
	require.Positive(t, total.Convicted, "no twin was found out")
}

// TestTwoTwinsOfFourBreakAgreement is the control: with f+1 voters that run twice two honest ones
// must commit different blocks in some scenario, and it must be seen.
func TestTwoTwinsOfFourBreakAgreement(t *testing.T) {
	all := choices * 2
	_, err := playAll(t, 2, 0, 1, all*all)
	require.ErrorContains(t, err, "S1")
}
