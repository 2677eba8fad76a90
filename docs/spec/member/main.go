package main

import (
	"flag"
	"fmt"
	"math/bits"
	"math/rand"
	"os"
	"strings"
	"time"
)

// search is one run over the states.
type search struct {
	begun   time.Time
	limit   time.Duration
	seen    set
	made    int
	byTerm  [maxT + 1]int
	title   string
	expects string
}

func main() {
	mutF := flag.String("mut", "", "mutations: n4 j1 j2 j2old j3 j3n j4 j5both onephase q-1")
	tree := flag.String("tree", "J JK JR JKx", "positions, parents first")
	oldF := flag.String("old", "abc", "honest members of C_old (B is one more)")
	newF := flag.String("new", "def", "honest members of C_new (B is one more)")
	invF := flag.String("inv", "later", "besides agreement and one chain per term: later, "+
		"split (no term with one leader by C_old alone and one by C_new alone), reach")
	goalF := flag.String("goal", "", "with reach: positions whose commit is to be found")
	flag.IntVar(&terms, "t", 3, "terms, at most 5")
	flag.BoolVar(&fetch, "fetch", true, "honest nodes may take locks of earlier terms")
	flag.BoolVar(&half, "half", false, "of the last term only the elections at its beginning")
	flag.BoolVar(&voters, "voters", false, "nodes ack only what their signature counts for")
	limit := flag.Duration("time", 5*time.Minute, "time limit")
	bfs := flag.Bool("bfs", false, "breadth first with traces (more memory)")
	walk := flag.Duration("sim", 0, "random walks for so long, instead of a search")
	seed := flag.Int64("seed", 1, "seed of the random walks")
	expects := flag.String("expect", "", "end non-zero unless the outcome begins with this")
	flag.Parse()
	for _, m := range strings.Split(*mutF, ",") {
		muts[m] = true
	}
	for _, m := range strings.Split(*invF, ",") {
		inv[m] = true
	}
	mJ1, mJ4 = muts["j1"], muts["j4"]
	plant(*tree)
	for i, n := range name {
		for _, g := range strings.Fields(strings.ReplaceAll(*goalF, ",", " ")) {
			if n == g {
				goal |= 1 << i
			}
		}
	}
	enlist(*oldF, *newF)
	s := &search{begun: time.Now(), limit: *limit, expects: *expects}
	s.title = fmt.Sprintf("old=%sB new=%sB t=%d tree=%q mut=%q", *oldF, *newF, terms, *tree, *mutF)
	s.seen.add(fp(&State{}))
	switch {
	case *walk > 0:
		s.walk(*walk, *seed)
	case *bfs:
		s.breadthFirst()
	default:
		s.depthFirst()
	}
}

// done tells the outcome and ends the program.
func (s *search) done(why string) {
	fmt.Printf("%s: %s; %d generated, %d distinct (per term %v), %.0fs\n", s.title, why, s.made,
		s.seen.n, s.byTerm[1:terms+1], time.Since(s.begun).Seconds())
	if !strings.HasPrefix(why, s.expects) {
		fmt.Printf("expected: %s\n", s.expects)
		os.Exit(1)
	}
	os.Exit(0)
}

// spent says, now and then, whether the time is up.
func (s *search) spent(n int) bool { return n&0xfff == 0 && time.Since(s.begun) > s.limit }

// tell prints the steps from each state of a path to the next, and what came of it.
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
	last := path[len(path)-1]
	last.com[last.t] = last.comNow()
	for t := 1; t <= int(last.t); t++ {
		for s := 1; s < nS; s++ {
			if last.com[t]>>s&1 == 1 {
				fmt.Printf("    committed in term %d: %s\n", t, name[s])
			}
		}
	}
	for e := last.ec; e != 0; e &= e - 1 {
		k := bits.TrailingZeros64(e)
		fmt.Printf("    electable in term %d: base (%d,%s)\n", last.t, k/16, pn(uint8(k%16)))
	}
}

// walk takes random steps: every state of a walk is checked, nothing is remembered.
func (s *search) walk(span time.Duration, seed int64) {
	rng := rand.New(rand.NewSource(seed))
	var buf []step
	walks := 0
	for ; time.Since(s.begun) < span; walks++ {
		var cur State
		var path []State
		end := 2 + rng.Intn(12)
		for range 60 * terms {
			if buf = next(&cur, buf[:0]); len(buf) == 0 {
				break
			}
			k := rng.Intn(len(buf))
			if cur.t > 0 && int(cur.t) < terms && k == 0 && len(buf) > 1 && rng.Intn(end) > 0 {
				k = 1 + rng.Intn(len(buf)-1)
			}
			path = append(path, cur)
			cur = buf[k].st
			s.made++
			s.byTerm[cur.t]++
			if bad := check(&cur); bad != "" {
				tell(append(path, cur))
				s.done(fmt.Sprintf("VIOLATED %s in random walk %d", bad, walks+1))
			}
		}
	}
	s.done(fmt.Sprintf("%d random walks, no violation", walks))
}
