package sim

import "tangaroa/bftraft/store"

// schedule plans the faults, the first moves of the clients, and the healing.
func (w *World) schedule() {
	for i := range w.plan {
		f := &w.plan[i]
		w.later(f.At, func() {
			if !w.calm {
				w.inject(f)
			}
		})
	}
	for i := range w.clients {
		w.at(1+i*37%500, event{kind: eventClientTick, node: i})
	}
	for i := range w.rogues {
		w.at(1+i*53%500, event{kind: eventRogueTick, node: i})
	}
	w.later(w.opt.Chaos, w.heal)
}

func (w *World) later(delay int, do func()) { w.at(delay, event{kind: eventFault, do: do}) }

// inject makes one thing go wrong.
func (w *World) inject(f *Fault) {
	w.watch.injected[f.Kind]++
	if w.Log != nil {
		w.Log("%6d  fault %+v", w.now, *f)
	}
	var m *member
	if f.Node > 0 {
		m = w.nodes[f.Node-1]
		if m.absent || m.gone {
			return
		}
	}
	switch f.Kind {
	case KindCrash:
		w.crashFor(m, f.For, f.Arg)
	case KindCrashAll:
		w.crashAll(f)
	case KindAtSave:
		if m.proc != nil {
			m.trap = trap{set: true, saves: f.Arg / 3, phase: f.Arg % 3, sends: 2, down: f.For}
		}
	case KindStorm:
		w.storm(f, w.now+f.For)
	case KindStop:
		w.stopInOrder(m, f.For)
	case KindStall:
		w.stall(m, f.For)
	case KindLate:
		m.lateUntil = w.now + f.For
	case KindLockdown:
		w.armed = append(w.armed, *f)
	case KindSyncFail, KindReadFail, KindSlowFlush, KindGuardSlot, KindLoss:
		w.injectDisk(f, m)
	default:
		w.injectNetwork(f, m)
	}
}

func (w *World) injectDisk(f *Fault, m *member) {
	if m.proc == nil {
		return
	}
	switch f.Kind {
	case KindSyncFail:
		m.disk.FailNext(store.ErrClosed, f.Arg == 1)
		w.later(f.For, func() { w.recover(m) })
	case KindReadFail:
		w.failRead(m)
		w.later(f.For, func() { w.recover(m) })
	case KindSlowFlush:
		before := m.flushTime
		m.flushTime = f.Arg
		w.later(f.For, func() { m.flushTime = before })
	case KindGuardSlot:
		w.crash(m, 0)
		m.disk.DamageGuard(f.Arg)
		w.watch.hit(stoGuard)
		w.later(f.For, func() { w.restart(m) })
	case KindLoss:
		w.crash(m, 0)
		m.dead = true
		losses[f.Arg](w, m)
		w.later(f.For, func() { w.boot(m) })
	}
}

// recover restarts a node whose disk has failed; one that had nothing to write is restarted too.
func (w *World) recover(m *member) {
	if m.proc != nil {
		w.crash(m, 1000)
	}
	w.restart(m)
}

func (w *World) crashFor(m *member, down, keep int) {
	if m.proc == nil {
		return
	}
	w.crash(m, keep)
	w.later(down, func() { w.restart(m) })
}

// crashAll takes all nodes down; each comes back at a time of its own.
func (w *World) crashAll(f *Fault) {
	w.watch.hit(proAll)
	for i, m := range w.nodes {
		w.crashFor(m, 1+f.For*(i+1)/len(w.nodes), f.Arg)
	}
}

// storm restarts nodes again and again until a time.
func (w *World) storm(f *Fault, until int) {
	if w.calm || w.now >= until {
		return
	}
	for i, m := range w.nodes {
		if f.Mask>>i&1 == 1 && m.proc != nil {
			w.watch.hit(proStorm)
			w.crashFor(m, 1+f.Arg/2, 0)
		}
	}
	w.later(f.Arg, func() { w.storm(f, until) })
}

// stopInOrder lets a node resign and stop a little later, with all its writes flushed.
func (w *World) stopInOrder(m *member, down int) {
	if m.proc == nil || m.stalled {
		return
	}
	if m.proc.Core().Leading {
		w.watch.hit(proStop)
	}
	m.proc.Resign()
	w.flush(m)
	boots := m.boots
	w.later(200, func() {
		if m.proc != nil && m.boots == boots {
			w.crashFor(m, down, 1000)
		}
	})
}

// stall makes a process stand still, then take in all that came meanwhile.
func (w *World) stall(m *member, span int) {
	if m.proc == nil || m.stalled {
		return
	}
	if m.proc.Core().Leading {
		w.watch.hit(proLeader)
	}
	m.stalled = true
	w.later(span, func() { w.resume(m) })
}

func (w *World) resume(m *member) {
	if !m.stalled {
		return
	}
	m.stalled = false
	backlog := m.backlog
	m.backlog = nil
	if len(backlog) > 1 {
		w.watch.hit(proStall)
	}
	for i := range backlog {
		m.take(w, &backlog[i])
	}
}

// locksFirst is told when a node is the first to lock a position: if a lockdown waits for that,
// what is under way is lost, and the node, which alone knows of the certificate, is cut off until
// the others have gone on without it.
func (w *World) locksFirst(m *member) {
	if w.calm || len(w.armed) == 0 {
		return
	}
	f := w.armed[0]
	w.armed = w.armed[1:]
	w.watch.hit(netPhase)
	w.net.dark = w.now + w.net.opt.MaxDelay*10
	w.cutOff(m, f.For)
}

// heal ends the chaos: all links work, all nodes run but those that are lost. Liars stay liars.
func (w *World) heal() {
	w.calm = true
	w.net.heal()
	w.armed = nil
	for _, m := range w.nodes {
		m.flushTime, m.lateUntil, m.trap.set = 0, 0, false
		w.resume(m)
		w.restart(m)
		w.tell(m)
	}
	w.watch.healed()
}

// restartAll ends all processes at once, when all is at rest, and starts them again: each must
// come back to the state it had, and the cluster must serve (L5).
func (w *World) restartAll() {
	w.watch.restartsAll()
	for _, m := range w.nodes {
		if m.proc != nil {
			w.crash(m, 0)
			w.restart(m)
		}
	}
}
