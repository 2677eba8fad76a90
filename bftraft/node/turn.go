package node

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A turn that takes slowTurn is worth a line in the log, but one in slowTurnEvery at most: whatever
// comes meanwhile waits for it.
const (
	slowTurn      = 100 * time.Millisecond
	slowTurnEvery = 10 * time.Second
)

// turns measures the turns of the owner, and says what those that took long were spent on.
type turns struct {
	log     *slog.Logger
	seconds prometheus.Observer
	stored  time.Duration // spent on making things durable in the turn that goes on
	said    time.Time     // when a turn was logged
	unsaid  int           // slow ones since that were not
}

// end ends a turn that had taken in its inputs at a time.
func (t *turns) end(began, tookIn, now time.Time) {
	took, stored := now.Sub(began), t.stored
	t.stored = 0
	t.seconds.Observe(took.Seconds())
	if took < slowTurn {
		return
	}
	if now.Sub(t.said) < slowTurnEvery {
		t.unsaid++
		return
	}
	t.log.Warn("what came had to wait: the disk is slow, or there is too little processor time",
		"took", took, "input", tookIn.Sub(began), "storage", stored,
		"rest", now.Sub(tookIn)-stored, "unsaid", t.unsaid)
	t.said, t.unsaid = now, 0
}
