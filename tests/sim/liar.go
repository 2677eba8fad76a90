package sim

import (
	"bytes"
	"slices"
	"strings"

	"tangaroa/adversary"
	"tangaroa/bftraft"
	"tangaroa/bftraft/replica"
	"tangaroa/quorumcert"
)

// The liars that only a simulator can have: those of the disk.
const (
	amnesiac  = "rolled-back" // behaves, but at a crash its disk is mostly put back, guard and all
	plotter   = "plotter"     // leads two halves apart, with the keys of all who plot
	lyingDisk = "lying-disk"  // behaves, but its disk calls flushed what it has not flushed
)

// ownAttacks are the liars of this package, besides those of package adversary: they do at random
// what those do with a plan.
var ownAttacks = []string{"chaos", "flatterer", "hoarder", "two-faced", amnesiac, lyingDisk}

// whereItMatters are those that are drawn where there are changes of the voters, or checkpoints.
var whereItMatters = append([]string{falseState}, turncoats...)

// isOwn says whether an attack is one of this package.
func isOwn(name string) bool {
	return name == plotter || slices.Contains(ownAttacks, name) ||
		slices.Contains(whereItMatters, name)
}

// poison is the attack of who serves states: it is drawn where states are fetched.
const poison = "poison"

// attackNames lists all that a liar may do anywhere.
func attackNames() []string { return append(slices.Clone(ownAttacks), adversary.Names()...) }

// drawAttack draws an attack, and a word for one of its options.
func drawAttack(r *stream) string {
	names := attackNames()
	names = slices.DeleteFunc(names, func(name string) bool { return name == poison })
	return drawVariant(r, names[r.below(len(names))])
}

// drawVariant draws a word for one of an attack's options.
func drawVariant(r *stream, name string) string {
	for _, a := range adversary.All() {
		if a.Name == name {
			all := variantsOf(a)
			text := all[r.below(len(all))]
			for _, o := range a.Options {
				if o.Name == "rate" {
					text += ",rate=2" // a flood proves as much, and the run takes less time
				}
			}
			return text
		}
	}
	return name
}

// baseOf returns the name of an attack without its options.
func baseOf(attack string) string {
	name, _, _ := strings.Cut(attack, ",")
	return name
}

// variantsOf lists an attack as on a command line, with each of the words that its options take.
func variantsOf(a adversary.Attack) []string {
	all := []string{a.Name}
	for _, o := range a.Options {
		for _, word := range o.Words {
			if word != o.Default {
				all = append(all, a.Name+","+o.Name+"="+word)
			}
		}
	}
	return all
}

// lies says whether an attack is among those of a node.
func (m *member) lies(attack string) bool { return slices.Contains(m.attacks, attack) }

// hurts counts what an attack changed, added or kept back.
func (m *member) hurts(attack string, n int) {
	if n == 0 {
		return
	}
	if m.harm == nil {
		m.harm = make(map[string]int)
	}
	m.harm[baseOf(attack)] += n
}

// corrupt puts a liar's attacks around what it is made of, in their order, and meters around each,
// which see whether it changed anything.
func (w *World) corrupt(m *member, cfg *replica.Config) {
	m.disk.Lie(m.lies(lyingDisk))
	var wraps []func(replica.Protocol) replica.Protocol
	for _, name := range m.attacks {
		switch name {
		case amnesiac, lyingDisk:
			wraps = append(wraps,
				func(p replica.Protocol) replica.Protocol { return &shameless{p, w, m} })
			continue
		}
		before, after := &meter{m: m, attack: name}, &meter{m: m, attack: name}
		attack := func(p replica.Protocol) replica.Protocol { return newLiar(w, m, name, p) }
		cfg.Transport = &leaving{cfg.Transport, after}
		if !isOwn(name) {
			liar := w.adversary(m, name, cfg.Core)
			attack = liar.Core
			cfg.Transport = liar.Transport(cfg.Transport)
			honest := &quoted{freezing: cfg.Machine.(freezing)}
			cfg.Machine = &misquoting{liar.Machine(honest).(freezing), honest, after}
		}
		cfg.Transport = &entering{cfg.Transport, after}
		wraps = append(wraps,
			func(p replica.Protocol) replica.Protocol { return &expecting{p, before} }, attack,
			func(p replica.Protocol) replica.Protocol { return &seeing{p, before} })
	}
	cfg.Wrap = func(p replica.Protocol) replica.Protocol {
		for _, wrap := range wraps {
			p = wrap(p)
		}
		return p
	}
}

// adversary makes an attack of package adversary, given as on a command line.
func (w *World) adversary(m *member, text string, core bftraft.Config) *adversary.Liar {
	spec, err := adversary.Parse(text)
	if err != nil {
		panic(err)
	}
	liar, err := adversary.New([]adversary.Spec{spec}, adversary.Options{
		Core: core, Seed: w.opt.Seed ^ uint64(m.id)<<8 ^ uint64(m.boots), Sink: &party{m, text},
	})
	if err != nil {
		panic(err)
	}
	return liar
}

// meter sees whether what goes in comes out.
type meter struct {
	m       *member
	attack  string
	pending map[uint64]int

	heard, room bool   // what came to the honest core of a message, and what it said of its room
	proposed    uint64 // the entries that came to it
}

func (t *meter) in(key uint64) {
	if t.pending == nil {
		t.pending = make(map[uint64]int)
	}
	t.pending[key]++
}

// out counts what did not come in as harm.
func (t *meter) out(key uint64) {
	if t.pending[key] == 0 {
		t.m.hurts(t.attack, 1)
		return
	}
	if t.pending[key]--; t.pending[key] == 0 {
		delete(t.pending, key)
	}
}

// rest counts what did not come out as harm.
func (t *meter) rest() {
	t.m.hurts(t.attack, len(t.pending))
	clear(t.pending)
}

// expecting is the honest core inside a liar: what it wants said goes into the meter, and what it
// is not told does not.
type expecting struct {
	replica.Protocol
	meter *meter
}

// Step implements replica.Protocol.
func (p *expecting) Step(v bftraft.Verified) bftraft.Drop {
	p.meter.heard = true
	return p.Protocol.Step(v)
}

// Room implements replica.Protocol.
func (p *expecting) Room() bool {
	p.meter.room = p.Protocol.Room()
	return p.meter.room
}

// Propose implements replica.Protocol.
func (p *expecting) Propose(entries []bftraft.Entry) {
	p.meter.proposed = digestOf(entries)
	p.Protocol.Propose(entries)
}

// Ready implements replica.Protocol.
func (p *expecting) Ready() (bftraft.Ready, bool) {
	r, some := p.Protocol.Ready()
	for _, o := range r.Messages {
		tellEach(o, p.meter.in)
	}
	return r, some
}

// seeing is the liar from outside.
type seeing struct {
	replica.Protocol
	meter *meter
}

// Step implements replica.Protocol.
func (p *seeing) Step(v bftraft.Verified) bftraft.Drop {
	p.meter.heard = false
	drop := p.Protocol.Step(v)
	if !p.meter.heard {
		p.meter.m.hurts(p.meter.attack, 1)
	}
	return drop
}

// Room implements replica.Protocol.
func (p *seeing) Room() bool {
	p.meter.room = false
	room := p.Protocol.Room()
	if p.meter.room && !room {
		p.meter.m.hurts(p.meter.attack, 1)
	}
	return room
}

// Propose implements replica.Protocol.
func (p *seeing) Propose(entries []bftraft.Entry) {
	p.meter.proposed = 0
	p.Protocol.Propose(entries)
	if p.meter.proposed != digestOf(entries) {
		p.meter.m.hurts(p.meter.attack, 1)
	}
}

// Ready implements replica.Protocol.
func (p *seeing) Ready() (bftraft.Ready, bool) {
	r, some := p.Protocol.Ready()
	r.Accused, r.Forgot = false, false // a liar goes on when it is found out
	for _, o := range r.Messages {
		tellEach(o, p.meter.out)
	}
	p.meter.rest()
	return r, some
}

func digestOf(entries []bftraft.Entry) uint64 {
	h := mix(uint64(len(entries)) + 1)
	for _, e := range entries {
		h = mix(h ^ digest(e.Data) ^ uint64(e.Kind))
	}
	return h
}

func tellEach(o bftraft.Outbound, tell func(uint64)) {
	hash := digest(bftraft.Encode(o.Msg))
	for id := o.To.Next(0); id != 0; id = o.To.Next(id) {
		tell(mix(hash ^ uint64(id)))
	}
}

// entering and leaving are the two ends of a liar's socket: what the replica sends, and what
// leaves.
type entering struct {
	replica.Transport
	meter *meter
}

// Send implements replica.Transport.
func (p *entering) Send(to bftraft.NodeID, class bftraft.Class, frame []byte) {
	p.meter.in(mix(digest(frame) ^ uint64(to)))
	p.Transport.Send(to, class, frame)
	p.meter.rest()
}

// Reply implements replica.Transport.
func (p *entering) Reply(to replica.ClientID, frame []byte) {
	p.meter.in(digest(frame))
	p.Transport.Reply(to, frame)
	p.meter.rest()
}

type leaving struct {
	replica.Transport
	meter *meter
}

// Send implements replica.Transport.
func (p *leaving) Send(to bftraft.NodeID, class bftraft.Class, frame []byte) {
	p.meter.out(mix(digest(frame) ^ uint64(to)))
	p.Transport.Send(to, class, frame)
}

// Reply implements replica.Transport.
func (p *leaving) Reply(to replica.ClientID, frame []byte) {
	p.meter.out(digest(frame))
	p.Transport.Reply(to, frame)
}

// liar is a faulty voter: an honest core inside, whose messages it changes on their way out. It
// holds its own key only.
type liar struct {
	replica.Protocol
	w      *World
	m      *member
	attack string
	random *stream
	heard  []bftraft.Message // old messages of its own, to send again
	boots  [65]int           // how often it has seen each node start
}

func newLiar(w *World, m *member, attack string, p replica.Protocol) *liar {
	return &liar{
		Protocol: p, w: w, m: m, attack: attack,
		random: newStream(w.opt.Seed^uint64(m.id)<<8^uint64(m.boots), "lies"),
	}
}

// Tick implements replica.Protocol: a hoarder that leads tells who has just started again, and may
// have forgotten what it was told, another story than the one that it acked.
func (l *liar) Tick() {
	l.Protocol.Tick()
	for _, v := range l.w.nodes {
		again := v.boots != l.boots[v.id]
		l.boots[v.id] = v.boots
		if again && l.attack == "hoarder" && l.Protocol.Leader() == l.m.id {
			l.retell(v)
		}
	}
}

// retell proposes another block in place of the one that a node has acked last.
func (l *liar) retell(v *member) {
	mark := v.saved.Mark
	b, ok := l.m.disk.Block(mark.Index)
	if !ok || mark.Term != l.Protocol.Term() || b.End() != positionOf(mark) || v == l.m {
		return
	}
	other := bftraft.NewBlock(b.Before(), append(slices.Clone(b.Entries()), b.Entries()[0]))
	a := quorumcert.Ack{
		Cluster: l.w.cluster, Term: mark.Term, Index: other.Last(), Hash: other.Hash(),
	}
	l.tell(&bftraft.AppendEntries{Blocks: []*bftraft.Block{other}, Ack: quorumcert.SignedAck{
		Ack: a, Signer: l.m.id, Sig: quorumcert.Sign(l.m.signer, a),
	}}, quorumcert.SetOf(v.id))
}

// Step implements replica.Protocol: the liar may answer what it hears.
func (l *liar) Step(v bftraft.Verified) bftraft.Drop {
	if l.attack == neverCloses && l.overhears(v) {
		return bftraft.Stale
	}
	drop := l.Protocol.Step(v)
	switch l.attack {
	case "flatterer":
		if m, ok := v.Message().(*bftraft.RequestVote); ok {
			l.vote(m.Term, v.From(), m.Lock)
		}
	case "chaos":
		if m, ok := v.Message().(*bftraft.RequestVote); ok && l.random.chance(500) {
			l.vote(m.Term, v.From(), m.Lock)
		}
		if m, ok := v.Message().(*bftraft.AppendEntries); ok && l.random.chance(300) {
			l.ack(m.Ack.Ack)
		}
	}
	return drop
}

// vote votes for whoever asks.
func (l *liar) vote(t bftraft.Term, candidate bftraft.NodeID, lock bftraft.Lock) {
	v := quorumcert.Vote{Cluster: l.w.cluster, Term: t, Candidate: candidate, Lock: lock}
	l.tell(&bftraft.RequestVoteResponse{Vote: quorumcert.SignedVote{
		Vote: v, Signer: l.m.id, Sig: quorumcert.Sign(l.m.signer, v),
	}}, l.everybody())
}

// ack acks what it has not stored, and claims it certified.
func (l *liar) ack(a quorumcert.Ack) {
	a.Certified = a.Index
	l.tell(&bftraft.AppendEntriesResponse{Ack: quorumcert.SignedAck{
		Ack: a, Signer: l.m.id, Sig: quorumcert.Sign(l.m.signer, a),
	}}, l.everybody())
}

func (l *liar) everybody() bftraft.Set {
	return l.w.verifier.Configurations().Latest().Members().Without(l.m.id)
}

func (l *liar) tell(m bftraft.Message, to bftraft.Set) {
	frame := bftraft.Encode(m)
	for id := to.Next(0); id != 0; id = to.Next(id) {
		l.m.hurts(l.attack, 1)
		l.w.transmit(int(l.m.id)-1, int(id)-1, frame, 0)
	}
}

// Ready implements replica.Protocol.
func (l *liar) Ready() (bftraft.Ready, bool) {
	r, some := l.Protocol.Ready()
	var out []bftraft.Outbound
	for _, o := range r.Messages {
		out = append(out, l.change(o)...)
	}
	r.Messages = out
	return r, some
}

func (l *liar) change(o bftraft.Outbound) []bftraft.Outbound {
	switch l.attack {
	case "hoarder": // serves a bare quorum only
		o.To &= bftraft.Set(1)<<(quorumcert.ForNodes(l.w.opt.Nodes).Q) - 1
		return []bftraft.Outbound{o}
	case "two-faced":
		return l.equivocate(o)
	case plotter:
		return l.plot(o)
	case "chaos":
		return l.chaos(o)
	case hasty:
		return l.closesSoon(o)
	case twoClosings:
		return l.closesTwice(o)
	case secretive:
		return l.hides(o)
	case falseState:
		return l.falsifies(o)
	}
	return []bftraft.Outbound{o}
}

// equivocate proposes two blocks for one place.
func (l *liar) equivocate(o bftraft.Outbound) []bftraft.Outbound {
	m, ok := o.Msg.(*bftraft.AppendEntries)
	if !ok || len(m.Blocks) != 1 {
		return []bftraft.Outbound{o}
	}
	b := m.Blocks[0]
	entries := append(append([]bftraft.Entry(nil), b.Entries()...), b.Entries()[0])
	if n := len(b.Entries()); n > 1 && l.random.chance(700) {
		entries = entries[:n] // shorter, or as long but in another order
		if l.random.chance(500) {
			entries = entries[:1]
		}
		slices.Reverse(entries)
	}
	other := bftraft.NewBlock(b.Before(), entries)
	a := m.Ack.Ack
	a.Index, a.Hash, a.Certified = other.Last(), other.Hash(), min(a.Certified, other.Last())
	twin := &bftraft.AppendEntries{
		Blocks: []*bftraft.Block{other}, Election: m.Election, BaseQC: m.BaseQC,
		Ack: quorumcert.SignedAck{Ack: a, Signer: l.m.id, Sig: quorumcert.Sign(l.m.signer, a)},
	}
	some := bftraft.Set(l.random.next()) & o.To
	return []bftraft.Outbound{
		{To: o.To &^ some, Class: o.Class, Msg: m}, {To: some, Class: o.Class, Msg: twin},
	}
}

// chaos loses, repeats, equivocates and misdirects at random.
func (l *liar) chaos(o bftraft.Outbound) []bftraft.Outbound {
	if l.random.chance(200) {
		o.To &= bftraft.Set(l.random.next())
	}
	out := []bftraft.Outbound{o}
	if l.random.chance(300) {
		out = l.equivocate(o)
	}
	if len(l.heard) < 200 {
		l.heard = append(l.heard, o.Msg)
	} else {
		l.heard[l.random.below(len(l.heard))] = o.Msg
	}
	if l.random.chance(200) {
		out = append(out, bftraft.Outbound{
			To: o.To, Class: o.Class, Msg: l.heard[l.random.below(len(l.heard))],
		})
	}
	if l.random.chance(30) {
		t := l.Protocol.Term()
		out = append(out, bftraft.Outbound{To: o.To, Msg: &bftraft.Suspect{
			Term: t, Signer: l.m.id, Sig: quorumcert.Sign(l.m.signer,
				quorumcert.Suspicion{Cluster: l.w.cluster, Term: t}),
		}})
	}
	return out
}

// plot proposes one block to the honest nodes of even identity and another to the rest, and has
// all who plot ack, and claim certified, to each half what that half was told.
func (l *liar) plot(o bftraft.Outbound) []bftraft.Outbound {
	m, ok := o.Msg.(*bftraft.AppendEntries)
	if !ok || len(m.Blocks) != 1 {
		return []bftraft.Outbound{o}
	}
	b := m.Blocks[0]
	other := bftraft.NewBlock(b.Before(), append(slices.Clone(b.Entries()), b.Entries()[0]))
	var out []bftraft.Outbound
	for half, block := range []*bftraft.Block{b, other} {
		var to bftraft.Set
		for id := o.To.Next(0); id != 0; id = o.To.Next(id) {
			if int(id)%2 == half {
				to = to.With(id)
			}
		}
		a := m.Ack.Ack
		a.Index, a.Hash, a.Certified = block.Last(), block.Hash(), block.Last()
		for _, accomplice := range l.w.nodes {
			if !accomplice.lies(plotter) {
				continue
			}
			ack := quorumcert.SignedAck{Ack: a, Signer: accomplice.id,
				Sig: quorumcert.Sign(accomplice.signer, a)}
			if accomplice != l.m {
				frame := bftraft.Encode(&bftraft.AppendEntriesResponse{Ack: ack})
				for id := to.Next(0); id != 0; id = to.Next(id) {
					l.w.transmit(int(accomplice.id)-1, int(id)-1, frame, 1)
				}
				continue
			}
			out = append(out, bftraft.Outbound{To: to, Class: o.Class, Msg: &bftraft.AppendEntries{
				Blocks: []*bftraft.Block{block}, Election: m.Election, BaseQC: m.BaseQC, Ack: ack,
			}})
		}
	}
	return out
}

// quoted is the state machine inside a liar, and what it answered last.
type quoted struct {
	freezing
	last []byte
}

// freezing is a state machine of which checkpoints can be taken.
type freezing interface {
	replica.StateMachine
	replica.Freezer
}

// Query implements replica.StateMachine.
func (q *quoted) Query(query []byte) []byte {
	q.last = q.freezing.Query(query)
	return q.last
}

// misquoting is a liar's state machine with a meter beside it.
type misquoting struct {
	freezing
	honest *quoted
	meter  *meter
}

// Query implements replica.StateMachine.
func (p *misquoting) Query(query []byte) []byte {
	answer := p.freezing.Query(query)
	if !bytes.Equal(answer, p.honest.last) {
		p.meter.m.hurts(p.meter.attack, 1)
	}
	return answer
}
