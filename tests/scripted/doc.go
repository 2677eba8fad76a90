// Package scripted says where each scripted attack of the project's catalogue of faults is played.
// Its test holds the table against the tree: a test that is named here exists.
//
//	SA-01 acks of an old term are counted (Raft Fig. 8)  they commit nothing: N4
//	SA-02 a longer log without certificates              outranks nothing: E4
//	SA-03 one round of acks, then another leader         nothing was committed: N4
//	SA-04 a hidden lock                                  its holder refuses what is below it: E4
//	SA-05 a leader that runs twice, in every partition   nothing forks
//	SA-06 a certificate split over a change of voters    elects and commits by both: J2, J3
//	SA-07 vote, crash before the flush, vote otherwise   no vote leaves before it is durable: E4
//	SA-08 f nodes forget everything after a commit       the commit stays, and they come back
//	SA-09 a leader outside the new voters                hands over: J4
//	SA-10 keys of those who left sign a fork             it is history to nobody: J5
//	SA-11 a poisoned state under a true certificate      no chunk is taken, and its server named: K1
//	SA-12 the same node always stands first              ranks turn: E3
//	SA-13 two nodes see each other through others only   everybody commits: N6
//	SA-14 a leader just fast enough not to be silent     is suspected as slow: E5
//	SA-15 a leader that serves a bare quorum             the others catch up: N6
//	SA-16 a commit that one node alone can prove         it hands the proof on: N6
//	SA-17 a client signs two requests for one place      one is executed, the same everywhere: C1
//	SA-18 all certificates ever, again after a restart   move nobody back: E2
//	SA-19 a leader that was away answers a read          one answer is not believed: C3
//	SA-20 a node's disk and memory are set back          f such nodes change nothing
//	SA-21 quorums of five and six nodes                  share an honest voter: section 1
//	SA-22 refusals as a certificate                      a refusal is no vote: E4
//	SA-23 one signer twice in a certificate              cannot be written down: section 1
package scripted
