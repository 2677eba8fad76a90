// Package attack shows what the three faults of the mission cost: a member that is leaky, one that
// is disruptive, and a bad boss, in plain Raft and in ours. Its one job is to count what is lost:
// speed, acknowledged writes, agreement, secrets.
//
// # Contract
//
// Each writer has a key of its own and writes ever higher numbers. What was acknowledged last must
// be there in the end, at every honest node, or something later by the same writer. What is there
// is read from the honest nodes themselves, since the leader may be the liar.
package attack
