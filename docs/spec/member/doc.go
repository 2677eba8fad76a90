// Command member explores membership change (rules J1-J3) on top of the core's rules for acks,
// locks, commits and elections, with one faulty voter that is in every configuration and signs
// anything.
//
// What it abstracts, in each case towards more behaviours:
//   - Terms are run one after the other, as in ../check (communication-closed rounds).
//   - The faulty voter B has no state: it is in the quorum of whoever wants it. It can be elected
//     whenever an honest node could, so leaders have no names: a base for which a quorum votes may
//     be led from, by any block, also by several leaders in a term (one vote a term is not used).
//   - Logs are not kept: what a node has neither acked in this term nor locked, it can lose or
//     fetch at any time.
//   - An ack of a position counts as an ack of every prefix of it down to the base.
//   - A lock of the current term is taken and said in one step; a lock of an earlier term can be
//     taken (fetched) by anybody who has not acked yet. So "locked, but never said" appears in the
//     term after.
//
// Positions are the nodes of a small tree, given as paths of letters: J is C_old,new; K is C_new,
// which ends the change; R is C_old again, the roll-back; D is a direct change to C_new (mutants
// j5...); small letters are ordinary entries.
package main
