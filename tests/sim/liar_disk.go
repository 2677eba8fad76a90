package sim

import (
	"tangaroa/bftraft"
	"tangaroa/bftraft/replica"
)

// shameless is one whose disk forgets. Where it is shown what it has signed it stops, or goes on,
// as the seed decides.
type shameless struct {
	replica.Protocol
	w *World
	m *member
}

// Ready implements replica.Protocol.
func (p *shameless) Ready() (bftraft.Ready, bool) {
	r, some := p.Protocol.Ready()
	if r.Forgot {
		p.w.watch.hit(seenForgotten)
		r.Forgot = (p.w.opt.Seed+uint64(p.m.id))%2 == 0
	}
	return r, some
}

// forget puts back the disk of one that forgets to what it was at some earlier crash, guard and
// all: nothing on the node itself can show it.
func (w *World) forget(m *member) {
	if !m.lies(amnesiac) {
		return
	}
	m.images = append(m.images, m.disk.Image())
	r := newStream(w.opt.Seed^uint64(len(m.images)), "forget")
	if k := r.below(len(m.images)); r.chance(700) {
		m.disk = m.disk.Restore(m.images[k], true)
		if k+1 < len(m.images) {
			m.hurts(amnesiac, 1)
			w.watch.hit(stoBack)
		}
	}
}
