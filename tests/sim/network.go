package sim

// network decides the fate of each message by a keyed hash of seed, link, content and how often
// that content went over the link, not by a common stream: taking one fault away leaves the fates
// of all other messages as they are.
type network struct {
	opt     Options
	repeats [1 << 14]uint8 // how often a content was sent, by hash; a collision does no harm
	cut     [maxEnds][maxEnds]int
	free    [maxEnds][maxEnds]int // when a slow link has carried all that was sent
	rate    [maxEnds][maxEnds]int // bytes a millisecond of slow links, 0 for others
	also    [maxEnds]int          // index of the node that gets what is for another, plus one
	newest  [maxEnds][maxEnds]int // when the newest message to have arrived was sent
	dark    int                   // what would arrive before then is lost
	watch   *observer
}

// maxEnds bounds nodes and clients of a world together.
const maxEnds = 64

func newNetwork(o Options) *network { return &network{opt: o} }

// endOfClient is a client's index as an end of a link.
func endOfClient(i int) int { return 32 + i }

func (n *network) draw(from, to int, hash uint64) *stream {
	key := mix(n.opt.Seed ^ mix(hash^uint64(from)<<40^uint64(to)<<48))
	slot := &n.repeats[key%uint64(len(n.repeats))]
	*slot++
	return &stream{mix(key + uint64(*slot)*0x9e3779b97f4a7c15)}
}

// fate returns the delays after which a message arrives: none if it is lost, several if it is
// repeated. Frames between clients and nodes are never repeated, their links being streams.
func (n *network) fate(now, from, to int, hash uint64, size int, calm bool) []int {
	r := n.draw(from, to, hash)
	drop, again := r.chance(n.opt.DropPermille), r.chance(n.opt.CopyPermille)
	first, second := n.oneDelay(r, calm), n.oneDelay(r, calm)+r.below(3000)
	switch {
	case n.cut[from][to] > 0:
		n.watch.hit(netCut)
		return nil
	case calm:
		return []int{first}
	case drop:
		n.watch.hit(netDrop)
		return nil
	}
	first += n.queue(now, from, to, size)
	if again && from < endOfClient(0) && to < endOfClient(0) {
		n.watch.hit(netCopy)
		return []int{first, second}
	}
	return []int{first}
}

// queue is the time a message waits for those before it on a slow link.
func (n *network) queue(now, from, to, size int) int {
	rate := n.rate[from][to]
	if rate == 0 {
		return 0
	}
	start := max(now, n.free[from][to])
	n.free[from][to] = start + size/rate
	if wait := n.free[from][to] - now; wait > 0 {
		n.watch.hit(netSlow)
		return wait
	}
	return 0
}

func (n *network) oneDelay(r *stream, calm bool) int {
	d := r.between(1, n.opt.MaxDelay)
	tail, factor := r.chance(n.opt.TailPermille), r.between(1, 10)
	if r.chance(50) {
		factor *= 10
	}
	if tail && !calm {
		if d*factor > n.opt.MaxDelay {
			n.watch.hit(netTail)
		}
		return d * factor
	}
	return d
}

// arrived notes when a message that arrives was sent, and counts those that overtook others.
func (n *network) arrived(from, to, sent int) {
	if sent < n.newest[from][to] {
		n.watch.hit(netOrder)
		return
	}
	n.newest[from][to] = sent
}

// sever cuts or heals the directed link. Cuts of several faults add up.
func (n *network) sever(from, to, by int) {
	if from != to {
		n.cut[from][to] += by
	}
}

// heal mends all links.
func (n *network) heal() {
	n.dark = 0
	clear(n.cut[:])
	clear(n.rate[:])
	clear(n.also[:])
}
