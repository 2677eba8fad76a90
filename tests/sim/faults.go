package sim

// schedule plans the faults of the chaos phase and the healing at its end.
func (w *World) schedule() {
	w.every(w.opt.CrashEvery, w.crashSome)
	w.every(w.opt.PartitionEvery, w.partition)
	w.every(w.opt.StallEvery, w.stallOne)
	for i := range w.clients {
		w.at(w.faults.between(1, 500), event{kind: eventClientTick, node: i})
	}
	w.at(w.opt.Chaos, event{kind: eventFault, do: w.heal})
}

// every repeats a fault at random intervals around mean until the chaos ends.
func (w *World) every(mean int, fault func()) {
	if mean == 0 {
		return
	}
	w.at(w.faults.between(1, 2*mean), event{kind: eventFault, do: func() {
		if !w.calm {
			fault()
			w.every(mean, fault)
		}
	}})
}

// crashSome crashes one node, now and then all of them, and starts them again.
func (w *World) crashSome() {
	victims := []*member{w.nodes[w.faults.below(len(w.nodes))]}
	if w.faults.chance(100) {
		victims = w.nodes
	}
	for _, m := range victims {
		if m.proc == nil {
			continue
		}
		w.crash(m)
		w.watch.count("crash")
		w.at(w.faults.between(1, 3000), event{kind: eventFault, do: func() { w.restart(m) }})
	}
}

func (w *World) restart(m *member) {
	if m.proc == nil && !m.blocked {
		w.boot(m)
	}
}

// partition cuts links: a group from the rest, or single directed links.
func (w *World) partition() {
	n := len(w.nodes)
	clear(w.net.cut)
	if w.faults.chance(300) {
		for range w.faults.between(1, n) {
			w.net.cut[[2]int{w.faults.below(n), w.faults.below(n)}] = true
		}
	} else {
		side := w.faults.between(1, 1<<n-2)
		for i := range n {
			for j := range n {
				if side>>i&1 != side>>j&1 {
					w.net.cut[[2]int{i, j}] = true
				}
			}
		}
	}
	w.watch.count("partition")
	w.at(w.faults.between(100, 4000), event{kind: eventFault, do: func() { clear(w.net.cut) }})
}

// stallOne makes a process stand still, then take in all that came meanwhile.
func (w *World) stallOne() {
	m := w.nodes[w.faults.below(len(w.nodes))]
	if m.proc == nil || m.stalled {
		return
	}
	m.stalled = true
	w.watch.count("stall")
	w.at(w.faults.between(100, 4000), event{kind: eventFault, do: func() { w.resume(m) }})
}

func (w *World) resume(m *member) {
	if !m.stalled {
		return
	}
	m.stalled = false
	backlog := m.backlog
	m.backlog = nil
	for _, e := range backlog {
		if m.proc != nil && (e.kind != eventTick || e.boot == m.boots) {
			w.handleNode(m, e)
		}
	}
}

// lockdown is set off when node m is the first to lock a position: what is under way is lost, and m
// is cut off until long after the others have gone on without it.
func (w *World) lockdown(m *member) {
	if w.calm || w.opt.LockdownPermille == 0 || !w.faults.chance(w.opt.LockdownPermille) {
		return
	}
	w.watch.count("lockdown")
	w.net.dark = w.now + w.net.opt.MaxDelay*10
	me := int(m.id) - 1
	for i := range w.nodes {
		w.net.cut[[2]int{me, i}], w.net.cut[[2]int{i, me}] = true, true
	}
	w.at(w.faults.between(500, 4000), event{kind: eventFault, do: func() {
		for i := range w.nodes {
			delete(w.net.cut, [2]int{me, i})
			delete(w.net.cut, [2]int{i, me})
		}
	}})
}

// heal ends the chaos: all links work, all nodes run. The liar stays a liar.
func (w *World) heal() {
	w.calm, w.net.dark = true, 0
	clear(w.net.cut)
	for _, m := range w.nodes {
		w.resume(m)
		w.restart(m)
	}
	w.watch.healed()
}
