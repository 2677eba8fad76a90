package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// mark is something that may happen in a run and has to happen in some: a fault of the catalogue
// that had an effect, or a corner of the protocol that was reached. A fault that never mattered
// tests nothing.
type mark uint8

const (
	netDrop mark = iota
	netTail
	netCopy
	netOrder
	netCut
	netOneWay
	netBridge
	netFlap
	netSwizzle
	netSlow
	netPhase
	netRoute
	proPoint
	proCrash
	proAll
	proBoot
	proStorm
	proStall
	proLeader
	proDrift
	proLate
	proStop
	proStrange
	stoTorn
	stoLost
	stoSync
	stoLie
	stoLoss
	stoSlow
	stoBack
	stoRead
	stoGuard
	stoElse
	cliCache
	cliLate
	seenLockRaised
	seenTruncated
	seenTwoLeaders
	seenVotedAgain
	seenCaughtUp
	seenResigned
	seenStarving
	seenProof
	seenTaken
	seenBackoff
	seenTerms
	seenBehind
	seenAnew
	seenForged
	seenBlame
	seenCheckpoint
	seenSnapshot
	seenRestored
	seenDropped
	seenInstalled
	seenPoisoned
	seenChange
	seenRevoked
	seenJoined
	seenJoint
	seenClosed
	seenRolledBack
	seenLeft
	seenBlueGreen
	seenInherited
	seenInheritedJudged
	seenLongRange
	seenInheritedReply
	seenInheritedState
	seenLiarVotes
	seenTwoClosings
	seenResumed
	seenForgotten
	numMarks
)

// marks says what each is. The ids are those of the fault catalogue; SEEN are corners of the
// protocol.
var marks = [numMarks]struct{ id, text string }{
	netDrop:   {"NET-01", "a message was lost"},
	netTail:   {"NET-02", "a message took longer than any usual one"},
	netCopy:   {"NET-03", "a message came twice, the second time up to seconds later"},
	netOrder:  {"NET-04", "a message arrived before one that was sent before it"},
	netCut:    {"NET-05", "a partition held a message up"},
	netOneWay: {"NET-06", "a link worked in one direction only"},
	netBridge: {"NET-07", "two groups reached each other through one node only"},
	netFlap:   {"NET-08", "a node's links went and came"},
	netSwizzle: {"NET-09",
		"nodes were cut off one by one and came back in another order"},
	netSlow:    {"NET-10", "a message waited on a slow link"},
	netPhase:   {"NET-13", "a node that alone had locked was cut off"},
	netRoute:   {"NET-14", "a message came to a node it was not for"},
	proPoint:   {"PRO-01", "a crash at a point of persistence: before, after, in mid-send"},
	proCrash:   {"PRO-02", "a node crashed with something under way"},
	proAll:     {"PRO-02a", "all nodes crashed at once"},
	proBoot:    {"PRO-03", "a node crashed within a heartbeat of its start"},
	proStorm:   {"PRO-05", "f nodes restarted again and again"},
	proStall:   {"PRO-06", "a process stood still and then got all at once"},
	proLeader:  {"PRO-06a", "the leader's process stood still"},
	proDrift:   {"PRO-07", "the clocks of nodes ran at speeds that differ by a tenth"},
	proLate:    {"PRO-08", "ticks came late, then in a burst"},
	proStop:    {"PRO-12", "a leader resigned and stopped in order"},
	proStrange: {"PRO-13", "a frame of no known kind was refused"},
	stoTorn:    {"STO-01", "a crash left a part of what was not flushed"},
	stoLost:    {"STO-02", "a crash took what was not flushed"},
	stoSync:    {"STO-03", "a flush failed and the node stopped"},
	stoLie:     {"STO-04", "a crash took what a faulty disk had called flushed"},
	stoLoss:    {"STO-05", "a damaged disk kept its node from starting"},
	stoSlow:    {"STO-08", "a flush took longer than the usual delay of a message"},
	stoBack:    {"STO-11", "a faulty node's disk was put back, guard and all"},
	stoRead:    {"STO-16", "a read failed at run time and the node stopped"},
	stoGuard:   {"STO-14", "a node started with one slot of its guard damaged"},
	stoElse:    {"STO-15", "a node was given a disk that is not its own, or none"},
	cliCache:   {"CLI-9", "a client that asked again got a result from the session"},
	cliLate:    {"CLI-6", "a request that went to one node only was served after it went to all"},

	seenLockRaised: {"SEEN-01", "a higher certificate replaced a lock of an earlier term"},
	seenTruncated:  {"SEEN-02", "an honest node took back entries"},
	seenTwoLeaders: {"SEEN-03", "two nodes believed to lead at once"},
	seenVotedAgain: {"SEEN-04", "a node voted twice for one candidate, with another lock"},
	seenCaughtUp:   {"SEEN-05", "a node learned a commit by certificate only"},
	seenResigned:   {"SEEN-06", "a term ended because its leader resigned"},
	seenStarving:   {"SEEN-07", "a node suspected its leader of starving a client"},
	seenProof:      {"SEEN-08", "a liar was proven faulty"},
	seenTaken:      {"SEEN-09", "a proven commit replaced what was acked in the term"},
	seenBackoff:    {"SEEN-10", "the back-off reached four"},
	seenTerms:      {"SEEN-11", "terms passed without a leader"},
	seenBehind:     {"SEEN-12", "a node that was behind was asked again for the read index"},
	seenAnew:       {"SEEN-13", "a read was asked anew, because what it reads kept changing"},
	seenForged:     {"SEEN-14", "the word of one liar was shown as a receipt and refused"},
	seenBlame:      {"SEEN-15", "a client blamed a node whose answer differs"},
	seenCheckpoint: {"SEEN-16", "a checkpoint was signed"},
	seenSnapshot:   {"SEEN-17", "a node kept a certified snapshot"},
	seenRestored:   {"SEEN-18", "a node started from a snapshot"},
	seenDropped:    {"SEEN-19", "a node let go of log"},
	seenInstalled:  {"SEEN-20", "a node took a state of others in the place of its log"},
	seenPoisoned:   {"SEEN-21", "a node caught who served it what is not certified"},
	seenChange:     {"SEEN-22", "a change of who may do what came into force"},
	seenRevoked:    {"SEEN-23", "a client lost its rights while it waited for a result"},
	seenJoined:     {"SEEN-24", "a node joined as a learner"},
	seenJoint:      {"SEEN-25", "a change of the voters came into force, which was to be closed"},
	seenClosed:     {"SEEN-26", "the new voters took over"},
	seenRolledBack: {"SEEN-27", "a change of the voters was given up"},
	seenLeft:       {"SEEN-28", "a node that was taken out learned of it and stopped"},
	seenBlueGreen:  {"SEEN-29", "none of the voters was one before"},
	seenInherited:  {"SEEN-30", "a message was signed with keys of nodes that were taken out"},
	seenInheritedJudged: {"SEEN-31",
		"such a message was judged by what it says, as it came from somebody who is listened to"},
	seenLongRange: {"SEEN-32", "a quorum of voters that were replaced signed another history"},
	seenInheritedReply: {"SEEN-33",
		"a client was sent a result by voters that were replaced"},
	seenInheritedState: {"SEEN-34",
		"a node that looked for a state was offered one by voters that were replaced"},
	seenLiarVotes: {"SEEN-35", "a liar that had joined became a voter"},
	seenTwoClosings: {"SEEN-36",
		"a liar proposed or acked a closing entry and something else at one place"},
	seenForgotten: {"SEEN-38", "a node whose disk was put back was shown what it had signed"},
	seenResumed:   {"SEEN-37", "a node took a state of which an earlier process had fetched a part"},
}

// Tally counts, over any number of runs, what happened in them: each mark, each attack, each drop.
type Tally struct {
	Seeds    int
	Millis   int            // virtual time
	Accepted int            // results that clients believed
	Entries  int            // entries committed
	Worst    int            // the longest a request waited after the healing, in milliseconds
	Terms    int            // the most terms that passed after the healing
	Injected map[string]int // faults carried out, by kind
	Hits     map[string]int // marks, by id
	Runs     map[string]int // seeds in which a mark was hit
	Drops    map[string]int
	Liars    map[string]int // seeds, by attack
	Harm     map[string]int // and those in which it changed, added or kept back a message
}

// NewTally returns an empty tally.
func NewTally() *Tally {
	return &Tally{Injected: map[string]int{}, Hits: map[string]int{}, Runs: map[string]int{},
		Drops: map[string]int{}, Liars: map[string]int{}, Harm: map[string]int{}}
}

// Add counts a run that has ended.
func (t *Tally) Add(w *World) {
	t.Seeds++
	t.Millis += w.now
	t.Accepted += w.watch.results
	t.Entries += int(w.watch.highest)
	t.Worst = max(t.Worst, w.watch.worst)
	t.Terms = max(t.Terms, w.watch.termsAfterHealing())
	for k, n := range w.watch.injected {
		t.Injected[string(k)] += n
	}
	for m, n := range w.watch.hits {
		if n > 0 {
			t.Hits[marks[m].id] += n
			t.Runs[marks[m].id]++
		}
	}
	for d, n := range w.watch.drops {
		t.Drops[d] += n
	}
	for _, m := range w.nodes {
		for _, a := range m.attacks {
			t.Liars[baseOf(a)]++
			if m.harm[baseOf(a)] > 0 {
				t.Harm[baseOf(a)]++
			}
		}
	}
	for _, r := range w.rogues {
		t.Liars["client "+r.name]++
		if r.sent > 0 {
			t.Harm["client "+r.name]++
		}
	}
}

// Rare returns the marks and attacks that took effect in fewer than permille of the seeds, but for
// seenTaken: it needs a leader that leads one node alone astray and forgets that it did; and for
// seenInheritedState, and the liars who have to lead when voters change, which have tests of their
// own.
func (t *Tally) Rare(permille int) []string {
	var rare []string
	for i, m := range marks {
		seldom := []mark{seenTaken, seenInheritedState, seenResumed}
		if !slices.Contains(seldom, mark(i)) && t.Runs[m.id]*1000 < t.Seeds*permille {
			rare = append(rare, fmt.Sprintf("%s (%s): %d of %d seeds", m.id, m.text,
				t.Runs[m.id], t.Seeds))
		}
	}
	names := append(attackNames(), falseState, twoClosings, secretive, eager)
	for _, name := range rogueNames() {
		names = append(names, "client "+name)
	}
	for _, a := range names {
		if t.Harm[a]*1000 < t.Seeds*permille {
			rare = append(rare, fmt.Sprintf("%s: %d of %d seeds", a, t.Harm[a], t.Seeds))
		}
	}
	return rare
}

// String is the report of a sweep.
func (t *Tally) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d seeds, %d virtual s, %d results accepted, %d entries; after the healing "+
		"a request waited at most %d ms, and at most %d terms passed\n",
		t.Seeds, t.Millis/1000, t.Accepted, t.Entries, t.Worst, t.Terms)
	fmt.Fprintf(&b, "| id | what happened | effective | in seeds |\n|---|---|---|---|\n")
	for _, m := range marks {
		fmt.Fprintf(&b, "| %s | %s | %d | %d |\n", m.id, m.text, t.Hits[m.id], t.Runs[m.id])
	}
	fmt.Fprintf(&b, "\n| liar | seeds | effective in |\n|---|---|---|\n")
	for _, a := range slices.Sorted(maps.Keys(t.Liars)) {
		fmt.Fprintf(&b, "| %s | %d | %d |\n", a, t.Liars[a], t.Harm[a])
	}
	fmt.Fprintf(&b, "\n| fault | times |\n|---|---|\n")
	for _, k := range slices.Sorted(maps.Keys(t.Injected)) {
		fmt.Fprintf(&b, "| %s | %d |\n", k, t.Injected[k])
	}
	fmt.Fprintf(&b, "\n| drop | times |\n|---|---|\n")
	for _, d := range slices.Sorted(maps.Keys(t.Drops)) {
		fmt.Fprintf(&b, "| %s | %d |\n", d, t.Drops[d])
	}
	return b.String()
}
