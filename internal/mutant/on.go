//go:build mutant

package mutant

import "os"

// Variable is the environment variable that names the mutant which is active from the start.
const Variable = "TANGAROA_MUTANT"

// active is set between the runs of a test, which has one world at a time.
var active = ID(os.Getenv(Variable))

// On says whether a mutant is active.
func On(id ID) bool { return active == id }

// Set makes one mutant active, or none.
func Set(id ID) { active = id }
