package adversary

import (
	"errors"
	"fmt"
	"strings"

	"tangaroa/bftraft"
	"tangaroa/bftraft/replica"
	"tangaroa/crypto"
)

// ErrUnknown is returned when there is no attack of a name.
var ErrUnknown = errors.New("there is no such adversary")

// Options are what every attack needs.
type Options struct {
	// Signer is the liar's own key, the only one it has.
	Signer crypto.Signer
	// Cluster is the cluster's id.
	Cluster crypto.Digest
}

// Env is what a behaviour may use: its key, and the honest core it sits on.
type Env struct {
	Options
	Core replica.Protocol
}

// Behaviour is an attack: what becomes of what an honest member would send.
type Behaviour interface {
	// Name is the word for flags and reports.
	Name() string
	// Outbound returns what is sent in place of the messages of one Ready.
	Outbound(*Env, []bftraft.Outbound) []bftraft.Outbound
	// Frame says whether a frame of the replica itself goes out: a client's request on its way
	// to the leader, or a reply.
	Frame() bool
}

// attacks is the registry, in alphabetical order.
var attacks = []struct {
	name, does string
	make       func() Behaviour
}{
	{"equivocate", "when leading, proposes two different blocks at one place",
		func() Behaviour { return &equivocate{} }},
	{"silent", "receives everything and sends nothing",
		func() Behaviour { return silent{} }},
}

// Names lists the attacks in alphabetical order.
func Names() []string {
	names := make([]string, len(attacks))
	for i := range attacks {
		names[i] = attacks[i].name
	}
	return names
}

// Does says in half a sentence what an attack does, "" if there is none of the name.
func Does(name string) string {
	for i := range attacks {
		if attacks[i].name == name {
			return attacks[i].does
		}
	}
	return ""
}

// Liar wraps the parts of a replica with a behaviour.
type Liar struct {
	options   Options
	behaviour Behaviour
}

// New returns a liar of the named attack.
func New(name string, o Options) (*Liar, error) {
	if o.Signer == nil || o.Cluster.IsZero() {
		return nil, errors.New("adversary: a liar needs a key and a cluster")
	}
	for i := range attacks {
		if attacks[i].name == name {
			return Wrap(attacks[i].make(), o), nil
		}
	}
	return nil, fmt.Errorf("%w as %q, only %s", ErrUnknown, name, strings.Join(Names(), ", "))
}

// Wrap returns a liar with a behaviour that is not in the registry.
func Wrap(b Behaviour, o Options) *Liar { return &Liar{options: o, behaviour: b} }

// Name returns the name of the attack.
func (l *Liar) Name() string { return l.behaviour.Name() }

// Core puts the behaviour around a core; it is made for replica.Config.Wrap.
func (l *Liar) Core(honest replica.Protocol) replica.Protocol {
	return &core{honest, l.behaviour, Env{l.options, honest}}
}

// Transport puts the behaviour around the way by which the replica itself sends.
func (l *Liar) Transport(honest replica.Transport) replica.Transport {
	return &transport{honest, l.behaviour}
}

// core is an honest core whose messages pass through a behaviour.
type core struct {
	replica.Protocol
	behaviour Behaviour
	env       Env
}

// Ready returns the core's Ready with other messages in it. The messages slice is the core's own,
// so it is replaced and never changed.
func (c *core) Ready() (bftraft.Ready, bool) {
	r, some := c.Protocol.Ready()
	if some {
		r.Messages = c.behaviour.Outbound(&c.env, r.Messages)
	}
	return r, some
}

// transport lets frames through or does not. Messages of the core pass here too, after the
// behaviour has had its way with them.
type transport struct {
	replica.Transport
	behaviour Behaviour
}

// Send sends unless the behaviour keeps quiet.
func (t *transport) Send(to bftraft.NodeID, class bftraft.Class, frame []byte) {
	if t.behaviour.Frame() {
		t.Transport.Send(to, class, frame)
	}
}

// Reply replies unless the behaviour keeps quiet.
func (t *transport) Reply(to replica.ClientID, frame []byte) {
	if t.behaviour.Frame() {
		t.Transport.Reply(to, frame)
	}
}
