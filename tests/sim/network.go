package sim

// network decides the fate of each message by a keyed hash of seed, link and number, not by a
// common stream: taking one fault away leaves all others where they are.
type network struct {
	opt   Options
	count map[[2]int]uint64
	cut   map[[2]int]bool // directed links that take nothing
	dark  int             // until then nothing that was sent before arrives
}

func newNetwork(o Options) *network {
	return &network{opt: o, count: make(map[[2]int]uint64), cut: make(map[[2]int]bool)}
}

func (n *network) draw(from, to int) *stream {
	link := [2]int{from, to}
	n.count[link]++
	return &stream{mix(n.opt.Seed ^ mix(uint64(from)<<40|uint64(to)<<32|n.count[link]))}
}

// fate returns the delays after which a message arrives: none if it is lost, several if it is
// repeated.
func (n *network) fate(from, to int, calm bool) []int {
	r := n.draw(from, to)
	if n.cut[[2]int{from, to}] || !calm && r.chance(n.opt.DropPermille) {
		return nil
	}
	delays := []int{n.oneDelay(r, calm)}
	if !calm && r.chance(n.opt.CopyPermille) {
		delays = append(delays, n.oneDelay(r, calm)+r.below(3000))
	}
	return delays
}

func (n *network) oneDelay(r *stream, calm bool) int {
	d := r.between(1, n.opt.MaxDelay)
	if !calm && r.chance(n.opt.TailPermille) {
		d *= r.between(1, 10)
	}
	return d
}

// delay is the time a frame between client and node takes; those links lose nothing.
func (n *network) delay(from, to int) int {
	return n.draw(from, to).between(1, n.opt.MaxDelay)
}
