package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"tangaroa/crypto"
)

// Kind names a fault.
type Kind string

// The faults of the network, and those of processes.
const (
	Latency Kind = "latency"  // all routes are slow, and unevenly so
	Loss    Kind = "loss"     // pieces on all routes of a node are held back as if lost
	Stall   Kind = "stall"    // nothing passes between a node and the others
	OneWay  Kind = "one-way"  // nothing passes from a node to the others; it hears them
	Cut     Kind = "cut"      // connections of a node are closed, again and again
	Refuse  Kind = "refuse"   // they are closed, and new ones refused
	Corrupt Kind = "corrupt"  // a bit is flipped
	Slice   Kind = "slice"    // a few bytes at a time
	Kill    Kind = "kill"     // kill -9 and restart of one node
	KillAll Kind = "kill-all" // of all nodes at once
	Freeze  Kind = "freeze"   // SIGSTOP and SIGCONT
	Liar    Kind = "liar"     // the faulty node runs an adversary
	Twin    Kind = "twin"     // the faulty node runs twice under one key, on two stores
)

// NetKinds are the faults of the network.
var NetKinds = []Kind{Latency, Loss, Stall, OneWay, Cut, Refuse, Corrupt, Slice}

// processDeck is dealt again and again; what is in it twice is for the leader once.
var processDeck = []Kind{Kill, Kill, Freeze, Freeze, KillAll, Liar, Twin}

// twinTime is what a second process needs to open its store and to be connected.
const twinTime = 3 * time.Second

// ProcessKinds are the faults of processes.
var ProcessKinds = []Kind{Kill, KillAll, Freeze, Liar, Twin}

// Round is one fault of the network together with one of a process, for a while.
type Round struct {
	Net     Kind
	At      crypto.NodeID // the node whose routes it concerns
	Process Kind
	Leader  bool          // it concerns whoever leads then, otherwise Victim
	Victim  crypto.NodeID // never the faulty node for what an honest node may suffer
	Attack  int           // which of the adversaries, modulo their number
	Hold    time.Duration // how long the faults last
	Rest    time.Duration // how long all is well afterwards, but for the faulty node
}

// String tells the round in one line.
func (r Round) String() string {
	who := fmt.Sprint("node ", r.Victim)
	if r.Leader {
		who = "the leader"
	}
	return fmt.Sprintf("%s at node %d, %s of %s, for %v, then rest %v", r.Net, r.At, r.Process,
		who, r.Hold, r.Rest)
}

// Plan is what happens in a run. The same seed and duration are the same plan.
type Plan struct {
	Faulty crypto.NodeID // the one node that may lie
	Rounds []Round
}

// NewPlan draws a plan for nodes 1 to n that takes about so long. Kinds are dealt from decks, so
// that no kind is left out while another comes three times. The faulty node runs twice before it
// runs an adversary: once its own log proves that it lied, its two processes end at once.
func NewPlan(seed uint64, n int, duration time.Duration) Plan {
	rng := rand.New(rand.NewPCG(seed, 2))
	node := func() crypto.NodeID { return crypto.NodeID(1 + rng.IntN(n)) }
	p := Plan{Faulty: node()}
	var nets, processes []Kind
	leader := map[Kind]bool{}
	for sum := time.Duration(0); sum < duration; {
		nets, processes = dealt(rng, nets, NetKinds), dealt(rng, processes, processDeck)
		r := Round{
			Net: nets[0], At: node(), Process: processes[0], Victim: node(), Attack: rng.IntN(64),
			Hold: 500*time.Millisecond + time.Duration(rng.Int64N(int64(2500*time.Millisecond))),
			Rest: time.Duration(rng.Int64N(int64(2 * time.Second))),
		}
		nets, processes = nets[1:], processes[1:]
		switch r.Process {
		case Liar:
			r.Victim = p.Faulty
		case Twin:
			r.Victim = p.Faulty
			r.Hold += twinTime
			for r.At == p.Faulty { // a twin that reaches nobody is none
				r.At = node()
			}
		case Kill, Freeze:
			leader[r.Process] = !leader[r.Process]
			r.Leader = leader[r.Process]
			for r.Victim == p.Faulty {
				r.Victim = node()
			}
		}
		p.Rounds = append(p.Rounds, r)
		sum += r.Hold + r.Rest
	}
	liar, twin := p.first(Liar), p.first(Twin)
	if 0 <= liar && liar < twin {
		p.Rounds[liar], p.Rounds[twin] = p.Rounds[twin], p.Rounds[liar]
	}
	return p
}

// first returns the first round with that fault of processes, -1 if there is none.
func (p *Plan) first(kind Kind) int {
	return slices.IndexFunc(p.Rounds, func(r Round) bool { return r.Process == kind })
}

// dealt returns the cards, or a new deck when there are none left.
func dealt(rng *rand.Rand, cards, deck []Kind) []Kind {
	if len(cards) > 0 {
		return cards
	}
	cards = append([]Kind(nil), deck...)
	rng.Shuffle(len(cards), func(i, j int) { cards[i], cards[j] = cards[j], cards[i] })
	return cards
}

// Apply brings the weather of a round over a net, whose nodes are 1 to n.
func (r Round) Apply(net *Net, n int) {
	for id := crypto.NodeID(1); int(id) <= n; id++ {
		if id == r.At {
			continue
		}
		out, in := Route{r.At, id}, Route{id, r.At}
		w := map[Kind]Weather{
			Latency: {Latency: 20 * time.Millisecond, Jitter: 60 * time.Millisecond},
			Loss:    {Loss: 0.05, Hold: 300 * time.Millisecond},
			Stall:   {Stall: true},
			OneWay:  {Stall: true},
			Refuse:  {Refuse: true},
			Slice:   {Slice: 7},
		}[r.Net]
		net.Set(out, w)
		if r.Net != OneWay {
			net.Set(in, w)
		}
		switch r.Net {
		case Cut, Refuse:
			net.Cut(out)
		case Corrupt:
			net.Corrupt(out)
			net.Corrupt(in)
		}
	}
}
