package main

// breadthFirst finds a shortest trace.
func (s *search) breadthFirst() {
	type record struct {
		st     State
		parent int32
	}
	all := []record{{State{}, -1}}
	var buf []step
	for i := 0; i < len(all); i++ {
		cur := all[i].st
		s.byTerm[cur.t]++
		buf = next(&cur, buf[:0])
		for j := range buf {
			s.made++
			if !s.seen.add(fp(&buf[j].st)) {
				continue
			}
			all = append(all, record{buf[j].st, int32(i)})
			if bad := check(&buf[j].st); bad != "" {
				var path []State
				for k := int32(len(all) - 1); k >= 0; k = all[k].parent {
					path = append([]State{all[k].st}, path...)
				}
				tell(path)
				s.done("VIOLATED " + bad)
			}
		}
		if s.spent(i) {
			s.done("stopped, no violation so far")
		}
	}
	s.done("complete, no violation")
}

// depthFirst needs the least memory.
func (s *search) depthFirst() {
	stack := make([]State, 1)
	var buf []step
	for n := 0; len(stack) > 0; n++ {
		cur := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		s.byTerm[cur.t]++
		buf = next(&cur, buf[:0])
		for j := range buf {
			s.made++
			if !s.seen.add(fp(&buf[j].st)) {
				continue
			}
			if bad := check(&buf[j].st); bad != "" {
				s.done("VIOLATED " + bad + " (run with -bfs for a trace)")
			}
			stack = append(stack, buf[j].st)
		}
		if s.spent(n + 1) {
			s.done("stopped, no violation so far")
		}
	}
	s.done("complete, no violation")
}
