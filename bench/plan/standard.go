package plan

import (
	"tangaroa/adversary"
)

// Full is the whole comparison, about forty minutes of it.
func Full(names []string, rounds int) []Comparison {
	var out []Comparison
	busy := Workload{Nodes: 4, ValueBytes: 128, Outstanding: 1024}
	lonely := Workload{Nodes: 4, ValueBytes: 128, Outstanding: 1}
	add := func(rounds int, w ...Workload) {
		for _, one := range w {
			c := one.Among(names, rounds)
			c.Cost = one == busy
			c.Syncs = one == busy || one == lonely
			if len(c.Contestants) > 0 {
				out = append(out, c)
			}
		}
	}
	for _, size := range []int{128, 1024} {
		for _, k := range []int{1, 64, 1024} {
			add(rounds, Workload{Nodes: 4, ValueBytes: size, Outstanding: k})
		}
	}
	with := func(change func(*Workload)) Workload {
		w := busy
		change(&w)
		return w
	}
	for _, reads := range []float64{1, 0.9} {
		add(rounds, with(func(w *Workload) { w.Reads = reads }))
	}
	for _, n := range []int{3, 7, 10} {
		add(rounds, with(func(w *Workload) { w.Nodes = n }))
	}
	add(rounds, with(func(w *Workload) { w.Nodes, w.Outstanding = 3, 1 }),
		with(func(w *Workload) { w.Dead = 1 }),
		with(func(w *Workload) { w.KillLeader, w.Outstanding = true, 64 }))
	for _, a := range adversary.All() {
		add(1, with(func(w *Workload) { w.Adversary, w.Outstanding, w.AsLeader = a.Name, 64, true }))
	}
	return out
}

// Quick is the heart of it.
func Quick(names []string, rounds int) []Comparison {
	out := Axes{
		Nodes: []int{4}, Sizes: []int{128}, Outstanding: []int{1, 64, 1024}, Reads: []float64{0},
	}.Product(names, rounds)
	if len(out) > 0 {
		out[0].Syncs = true
	}
	more := []Workload{
		{Nodes: 4, ValueBytes: 1024, Outstanding: 1024},
		{Nodes: 4, ValueBytes: 128, Outstanding: 1024, Reads: 1},
	}
	for _, w := range more {
		if c := w.Among(names, rounds); len(c.Contestants) > 0 {
			out = append(out, c)
		}
	}
	return out
}
