package adversary

import (
	"errors"
	"io"

	"tangaroa/bftraft"
	"tangaroa/bftraft/replica"
	"tangaroa/internal/chance"
	"tangaroa/quorumcert"
)

// Options are what every attack needs.
type Options struct {
	// Core is how the member's honest core is made; its Signer is the liar's own key, the only
	// one it has.
	Core bftraft.Config
	// Seed decides whatever the attack leaves to chance.
	Seed uint64
	// Sink is where a leak goes; nil stands for nowhere.
	Sink io.Writer
}

// Env is what a behaviour may use: its key, the honest core it sits on, and a way out.
type Env struct {
	Options
	// Core is the honest core, or what the behaviours before this one make of it.
	Core replica.Protocol
	// Now counts the ticks since the start.
	Now uint64
	// Random is a function of the seed.
	Random *chance.Stream

	queue []bftraft.Outbound
	wire  replica.Transport
	asked [][]byte // the queries that were answered since the last answer left
}

// ID returns the liar's own identity.
func (e *Env) ID() bftraft.NodeID { return e.Options.Core.Signer.ID() }

// Cluster returns the cluster's id.
func (e *Env) Cluster() bftraft.Digest { return e.Options.Core.Cluster }

// Voters returns the configuration that the core goes by, or that of its beginning before there is
// one: a liar follows the members as an honest node does.
func (e *Env) Voters() *quorumcert.Configuration {
	if e.Core == nil {
		return e.Options.Core.Verifier.Configurations().Latest()
	}
	return e.Core.Verifier().Configurations().Latest()
}

// Others returns all voters but the liar.
func (e *Env) Others() bftraft.Set { return e.Voters().Members().Without(e.ID()) }

// Send signs a message, if it is of those that are signed as a whole, and sends it with the next
// Ready, past all behaviours.
func (e *Env) Send(to bftraft.Set, class bftraft.Class, m bftraft.Message) {
	e.queue = append(e.queue, bftraft.Outbound{To: to.Without(e.ID()), Class: class, Msg: e.sign(m)})
}

// Raw sends bytes at once, whatever they are.
func (e *Env) Raw(to bftraft.Set, class bftraft.Class, frame []byte) {
	if e.wire == nil {
		return // its socket is not open yet
	}
	to = to.Without(e.ID())
	for id := to.Next(0); id != 0; id = to.Next(id) {
		e.wire.Send(id, class, frame)
	}
}

// sign signs a message whose signature is that of its sender over the whole of it.
func (e *Env) sign(m bftraft.Message) bftraft.Message {
	switch m.(type) {
	case *bftraft.AppendEntries, *bftraft.AppendEntriesResponse, *bftraft.Suspect,
		*bftraft.RequestVoteResponse:
	default:
		bftraft.SignMessage(e.Options.Core.Signer, e.Cluster(), m)
	}
	return m
}

// resign signs an answer anew that is given to a read, which is the last one there was.
func (e *Env) resign(r *bftraft.ReadReply) []byte {
	r.Sign(e.Options.Core.Signer, e.Cluster(), e.asked)
	return r.Encode()
}

// ack signs an ack.
func (e *Env) ack(a quorumcert.Ack) quorumcert.SignedAck {
	return quorumcert.SignedAck{
		Ack: a, Signer: e.ID(), Sig: quorumcert.Sign(e.Options.Core.Signer, a),
	}
}

// vote signs a vote.
func (e *Env) vote(v quorumcert.Vote) *bftraft.RequestVoteResponse {
	v.Cluster = e.Cluster()
	return &bftraft.RequestVoteResponse{Vote: quorumcert.SignedVote{
		Vote: v, Signer: e.ID(), Sig: quorumcert.Sign(e.Options.Core.Signer, v),
	}}
}

// suspect signs a suspicion.
func (e *Env) suspect(t bftraft.Term) *bftraft.Suspect {
	st := quorumcert.Suspicion{Cluster: e.Cluster(), Term: t}
	return &bftraft.Suspect{
		Term: t, Signer: e.ID(), Sig: quorumcert.Sign(e.Options.Core.Signer, st),
	}
}

// leading says whether the liar leads.
func (e *Env) leading() bool { return e.Core.Leader() == e.ID() }

// tip returns the end of the liar's log.
func (e *Env) tip() bftraft.Position {
	if blocks := e.Core.Uncommitted(); len(blocks) > 0 {
		return blocks[len(blocks)-1].End()
	}
	return e.Core.Commit()
}

// Behaviour is an attack: what becomes of what an honest member hears and says. Embed Honest,
// which changes nothing, and override what the attack needs.
type Behaviour interface {
	// Inbound sees each verified message before the core does; false keeps it from the core.
	Inbound(e *Env, v bftraft.Verified) bool
	// Outbound returns what is sent in place of the messages of one Ready. It must not change
	// the slice or the messages it is given.
	Outbound(e *Env, honest []bftraft.Outbound) []bftraft.Outbound
	// Room says whether a leader that may propose a block does; it is not asked else.
	Room(e *Env) bool
	// Propose returns the entries of the leader's next block, none for no block.
	Propose(e *Env, entries []bftraft.Entry) []bftraft.Entry
	// Tick is called in each tick, after the core's.
	Tick(e *Env)
	// Frame returns what is sent in place of a frame of the replica itself to another node: a
	// client's request on its way to the leader, or a reply.
	Frame(e *Env, to bftraft.NodeID, frame []byte) [][]byte
	// Reply returns what is sent in place of a frame to a client.
	Reply(e *Env, to replica.ClientID, frame []byte) [][]byte
	// Answer returns what a query is answered with: now is what is there, before what was there
	// before that, nil if that is not known.
	Answer(e *Env, now, before []byte) []byte
}

// Honest changes nothing.
type Honest struct{}

// Inbound implements Behaviour.
func (Honest) Inbound(*Env, bftraft.Verified) bool { return true }

// Outbound implements Behaviour.
func (Honest) Outbound(_ *Env, honest []bftraft.Outbound) []bftraft.Outbound { return honest }

// Room implements Behaviour.
func (Honest) Room(*Env) bool { return true }

// Propose implements Behaviour.
func (Honest) Propose(_ *Env, entries []bftraft.Entry) []bftraft.Entry { return entries }

// Tick implements Behaviour.
func (Honest) Tick(*Env) {}

// Frame implements Behaviour.
func (Honest) Frame(_ *Env, _ bftraft.NodeID, frame []byte) [][]byte { return [][]byte{frame} }

// Reply implements Behaviour.
func (Honest) Reply(_ *Env, _ replica.ClientID, frame []byte) [][]byte { return [][]byte{frame} }

// Answer implements Behaviour.
func (Honest) Answer(_ *Env, now, _ []byte) []byte { return now }

// Liar wraps the parts of a replica with behaviours: what one lets out goes into the next.
type Liar struct {
	behaviours []Behaviour
	env        *Env
}

// New returns a liar that does all of the given, in their order.
func New(specs []Spec, o Options) (*Liar, error) {
	var all []Behaviour
	for _, s := range specs {
		b, err := s.behaviour()
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	return Wrap(o, all...)
}

// Wrap returns a liar with behaviours that need not be in the registry.
func Wrap(o Options, behaviours ...Behaviour) (*Liar, error) {
	if o.Core.Signer == nil || o.Core.Verifier == nil || o.Core.Cluster.IsZero() {
		return nil, errors.New("adversary: a liar needs the configuration of its core")
	}
	if o.Sink == nil {
		o.Sink = io.Discard
	}
	return &Liar{behaviours, &Env{Options: o, Random: chance.NewStream(o.Seed)}}, nil
}

// Corrupt returns what makes a replica a liar: it fits node.Config.Corrupt.
func Corrupt(specs []Spec, seed uint64, sink io.Writer) func(*replica.Config) error {
	return func(cfg *replica.Config) error {
		l, err := New(specs, Options{Core: cfg.Core, Seed: seed, Sink: sink})
		if err != nil {
			return err
		}
		cfg.Wrap, cfg.Transport = l.Core, l.Transport(cfg.Transport)
		cfg.Machine = l.Machine(cfg.Machine)
		return nil
	}
}

// Core puts the behaviours around a core; it is made for replica.Config.Wrap.
func (l *Liar) Core(honest replica.Protocol) replica.Protocol {
	l.env.Core = honest
	return &core{honest, l}
}

// Transport puts the behaviours around the way by which the replica itself sends.
func (l *Liar) Transport(honest replica.Transport) replica.Transport {
	l.env.wire = honest
	return &transport{honest, l}
}

// Machine puts the behaviours around the state machine, which they may misquote but not change.
func (l *Liar) Machine(honest replica.StateMachine) replica.StateMachine {
	return &machine{StateMachine: honest, Liar: l}
}

// core is an honest core between behaviours.
type core struct {
	replica.Protocol
	*Liar
}

// Tick implements replica.Protocol.
func (c *core) Tick() {
	c.Protocol.Tick()
	c.env.Now++
	for _, b := range c.behaviours {
		b.Tick(c.env)
	}
}

// Step implements replica.Protocol. A liar does not listen to what is proven against it.
func (c *core) Step(v bftraft.Verified) bftraft.Drop {
	if m, ok := v.Message().(*bftraft.Accusation); ok && m.Evidence.Culprit() == c.env.ID() {
		return bftraft.Duplicate
	}
	for _, b := range c.behaviours {
		if !b.Inbound(c.env, v) {
			return bftraft.Stale
		}
	}
	return c.Protocol.Step(v)
}

// Room implements replica.Protocol.
func (c *core) Room() bool {
	if !c.Protocol.Room() {
		return false
	}
	for _, b := range c.behaviours {
		if !b.Room(c.env) {
			return false
		}
	}
	return true
}

// Propose implements replica.Protocol.
func (c *core) Propose(entries []bftraft.Entry) {
	for _, b := range c.behaviours {
		entries = b.Propose(c.env, entries)
	}
	if len(entries) > 0 {
		c.Protocol.Propose(entries)
	}
}

// Ready returns the core's Ready with other messages in it. The messages slice is the core's own,
// so it is replaced and never changed.
func (c *core) Ready() (bftraft.Ready, bool) {
	r, some := c.Protocol.Ready()
	messages := r.Messages
	for _, b := range c.behaviours {
		messages = b.Outbound(c.env, messages)
	}
	if len(c.env.queue) > 0 {
		messages = append(messages[:len(messages):len(messages)], c.env.queue...)
		c.env.queue = nil
	}
	r.Messages = messages
	r.Accused, r.Forgot = false, false // a liar goes on when it is found out
	return r, some || len(messages) > 0
}

// transport is the replica's own way out. Messages of the core pass here too, after the behaviours
// have had their way with them.
type transport struct {
	replica.Transport
	*Liar
}

// Send implements replica.Transport.
func (t *transport) Send(to bftraft.NodeID, class bftraft.Class, frame []byte) {
	frames := [][]byte{frame}
	switch frame[0] {
	case bftraft.FrameRequest, bftraft.FrameReply, bftraft.FrameStatePart:
		for _, b := range t.behaviours {
			frames = each(frames, func(f []byte) [][]byte { return b.Frame(t.env, to, f) })
		}
	}
	for _, f := range frames {
		t.Transport.Send(to, class, f)
	}
}

// Reply implements replica.Transport.
func (t *transport) Reply(to replica.ClientID, frame []byte) {
	frames := [][]byte{frame}
	for _, b := range t.behaviours {
		frames = each(frames, func(f []byte) [][]byte { return b.Reply(t.env, to, f) })
	}
	if frame[0] == bftraft.FrameReadReply {
		t.env.asked = nil
	}
	for _, f := range frames {
		t.Transport.Reply(to, f)
	}
}

func each(frames [][]byte, do func([]byte) [][]byte) [][]byte {
	var out [][]byte
	for _, f := range frames {
		out = append(out, do(f)...)
	}
	return out
}
