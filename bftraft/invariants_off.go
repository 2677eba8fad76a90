//go:build !invariants

package bftraft

// assertInvariants does nothing in this build.
func (c *Core) assertInvariants() {}
