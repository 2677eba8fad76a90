package mutants

import (
	_ "embed"
	"fmt"
	"strings"

	"tangaroa/internal/mutant"
)

// medians is written by the simulator: of each mutant that has seeds, how many of them run until it
// is killed, in the middle one of several ranges.
//
//go:embed medians.txt
var medians string

// Medians returns what is recorded.
func Medians() map[mutant.ID]int {
	all := make(map[mutant.ID]int)
	for line := range strings.Lines(medians) {
		var id mutant.ID
		var n int
		if _, err := fmt.Sscan(line, &id, &n); err == nil {
			all[id] = n
		}
	}
	return all
}

// MediansText returns the record of the given medians, in the order of the table.
func MediansText(all map[mutant.ID]int) string {
	var b strings.Builder
	for _, m := range table {
		if n := all[m.ID]; n > 0 && m.Seeds > 0 {
			fmt.Fprintln(&b, m.ID, n)
		}
	}
	return b.String()
}
