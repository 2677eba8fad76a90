//go:build mutant

package mutant

// active is set between the runs of a test, which has one world at a time.
var active ID

// On says whether a mutant is active.
func On(id ID) bool { return active == id }

// Set makes one mutant active, or none.
func Set(id ID) { active = id }
