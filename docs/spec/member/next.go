package main

import (
	"fmt"
	"math/bits"
	"slices"
)

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

func pn(s uint8) string {
	if s == 0 {
		return "-"
	}
	return name[s]
}

func who(p int) string { return nodeName[p : p+1] }

// elect adds every base for which a quorum would vote now.
func (x *State) elect() {
	if x.t == 0 {
		return
	}
	com := x.allCom()
	for bt := uint8(0); bt < x.t; bt++ {
		set := x.qc[bt]
		if bt == 0 {
			set = 1
		}
		for ; set != 0; set &= set - 1 {
			bs := uint8(bits.TrailingZeros16(set))
			if x.ec>>(bt*16+bs)&1 == 1 && !inv["split"] {
				continue
			}
			if x.wins(bt, bs, com) {
				x.ec |= 1 << (bt*16 + bs)
			}
		}
	}
}

// wins says whether a quorum votes for base (bt, bs), and notes which configuration's it was (J3).
func (x *State) wins(bt, bs uint8, com uint16) bool {
	var votes uint
	for p := range nP {
		if !higher(x.n[p].lt, x.n[p].ls, bt, bs) {
			votes |= 1 << p
		}
	}
	judge := func(c int) bool {
		if !holds(votes, c) {
			return false
		}
		if inv["split"] && c < cBoth {
			x.by |= 1 << c
		}
		return true
	}
	if !isConf[bs] || mJ4 {
		return judge(after[bs])
	}
	b := before[bs]
	if muts["j3"] && after[bs] == cOld {
		b = cBoth
	}
	ok := judge(b)
	if com>>bs&1 == 1 && judge(after[bs]) {
		ok = true
	}
	return ok
}

// successors collects what may follow x.
type successors struct {
	x   *State
	qn  uint16 // certified in the current term
	com uint16 // committed in any
	out []step
}

func (n *successors) add(y State, w string) {
	y.elect()
	n.out = append(n.out, step{y, w})
}

// next appends all successors of x.
func next(x *State, out []step) []step {
	n := &successors{x: x, qn: x.qcNow(), out: out}
	if int(x.t) < terms {
		y := *x
		y.qc[x.t], y.com[x.t] = n.qn, x.comNow()
		y.t++
		y.ec, y.by = 0, 0
		for p := range nP {
			y.n[p].ak, y.n[p].cl = 0, 0
		}
		n.add(y, say("term %d", y.t))
	}
	if x.t == 0 || half && int(x.t) == terms {
		return n.out
	}
	n.com = x.allCom()
	for p := range nP {
		if p > 0 && class[p] == class[p-1] && x.n[p] == x.n[p-1] {
			continue
		}
		for s := range uint8(nS) {
			if n.mayAck(p, s) {
				n.ack(p, s)
			}
		}
		if x.n[p].ak > 0 {
			n.lock(p)
		} else if fetch {
			n.fetch(p)
		}
	}
	return n.out
}

// mayAck is A4 and J1, whatever the base.
func (n *successors) mayAck(p int, s uint8) bool {
	nd := n.x.n[p]
	switch {
	case nd.ak > 0 && compat[s]>>(nd.ak-1)&1 == 0: // A4
		return false
	case nd.lt == n.x.t && compat[s]>>nd.ls&1 == 0:
		return false
	case voters && !member(p, before[s]):
		return false
	}
	// J1: beyond a configuration entry only with its commit certificate.
	return mJ1 || needs[s]&^n.com == 0
}

// ack lets p ack s under each election certificate.
func (n *successors) ack(p int, s uint8) {
	nd := n.x.n[p]
	var done []node
	for e := n.x.ec; e != 0; e &= e - 1 {
		k := bits.TrailingZeros64(e)
		bt, bs := uint8(k/16), uint8(k%16)
		if !prefix(bs, s) { // A2
			continue
		}
		z := nd
		if nd.ak == 0 || slen[s] > slen[nd.ak-1] {
			z.ak = s + 1
		}
		if nd.ak == 0 || slen[bs] < slen[nd.lo-1] {
			z.lo = bs + 1
		}
		if z == nd {
			continue
		}
		if compat[s]>>nd.ls&1 == 0 { // A2: gives up entries of its lock, takes the base
			z.lt, z.ls = bt, bs
		}
		if slices.Contains(done, z) {
			continue
		}
		done = append(done, z)
		y := *n.x
		y.n[p] = z
		n.add(y, say("%s acks %s (base %d,%s)", who(p), pn(s), bt, pn(bs)))
	}
}

// lock lets p lock a certificate of this term and say so.
func (n *successors) lock(p int) {
	nd, t := n.x.n[p], n.x.t
	for set := n.qn & anc[nd.ak-1] & desc[nd.lo-1]; set != 0; set &= set - 1 {
		s := uint8(bits.TrailingZeros16(set))
		if s > 0 && higher(t, s, nd.lt, nd.ls) {
			y := *n.x
			y.n[p].lt, y.n[p].ls, y.n[p].cl = t, s, s+1
			n.add(y, say("%s locks %s and says so", who(p), pn(s)))
		}
	}
}

// fetch lets p take an earlier lock, with its entries.
func (n *successors) fetch(p int) {
	nd := n.x.n[p]
	for lt := uint8(1); lt < n.x.t; lt++ {
		for set := n.x.qc[lt]; set != 0; set &= set - 1 {
			s := uint8(bits.TrailingZeros16(set))
			if higher(lt, s, nd.lt, nd.ls) {
				y := *n.x
				y.n[p].lt, y.n[p].ls = lt, s
				n.add(y, say("%s fetches (%d,%s) and locks it", who(p), lt, pn(s)))
			}
		}
	}
}
