// Package twins plays all scenarios of a small size with a member that runs twice, after Twins
// (Bano et al., "Twins: BFT Systems Made Robust", 2021): a faulty node is two honest processes
// under one key, so that what it may do wrong comes from honest code alone, and all of it can be
// enumerated.
//
// There are four voters. Voter 1 runs twice, which makes five processes. A scenario has three
// rounds, and each of these a leader, one of four, and a partition of the processes into two
// groups, one of sixteen: 64 choices for a round, 262,144 scenarios. In each round all processes
// enter the next term of its leader, both twins if it is theirs; the leader campaigns, and whoever
// is elected proposes a block of its own. Messages between the groups are lost. Afterwards the
// network is whole again, an honest voter leads, and must commit.
//
// In every scenario no two honest processes may commit different blocks at one place, every commit
// must have a certificate that verifies, locks must not go down but for what A2 allows, and proof
// may name the twins alone.
//
//	make twins            all scenarios
//	make twins PART=2/8   the second eighth of them
package twins
