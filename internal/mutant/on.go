//go:build mutant

package mutant

import "os"

// Variable is the environment variable that names the mutant that is active.
const Variable = "TANGAROA_MUTANT"

var active = ID(os.Getenv(Variable))

// On says whether a mutant is active.
func On(id ID) bool { return active == id }
