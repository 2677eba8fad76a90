package client

import (
	"time"

	"tangaroa/bftraft"
	"tangaroa/bftraft/client/judge"
	"tangaroa/quorumcert"
)

// flight is a request that awaits its result. The client's mutex guards it.
type flight struct {
	id      RequestID
	futures []*Future

	// request, frame and tally are set when it has been signed, which happens without the mutex.
	request *bftraft.Request
	frame   []byte
	tally   *Tally

	began    time.Time      // when it was signed
	due      time.Time      // when it is to be sent again
	repeated bool           // it was sent more than once
	toAll    bool           // it goes to all nodes
	busy     int            // how often in a row it was refused for a reason that passes by itself
	retry    bool           // what is due is another try for that reason
	sent     quorumcert.Set // nodes whose link has taken it
	reach    quorumcert.Set // nodes that could be reached when it was sent, or got it since
	refusals [quorumcert.MaxVoters + 1]refusal
}

// refusal is the newest of one node.
type refusal struct {
	code     bftraft.RefusalCode // zero: none
	executed bool                // the node has executed the sequence
}

// refuse notes a refusal and returns what f+1 voters have refused it for; zero as long as they
// have not. Reasons that pass by themselves never count.
func (f *flight) refuse(from bftraft.NodeID, r *bftraft.Refusal, faulty int) refusal {
	mine := refusal{code: r.Code, executed: r.Executed >= f.id.Sequence}
	f.refusals[from] = mine
	n := 0
	for _, other := range f.refusals {
		if other == mine {
			n++
		}
	}
	if n <= faulty || passing(r.Code) {
		return refusal{}
	}
	return mine
}

// passing says that a refusal means "not now".
func passing(code bftraft.RefusalCode) bool {
	return code == bftraft.RefusedBusy || code == bftraft.RefusedWindow
}

// busyPause is how long to wait after the first refusal that passes by itself.
const busyPause = 5 * time.Millisecond

// postpone puts off a flight that was refused for a reason that passes by itself: not for long at
// first, since the node is there and at work.
func (f *flight) postpone(now time.Time, longest time.Duration) {
	if f.retry || f.toAll {
		return // one of several nodes
	}
	f.retry = true
	f.due = now.Add(min(busyPause<<min(f.busy, 16), longest))
	f.busy++
}

// unknown returns the error of an operation in the flight for which nobody waits any more.
func (f *flight) unknown(cause error) error {
	return &UnknownOutcomeError{ID: f.id, Cause: cause}
}

// fail ends all operations of the flight.
func (f *flight) fail(err error) {
	for _, future := range f.futures {
		future.fail(err)
	}
}

// settle ends all operations of the flight with their results.
func (f *flight) settle(a *Answer) {
	receipt := judge.NewReceipt(f.request, a)
	for i, future := range f.futures {
		future.result = Result{
			ID: f.id, Place: i, Value: a.Reply.Results[i], Index: a.Reply.Reply.Index,
			Receipt: receipt,
		}
		close(future.done)
	}
}

// pace tells how long an answer may take. It follows the usual time as TCP's timer does.
type pace struct {
	late, lateMax time.Duration
	usual         time.Duration // smoothed; zero while unknown
}

func (p *pace) note(took time.Duration) {
	if p.usual == 0 {
		p.usual = took
		return
	}
	p.usual += (took - p.usual) / 8
}

// first is how long the leader alone has for the first answer.
func (p *pace) first() time.Duration { return min(max(p.late, 4*p.usual), p.lateMax) }

// next is the time until the repetition after one that came so late.
func (p *pace) next(waited time.Duration) time.Duration {
	return min(max(waited, p.first()), p.lateMax)
}
