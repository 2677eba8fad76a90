package mutants

import (
	"fmt"
	"slices"
	"strings"

	"tangaroa/internal/mutant"
)

// Mutant is a row of the table.
type Mutant struct {
	ID     mutant.ID
	Rules  []string // the rules it takes away, as docs/PROTOCOL.md names them
	Breaks string   // what is broken
	// Package and Test name the test that must fail, and Cause, if set, what it must say; unless
	// it names a panic, a panic will not do.
	Package, Test, Cause string
	// Invariants are those of the simulator that may notice. Seeds is how many runs by chance that
	// may take, Attack the one under which it is noticed at once, of one member of four, or several
	// at once with a plus between them, and Schedule says that a run is kept in which it is. A
	// mutant that needs more to come together has none of these, and so have those of parts that
	// the simulator has no use for.
	Invariants []string
	Seeds      int
	Attack     string
	// Pace is an attack that holds the cluster under half its pace.
	Pace string
	// Keys says that under attack signatures are real; else they are those of a fake scheme.
	Keys     bool
	Schedule bool
}

// Table returns all mutants.
func Table() []Mutant { return table }

// Of returns the row of one mutant.
func Of(id mutant.ID) (Mutant, bool) {
	for _, m := range table {
		if m.ID == id {
			return m, true
		}
	}
	return Mutant{}, false
}

// text returns the tables of docs/TESTING.md.
func text() string {
	var b strings.Builder
	noticed := names(func(m Mutant) bool { return len(m.Invariants) > 0 })
	fmt.Fprintf(&b, "%d mutants, of which the simulator notices %d.\n\n", len(table),
		len(strings.Fields(noticed)))
	b.WriteString("| id | what is broken | rule | test that kills it | in | " +
		"invariants of the simulator | within | median |\n|---|---|---|---|---|---|---|---|\n")
	recorded := Medians()
	for _, m := range table {
		median := ""
		if n := recorded[m.ID]; n > 0 {
			median = fmt.Sprint(n)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | `%s` | `%s` | %s | %s | %s |\n", m.ID, m.Breaks,
			strings.Join(m.Rules, ", "), m.Test, m.Package, strings.Join(m.Invariants, " "), m.world(),
			median)
	}
	b.WriteString("\n| invariant | kills | test with more than f liars |\n|---|---|---|\n")
	for _, id := range invariants() {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", id, names(func(m Mutant) bool {
			return slices.Contains(m.Invariants, id)
		}), controls[id])
	}
	b.WriteString("\n| rule | mutants |\n|---|---|\n")
	for _, rule := range rules() {
		who := names(func(m Mutant) bool { return slices.Contains(m.Rules, rule) })
		if who == "" {
			who = "none: " + without[rule]
		}
		fmt.Fprintf(&b, "| %s | %s |\n", rule, who)
	}
	return b.String()
}

// world says where the simulator notices m.
func (m *Mutant) world() string {
	var where []string
	if m.Seeds > 0 {
		where = append(where, fmt.Sprint(m.Seeds, " seeds"))
	}
	if m.Attack != "" {
		attack := "`" + m.Attack + "`"
		if m.Keys {
			attack += " with real keys"
		}
		where = append(where, attack)
	}
	if m.Pace != "" {
		where = append(where, "pace under `"+m.Pace+"`")
	}
	if m.Schedule {
		where = append(where, "a schedule")
	}
	return strings.Join(where, ", ")
}

// controls are the tests of the simulator in which invariants are broken by more than f liars. By
// the arithmetic of quorums the first two cannot be broken before B3 or B8 is.
var controls = map[string]string{
	"B1": "`TestTwoLiarsOfFourBreakAgreement`",
	"B2": "`TestTwoLiarsOfFourBreakAgreement`",
	"L5": "`TestClusterThatDoesNotComeBackIsSeen`",
	"S1": "`TestTwoVotersForAllMakeTwoLeadersPossible`",
}

// names lists the mutants that fit.
func names(fits func(Mutant) bool) string {
	var ids []string
	for _, m := range table {
		if fits(m) {
			ids = append(ids, string(m.ID))
		}
	}
	return strings.Join(ids, " ")
}

// invariants returns those that kill something, in order.
func invariants() []string {
	var all []string
	for _, m := range table {
		all = append(all, m.Invariants...)
	}
	for id := range controls {
		all = append(all, id)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// rules returns those that the table or the list of exceptions names, in order.
func rules() []string {
	var all []string
	for _, m := range table {
		all = append(all, m.Rules...)
	}
	for rule := range without {
		all = append(all, rule)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
