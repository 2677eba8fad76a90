package main

import (
	"flag"
	"fmt"
	"math/rand"
	"os"
	"strings"
	"time"
)

// mutations are what -mut may name.
var mutations = map[string]*bool{
	"m1": &m1, "m2": &m2, "m3": nil, "m4": &m4, "m5": &m5, "m6": &m6, "m7": &m7, "m8": &m8,
	"m9": &m9, "m11": &m11, "m12": &m12, "m13": &m13, "keeplock": &keep, "emptylock": &empty,
	"partial": &partial, "norevote": &norevote, "nolockfreeze": &nolockfreeze,
	"d14cert": &d14cert, "d14stand": &d14stand, "d16acks": &d16acks, "d16claims": &d16claims,
}

// search is one run over the states.
type search struct {
	inv     map[string]bool
	begun   time.Time
	limit   time.Duration
	most    int
	seen    set
	made    int
	byTerm  map[uint8]int
	title   string
	expects string
}

func main() {
	muts := flag.String("mut", "", "what to break, comma separated; README.md says what is what")
	rules := flag.String("rules", "", "rules to add: catchup")
	invs := flag.String("inv", "strong,lockdata,avail", "invariants besides agreement and QCUnique: "+
		"strong lockdata avail avail2 honest oneleader oneec nostop nocommit nohidden "+
		"nofloor nosilence")
	flag.IntVar(&terms, "t", 2, "terms, at most 4")
	flag.IntVar(&length, "l", 2, "entries, at most 3")
	limit := flag.Duration("time", 5*time.Minute, "time limit")
	bfs := flag.Bool("bfs", false, "breadth first with traces (more memory)")
	walk := flag.Duration("sim", 0, "random walks for so long, instead of a search")
	seed := flag.Int64("seed", 1, "seed of the random walks")
	flag.BoolVar(&half, "half", false, "of the last term only the elections")
	follow := flag.String("follow", "", "a file of steps, one a line, as in a trace: take these")
	most := flag.Int("max", 900_000_000, "most distinct states")
	expects := flag.String("expect", "", "end non-zero unless the outcome begins with this")
	flag.Parse()
	s := &search{inv: map[string]bool{}, begun: time.Now(), limit: *limit, most: *most,
		byTerm: map[uint8]int{}, expects: *expects}
	s.title = fmt.Sprintf("t=%d l=%d mut=%q rules=%q inv=%q", terms, length, *muts, *rules, *invs)
	s.switches(*muts, *rules, *invs)
	setup()
	s.seen.add(fp(&State{}))
	switch {
	case *follow != "":
		s.follow(*follow)
	case *walk > 0:
		s.walk(*walk, *seed)
	case *bfs:
		s.breadthFirst()
	default:
		s.depthFirst()
	}
}

// switches turns on what the flags name, and refuses what nobody knows.
func (s *search) switches(muts, rules, invs string) {
	for _, m := range strings.FieldsFunc(muts, func(r rune) bool { return r == ',' }) {
		on, known := mutations[m]
		switch {
		case !known:
			panic("no such mutation: " + m)
		case m == "m3":
			quor = quorN - 1
		default:
			*on = true
		}
	}
	keep = keep || partial
	if rules != "" && rules != "catchup" {
		panic("no such rule: " + rules)
	}
	catchup = rules == "catchup"
	for _, i := range strings.Split(invs, ",") {
		s.inv[i] = true
	}
	avail2 = s.inv["avail2"]
}

// done tells the outcome and ends the program.
func (s *search) done(why string) {
	fmt.Printf("%s: %s; %d generated, %d distinct (per term %v), %.0fs\n", s.title, why, s.made,
		s.seen.n, s.byTerm, time.Since(s.begun).Seconds())
	if !strings.HasPrefix(why, s.expects) {
		fmt.Printf("expected: %s\n", s.expects)
		os.Exit(1)
	}
	os.Exit(0)
}

// spent says, now and then, whether the limits are reached.
func (s *search) spent(n int) bool {
	return n&0xfff == 0 && (time.Since(s.begun) > s.limit || s.seen.n > s.most)
}

// follow takes the steps of a file.
func (s *search) follow(file string) {
	tracing = true
	text, err := os.ReadFile(file)
	if err != nil {
		panic(err)
	}
	var cur State
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		line = strings.TrimSpace(line)
		found := false
		for _, n := range next(&cur, nil) {
			if n.what == line {
				cur, found = n.st, true
				break
			}
		}
		if !found {
			s.done("no such step: " + line)
		}
		fmt.Println("   ", line)
		s.made++
		if bad := check(&cur, s.inv); bad != "" {
			s.done("VIOLATED " + bad)
		}
	}
	s.done("followed, no violation")
}

// walk takes random steps: every state of a walk is checked, nothing is remembered.
func (s *search) walk(span time.Duration, seed int64) {
	rng := rand.New(rand.NewSource(seed))
	var buf []step
	walks := 0
	for ; time.Since(s.begun) < span; walks++ {
		var cur State
		var path []State
		for range 40 * terms {
			if buf = next(&cur, buf[:0]); len(buf) == 0 {
				break
			}
			k := rng.Intn(len(buf))
			if k == 0 && len(buf) > 1 && rng.Intn(3) > 0 {
				k = 1 + rng.Intn(len(buf)-1) // the end of the term comes first in the list
			}
			path = append(path, cur)
			cur = buf[k].st
			s.made++
			s.byTerm[cur.t]++
			if bad := check(&cur, s.inv); bad != "" {
				tell(append(path, cur))
				s.done(fmt.Sprintf("VIOLATED %s in random walk %d", bad, walks+1))
			}
		}
	}
	s.done(fmt.Sprintf("%d random walks, no violation", walks))
}

// tell prints the steps from each state of a path to the next.
func tell(path []State) {
	tracing = true
	for k := range path[1:] {
		for _, n := range next(&path[k], nil) {
			if n.st == path[k+1] {
				fmt.Println("   ", n.what)
				break
			}
		}
	}
}

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
			if bad := check(&buf[j].st, s.inv); bad != "" {
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
			if bad := check(&buf[j].st, s.inv); bad != "" {
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
