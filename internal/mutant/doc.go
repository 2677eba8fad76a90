// Package mutant breaks the protocol on purpose, one rule at a time, so that the checks can be
// seen to fail. It does so only in builds with the tag "mutant"; otherwise On is a constant false
// and the compiler leaves the broken code out. Package tests/mutants says what each one must be
// caught by.
//
// # Contract
//
// At most one mutant is active in a process.
package mutant

// ID names a mutant. The numbers are those of docs/TESTING.md and never change.
type ID string

// None is the unbroken protocol.
const None ID = ""

// The mutants: what is broken, and the rule it takes away.
const (
	M01  ID = "M01"  // 2f signers make a quorum (section 1)
	M02  ID = "M02"  // f+1 signers make a quorum (section 1)
	M04  ID = "M04"  // signers that are no voters count (section 1)
	M05  ID = "M05"  // a refusal of a candidate with a lower lock counts as a vote (E4)
	M06a ID = "M06a" // an ack does not name its term (N2)
	M06b ID = "M06b" // an ack does not name its index (N2)
	M06c ID = "M06c" // an ack does not name its hash (N2)
	M07  ID = "M07"  // what is signed does not say what kind of statement it is (section 2)
	M07b ID = "M07b" // a vote does not name its candidate (E4)
	M08  ID = "M08"  // an ack does not name its cluster (section 2)
	M09  ID = "M09"  // 2f+1 signers make a quorum, whatever the number of voters (section 1)
	M09b ID = "M09b" // the first signature of a certificate is not checked (section 1)
	M10  ID = "M10"  // commit after one round of acks (N4)
	M11  ID = "M11"  // a chain without the base of the election is acked (A2)
	M12  ID = "M12"  // the longer log wins the vote, whatever its term (E4)
	M13  ID = "M13"  // a vote is sent before it is durable (section 1)
	M14  ID = "M14"  // an ack is sent before it is durable (N2)
	M15  ID = "M15"  // the guard is not written (section 1)
	M16  ID = "M16"  // the vote is forgotten in a crash (E4)
	M17  ID = "M17"  // proposals of others than the leader are taken (A1)
	M18  ID = "M18"  // blocks need not follow each other (B1)
	M19  ID = "M19"  // acks of earlier terms count (N3)
	M24  ID = "M24"  // what is acked, certified or committed may be replaced (A4, A5)
	M27  ID = "M27"  // after a crash all of the log is taken for committed (N4)
	M28  ID = "M28"  // after a crash what was committed is not executed again (C1)
	M29  ID = "M29"  // the lock is forgotten in a crash (N3)
	M30  ID = "M30"  // a client believes one reply (C2)
	M31  ID = "M31"  // a client takes the reply to another request for its own (C2)
	M32  ID = "M32"  // a request is executed as often as it is ordered (C1)
	M33  ID = "M33"  // clients' signatures in blocks are not checked (A6)
	M34  ID = "M34"  // a read believes the first answer (C3)
	M40  ID = "M40"  // a leader that orders nothing is not suspected (E1b, E5)
	M41  ID = "M41"  // only one client's requests have a timer (E5)
	M42  ID = "M42"  // candidates are voted for before their window (E3)
	M43  ID = "M43"  // a node enters a higher term because it hears of it (E2)
	M44  ID = "M44"  // timeouts do not grow (E6)
	M45  ID = "M45"  // one suspicion makes the others join (E1d)
	M47  ID = "M47"  // nobody hands out what is committed (A3, N6)
	M48  ID = "M48"  // the order of candidates does not turn with the term (E3)
	M50  ID = "M50"  // what is fetched aside is not bounded (A3)
	M51  ID = "M51"  // a frame may have any size (section 2)
	M52  ID = "M52"  // requests that wait in vain are kept (E5)
	M53  ID = "M53"  // evidence of one voter is kept again and again (A4)
	M60  ID = "M60"  // an error of the disk is ignored (section 1)
	M61  ID = "M61"  // a missing store is made anew (section 1)
	M63  ID = "M63"  // a damaged block is taken for one that is not there (section 1)
	M64  ID = "M64"  // the guard is not compared (section 1)
	M65  ID = "M65"  // both slots of the guard are written at once (section 1)
	M70  ID = "M70"  // q-1 signers make a certificate (section 1)
	M71  ID = "M71"  // a suspicion does not name its term (E1)
	M72  ID = "M72"  // blocks with invalid entries are acked (A6)
	M73  ID = "M73"  // a node that left a chain it acked goes on acking (K1)
	M74  ID = "M74"  // two acks on conflicting chains are not noticed (A4)
	M75  ID = "M75"  // a resignation is ignored (E1e)
	M76  ID = "M76"  // f+1 suspicions end a term (E2)
	M77  ID = "M77"  // a leader proven faulty is not suspected (E1c)
	M78  ID = "M78"  // a silent leader is not suspected (E1a)
	M79  ID = "M79"  // nothing is repaired (N6)
	M80  ID = "M80"  // a certificate that contradicts a commit is believed (A5)
	M81  ID = "M81"  // a second candidate gets a vote too (E4)
	M82  ID = "M82"  // a second election replaces the first after acks (E4)
	M83  ID = "M83"  // a proven commit replaces a lock of a later term (A5)
	M84  ID = "M84"  // locks are not announced (N3)
	M85  ID = "M85"  // a voter proven faulty can be elected (E4)
	M86  ID = "M86"  // nobody joins the suspicion of others (E1d)
	M87  ID = "M87"  // sequences may be executed out of order (C1)
	M89  ID = "M89"  // requests are not forwarded (E5)
	M91  ID = "M91"  // any number of a client's requests is held (E5)
	M92  ID = "M92"  // a slow leader is not suspected (E5b)
	M93  ID = "M93"  // a receipt needs one signature (C2)
)

// Mutant describes one.
type Mutant struct {
	ID   ID
	Does string
	Rule string // that it takes away, as docs/PROTOCOL.md names it
}

// All returns the mutants in ascending order.
func All() []Mutant { return all }

var all = []Mutant{
	{M01, "2f signers make a quorum", "section 1"},
	{M02, "f+1 signers make a quorum", "section 1"},
	{M04, "signers that are no voters count", "section 1"},
	{M05, "a refusal of a candidate with a lower lock counts as a vote", "E4"},
	{M06a, "an ack does not name its term", "N2"},
	{M06b, "an ack does not name its index", "N2"},
	{M06c, "an ack does not name its hash", "N2"},
	{M07, "what is signed does not say what kind of statement it is", "section 2"},
	{M07b, "a vote does not name its candidate", "E4"},
	{M08, "an ack does not name its cluster", "section 2"},
	{M09, "2f+1 signers make a quorum, whatever the number of voters", "section 1"},
	{M09b, "the first signature of a certificate is not checked", "section 1"},
	{M10, "commit after one round of acks", "N4"},
	{M11, "a chain without the base of the election is acked", "A2"},
	{M12, "the longer log wins the vote, whatever its term", "E4"},
	{M13, "a vote is sent before it is durable", "section 1"},
	{M14, "an ack is sent before it is durable", "N2"},
	{M15, "the guard is not written", "section 1"},
	{M16, "the vote is forgotten in a crash", "E4"},
	{M17, "proposals of others than the leader are taken", "A1"},
	{M18, "blocks need not follow each other", "B1"},
	{M19, "acks of earlier terms count", "N3"},
	{M24, "what is acked, certified or committed may be replaced", "A4, A5"},
	{M27, "after a crash all of the log is taken for committed", "N4"},
	{M28, "after a crash what was committed is not executed again", "C1"},
	{M29, "the lock is forgotten in a crash", "N3"},
	{M30, "a client believes one reply", "C2"},
	{M31, "a client takes the reply to another request for its own", "C2"},
	{M32, "a request is executed as often as it is ordered", "C1"},
	{M33, "clients' signatures in blocks are not checked", "A6"},
	{M34, "a read believes the first answer", "C3"},
	{M40, "a leader that orders nothing is not suspected", "E1b, E5"},
	{M41, "only one client's requests have a timer", "E5"},
	{M42, "candidates are voted for before their window", "E3"},
	{M43, "a node enters a higher term because it hears of it", "E2"},
	{M44, "timeouts do not grow", "E6"},
	{M45, "one suspicion makes the others join", "E1d"},
	{M47, "nobody hands out what is committed", "A3, N6"},
	{M48, "the order of candidates does not turn with the term", "E3"},
	{M50, "what is fetched aside is not bounded", "A3"},
	{M51, "a frame may have any size", "section 2"},
	{M52, "requests that wait in vain are kept", "E5"},
	{M53, "evidence of one voter is kept again and again", "A4"},
	{M60, "an error of the disk is ignored", "section 1"},
	{M61, "a missing store is made anew", "section 1"},
	{M63, "a damaged block is taken for one that is not there", "section 1"},
	{M64, "the guard is not compared", "section 1"},
	{M65, "both slots of the guard are written at once", "section 1"},
	{M70, "q-1 signers make a certificate", "section 1"},
	{M71, "a suspicion does not name its term", "E1"},
	{M72, "blocks with invalid entries are acked", "A6"},
	{M73, "a node that left a chain it acked goes on acking", "K1"},
	{M74, "two acks on conflicting chains are not noticed", "A4"},
	{M75, "a resignation is ignored", "E1e"},
	{M76, "f+1 suspicions end a term", "E2"},
	{M77, "a leader proven faulty is not suspected", "E1c"},
	{M78, "a silent leader is not suspected", "E1a"},
	{M79, "nothing is repaired", "N6"},
	{M80, "a certificate that contradicts a commit is believed", "A5"},
	{M81, "a second candidate gets a vote too", "E4"},
	{M82, "a second election replaces the first after acks", "E4"},
	{M83, "a proven commit replaces a lock of a later term", "A5"},
	{M84, "locks are not announced", "N3"},
	{M85, "a voter proven faulty can be elected", "E4"},
	{M86, "nobody joins the suspicion of others", "E1d"},
	{M87, "sequences may be executed out of order", "C1"},
	{M89, "requests are not forwarded", "E5"},
	{M91, "any number of a client's requests is held", "E5"},
	{M92, "a slow leader is not suspected", "E5b"},
	{M93, "a receipt needs one signature", "C2"},
}
