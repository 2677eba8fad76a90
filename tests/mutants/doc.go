// Package mutants says what each mutant of internal/mutant breaks and what must notice. A mutant is
// killed by the test of the rule that it takes away, in the package that keeps the rule, and some
// also by the simulator, which must notice by the right invariant without being told where to look.
//
//	make mutants   all of it
//
// docs/TESTING.md has the table in readable form. To write it anew:
//
//	go test ./tests/mutants -args -rewrite
package mutants
