package sim

import "tangaroa/bftraft"

// injectNetwork makes something go wrong with the links. What was cut heals by itself after For,
// and all heals with the end of the chaos.
func (w *World) injectNetwork(f *Fault, m *member) {
	n := len(w.nodes)
	switch f.Kind {
	case KindPartition:
		w.sever(f.For, func(i, j int) bool { return f.Mask>>i&1 != f.Mask>>j&1 })
	case KindOneWay:
		if f.Node != f.Arg {
			w.watch.hit(netOneWay)
			w.sever(f.For, func(i, j int) bool { return i == f.Node-1 && j == f.Arg-1 })
		}
	case KindIsolate:
		if m == nil {
			m = w.leader()
		}
		w.cutOff(m, f.For)
	case KindBridge:
		w.watch.hit(netBridge)
		w.sever(f.For, func(i, j int) bool {
			return i != f.Node-1 && j != f.Node-1 && f.Mask>>i&1 != f.Mask>>j&1
		})
	case KindFlap:
		w.flap(m, f, w.now+f.For)
	case KindSwizzle:
		w.swizzle(f)
	case KindSlowLink:
		for j := range n {
			w.net.rate[f.Node-1][j] = f.Arg
		}
		w.later(f.For, func() { clear(w.net.rate[f.Node-1][:]) })
	case KindMisroute:
		if f.Node != f.Arg {
			w.net.also[f.Node-1] = f.Arg
			w.later(f.For, func() { w.net.also[f.Node-1] = 0 })
		}
	case KindStrange:
		frame := append([]byte{byte(200 + f.Arg%50)}, "a frame of a later version"...)
		for j := range n {
			if j != f.Node-1 {
				w.transmit(f.Node-1, j, frame, 0)
			}
		}
	}
}

// sever cuts the directed links that are chosen, for a while.
func (w *World) sever(span int, chosen func(i, j int) bool) {
	var cut [][2]int
	for i := range w.nodes {
		for j := range w.nodes {
			if chosen(i, j) {
				cut = append(cut, [2]int{i, j})
				w.net.sever(i, j, 1)
			}
		}
	}
	w.later(span, func() {
		for _, link := range cut {
			if !w.calm {
				w.net.sever(link[0], link[1], -1)
			}
		}
	})
}

// cutOff cuts a node off from all others.
func (w *World) cutOff(m *member, span int) {
	me := int(m.id) - 1
	w.sever(span, func(i, j int) bool { return (i == me) != (j == me) })
}

// leader returns the node that most believe to lead, or the first.
func (w *World) leader() *member {
	best, votes := w.nodes[0], 0
	count := make([]int, len(w.nodes)+1)
	for _, m := range w.nodes {
		if m.proc == nil {
			continue
		}
		id := m.proc.Core().Leader
		if count[id]++; id != 0 && count[id] > votes {
			best, votes = w.nodes[id-1], count[id]
		}
	}
	return best
}

// flap cuts a node's links for every second period.
func (w *World) flap(m *member, f *Fault, until int) {
	if w.calm || w.now >= until {
		return
	}
	w.watch.hit(netFlap)
	w.cutOff(m, f.Arg)
	w.later(2*f.Arg, func() { w.flap(m, f, until) })
}

// swizzle cuts nodes off one after the other and heals them in another order.
func (w *World) swizzle(f *Fault) {
	r := newStream(w.opt.Seed^uint64(f.At), "swizzle")
	for i, m := range w.nodes {
		if f.Mask>>i&1 == 1 {
			w.watch.hit(netSwizzle)
			w.later(r.below(f.For), func() {
				if !w.calm {
					w.cutOff(m, f.For+r.below(f.For))
				}
			})
		}
	}
}

// unknown says whether a frame is of a kind that no node here knows.
func unknown(frame []byte) bool {
	return len(frame) > 0 && frame[0] >= 200 && frame[0] != bftraft.FrameRequest
}
