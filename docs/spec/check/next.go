package main

import (
	"fmt"
	"math/bits"
)

// step is a state and, while a trace is told, what led to it.
type step struct {
	st   State
	what string
}

var tracing bool

func say(f string, a ...any) string {
	if !tracing {
		return ""
	}
	return fmt.Sprintf(f, a...)
}

// successors collects what may follow x.
type successors struct {
	x   *State
	qn  uint16 // certified in the current term
	out []step
}

func (n *successors) add(y State, w string) { n.out = append(n.out, step{y, w}) }

// addNew is add unless nothing has changed.
func (n *successors) addNew(y State, f string, a ...any) {
	if y != *n.x {
		n.add(y, say(f, a...))
	}
}

// next appends all successors of x.
func next(x *State, out []step) []step {
	n := &successors{x: x, qn: x.qcNow(), out: out}
	if int(x.t) < terms {
		n.nextTerm()
	}
	if x.t == 0 {
		return n.out
	}
	for c := range 4 {
		n.elect(c)
	}
	for p := range 3 {
		n.fetch(p)
	}
	if half && int(x.t) == terms {
		return n.out
	}
	for p := range 3 {
		n.propose(p)
	}
	for p := range 3 {
		for c := range 4 {
			if c != p {
				n.follow(p, c)
			}
		}
		n.lock(p)
		n.announce(p)
		n.catchUp(p)
		if m4 && x.lockT[p] > 0 {
			y := *x
			y.lockT[p], y.lockS[p] = 0, 0
			n.add(y, say("n%d crashes and forgets its lock", p+1))
		}
	}
	return n.out
}

func (n *successors) nextTerm() {
	y := *n.x
	y.qc[y.t], y.com[y.t] = n.qn, y.comNow()
	if avail2 {
		y.own[y.t] = y.ownNow()
	}
	if m6 {
		for p := range 3 {
			y.claimed[p] |= n.x.claims(p)
		}
	}
	y.t++
	y.ec = [4]uint64{}
	y.ack = [3][maxS]uint8{}
	n.add(y, say("term %d", y.t))
}

// elect lets candidate c win with whatever lock it can show.
func (n *successors) elect(c int) {
	x := n.x
	for d := range 4 {
		if d != c && x.ec[d] != 0 && !m9 { // one leader a term
			return
		}
	}
	if norevote && x.ec[c] != 0 || c < 3 && x.acked(c) != 0 {
		return
	}
	if m2 {
		n.electByLog(c)
		return
	}
	for bt := uint8(0); bt < x.t; bt++ {
		set := x.qc[bt]
		if bt == 0 {
			set = 1
		}
		for ; set != 0; set &= set - 1 {
			bs := uint8(bits.TrailingZeros16(set))
			if !x.mayElect(c, bt, bs) {
				continue
			}
			y := *x
			y.ec[c] |= 1 << (bt*16 + bs)
			n.add(y, say("%s elected in term %d with base (%d,%s)", who(c), x.t, bt, name(bs)))
		}
	}
}

// mayElect says whether c can show the lock (bt, bs), has not been elected with one as high, and
// finds a quorum of voters that hold nothing higher.
func (x *State) mayElect(c int, bt, bs uint8) bool {
	for e := x.ec[c]; e != 0; e &= e - 1 {
		k := bits.TrailingZeros64(e)
		if !higher(bt, bs, uint8(k/16), uint8(k%16)) {
			return false
		}
	}
	if c < 3 && (bt != x.lockT[c] || bs != x.lockS[c]) {
		return false
	}
	if c < 3 && catchup && !prefix(bs, x.log[c]) && !d14stand {
		return false // its lock is a floor, and nothing to stand with (14)
	}
	votes := 0
	for p := range 3 {
		if !higher(x.lockT[p], x.lockS[p], bt, bs) {
			votes++
		}
	}
	return enough(votes)
}

// electByLog is Raft's own rule (m2): the later last term, then the longer log, wins; a faulty
// candidate claims anything.
func (n *successors) electByLog(c int) {
	x := n.x
	if x.ec[c] != 0 {
		return
	}
	for bt := uint8(0); bt < x.t; bt++ {
		for bs := range uint8(nS) {
			if c < 3 && (bt != x.ackT[c] || bs != x.log[c]) {
				continue
			}
			votes := 0
			for p := range 3 {
				if !higher(x.ackT[p], x.log[p], bt, bs) {
					votes++
				}
			}
			if enough(votes) {
				y := *x
				y.ec[c] |= 1 << (bt*16 + bs)
				n.add(y, say("%s elected in term %d claiming log (%d,%s)", who(c), x.t, bt, name(bs)))
			}
		}
	}
}

// fetch lets a candidate take a higher lock with its entries, whether it is then elected or not.
func (n *successors) fetch(p int) {
	x := n.x
	if x.acked(p) != 0 || m2 {
		return
	}
	for bt := uint8(1); bt < x.t; bt++ {
		for set := x.qc[bt]; set != 0; set &= set - 1 {
			bs := uint8(bits.TrailingZeros16(set))
			if !higher(bt, bs, x.lockT[p], x.lockS[p]) {
				continue
			}
			y := *x
			y.lockT[p], y.lockS[p] = bt, bs
			if !prefix(bs, y.log[p]) {
				y.log[p] = bs
			}
			n.add(y, say("n%d fetches (%d,%s) and locks it", p+1, bt, name(bs)))
		}
	}
}

// propose lets an honest leader ack, and so propose, along or beyond its log.
func (n *successors) propose(p int) {
	x := n.x
	if x.silenced(p) {
		return
	}
	for e := x.ec[p]; e != 0; e &= e - 1 {
		bs := uint8(bits.TrailingZeros64(e) % 16)
		if !prefix(bs, x.log[p]) {
			continue
		}
		for s := range uint8(nS) {
			if !prefix(bs, s) || compat[s]>>x.log[p]&1 == 0 {
				continue
			}
			y := *x
			if !prefix(s, y.log[p]) {
				y.log[p] = s
			}
			y.addAck(p, s)
			n.addNew(y, "leader n%d proposes %s", p+1, name(s))
		}
	}
}

// follow lets p go along with leader c.
func (n *successors) follow(p, c int) {
	x := n.x
	if x.silenced(p) && !d16acks {
		return
	}
	for e := x.ec[c]; e != 0; e &= e - 1 {
		k := bits.TrailingZeros64(e)
		bt, bs := uint8(k/16), uint8(k%16)
		for s := range uint8(nS) {
			if partial || m11 {
				n.cutFirst(p, s, bs)
			}
			if c < 3 && x.ack[c][s] == 0 || !x.accepts(p, s, bs) {
				continue
			}
			y := *x
			if !prefix(s, y.log[p]) {
				y.log[p] = s
			}
			lost := !prefix(y.lockS[p], y.log[p]) && !keep && !m8
			if lost || m13 && higher(y.lockT[p], y.lockS[p], bt, bs) {
				y.lockT[p], y.lockS[p] = bt, bs
			}
			y.addAck(p, s)
			n.addNew(y, "n%d accepts and acks %s from %s", p+1, name(s), who(c))
		}
	}
}

// accepts is A2 and A4: nothing below the base, nothing against what is frozen in this term.
func (x *State) accepts(p int, s, bs uint8) bool {
	if slen[bs] > slen[s] || !m7 && !prefix(bs, s) {
		return false
	}
	if m5 {
		return true
	}
	if x.acked(p)&^compat[s] != 0 && !(d16acks && x.silenced(p) && compat[s]>>x.log[p]&1 == 1) {
		return false
	}
	return nolockfreeze || x.lockT[p] != x.t || compat[s]>>x.lockS[p]&1 == 1
}

// cutFirst lets the old suffix go before the base is there (m11, partial).
func (n *successors) cutFirst(p int, s, bs uint8) {
	x := n.x
	if x.acked(p) != 0 || s == bs || !prefix(s, bs) ||
		prefix(s, x.log[p]) && compat[bs]>>x.log[p]&1 == 1 {
		return
	}
	y := *x
	y.log[p] = s
	if m11 && !prefix(y.lockS[p], s) {
		y.lockT[p], y.lockS[p] = 0, 0
	}
	n.addNew(y, "n%d cuts its log to %s on the way to the base", p+1, name(s))
}

// lock lets p take a certificate whose entries it has.
func (n *successors) lock(p int) {
	x := n.x
	for lt := uint8(1); lt <= x.t; lt++ {
		set := x.qc[lt]
		if lt == x.t {
			set = n.qn
		}
		if !m8 && !empty {
			set &= anc[x.log[p]]
		}
		for ; set != 0; set &= set - 1 {
			ls := uint8(bits.TrailingZeros16(set))
			if higher(lt, ls, x.lockT[p], x.lockS[p]) {
				y := *x
				y.lockT[p], y.lockS[p] = lt, ls
				n.add(y, say("n%d locks QC(%d,%s)", p+1, lt, name(ls)))
			}
		}
	}
}

// announce lets p say that it holds its lock.
func (n *successors) announce(p int) {
	x := n.x
	if x.acked(p) == 0 || x.lockT[p] != x.t || x.silenced(p) && !d16claims {
		return
	}
	best := x.mark(p)
	y := *x
	y.addAck(p, best)
	n.addNew(y, "n%d acks %s with c=%d", p+1, name(best), y.ack[p][best]-1)
}

// catchUp lets p take a chain that is proven committed. A lock that is left without entries, by a
// commit of a later term than its own, stays as a floor (14).
func (n *successors) catchUp(p int) {
	x := n.x
	if !catchup {
		return
	}
	for ct := uint8(1); ct <= x.t; ct++ {
		set := x.com[ct]
		switch {
		case ct == x.t && d14cert:
			set = n.qn
		case ct == x.t:
			set = x.comNow()
		case d14cert:
			set = x.qc[ct]
		}
		for ; set != 0; set &= set - 1 {
			s := uint8(bits.TrailingZeros16(set))
			if prefix(s, x.log[p]) || ct <= x.lockT[p] && compat[s]>>x.lockS[p]&1 == 0 {
				continue
			}
			y := *x
			y.log[p] = s
			n.add(y, say("n%d catches up with %s, committed in term %d", p+1, name(s), ct))
		}
	}
}
