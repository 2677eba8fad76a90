package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	ucli "github.com/urfave/cli/v2"

	"tangaroa/adversary/rogue"
	"tangaroa/bftraft"
	"tangaroa/bftraft/client"
	"tangaroa/bftraft/kv"
	"tangaroa/cmd/internal/cli"
	"tangaroa/crypto"
)

func attackCommand() *ucli.Command {
	return &ucli.Command{
		Name: "attack", Usage: "misbehave as a client of a testnet", ArgsUsage: "NAME",
		Description: `Example:  bftclient attack flood --duration 30s
It signs with the client's own key, and says in the end what nodes answered. The attacks:
` + clientAttackList(),
		Flags: []ucli.Flag{
			&ucli.DurationFlag{Name: "duration", Value: 10 * time.Second, Usage: "`TIME` to run"},
			&ucli.DurationFlag{Name: "every", Value: 10 * time.Millisecond,
				Usage: "`TIME` from one move to the next"},
			&ucli.IntFlag{Name: "rate", Value: 20, Usage: "requests of a flood in each move, `N`"},
		},
		Action: attack,
	}
}

func clientAttackList() string {
	var b strings.Builder
	for _, a := range rogue.All() {
		fmt.Fprintf(&b, "   %-12s %s: %s\n", a.Name, a.Does, a.Caught)
	}
	return b.String()
}

// attackReport is what attack prints as JSON.
type attackReport struct {
	Attack   string            `json:"attack"`
	Seconds  float64           `json:"seconds"`
	Sent     uint64            `json:"sent"`     // frames that the links took
	Unsent   uint64            `json:"unsent"`   // frames for which a link had no room
	Replies  uint64            `json:"replies"`  // signed results
	Reads    uint64            `json:"reads"`    // answers to reads
	Refusals map[string]uint64 `json:"refusals"` // by reason
}

func attack(c *ucli.Context) error {
	if err := cli.RequireArgs(c, 1, 1); err != nil {
		return err
	}
	if c.Duration("duration") <= 0 || c.Duration("every") <= 0 || c.Int("rate") < 1 {
		return cli.Errorf(cli.Usage, "--duration, --every and --rate must be positive")
	}
	if !slices.Contains(rogue.Names(), c.Args().First()) {
		return cli.Errorf(cli.Usage, "there is no attack %q of clients, only %s", c.Args().First(),
			strings.Join(rogue.Names(), ", "))
	}
	s, err := loadSettings(c)
	if err != nil {
		return err
	}
	if !s.genesis.Genesis.Testnet {
		return cli.Errorf(cli.Usage,
			"attack: %s is not the genesis of a testnet, and only there clients may misbehave",
			s.client.Genesis)
	}
	cfg, err := clientConfig(c, s)
	if err != nil {
		return err
	}
	report, err := runAttack(c, cfg)
	if err != nil {
		return err
	}
	return cli.Print(c, report, func(w io.Writer) { printAttack(w, report) })
}

func printAttack(w io.Writer, r *attackReport) {
	fmt.Fprintf(w, "%s for %.1f s: %d frames sent, %d not; %d replies, %d reads answered\n",
		r.Attack, r.Seconds, r.Sent, r.Unsent, r.Replies, r.Reads)
	for _, code := range slices.Sorted(maps.Keys(r.Refusals)) {
		fmt.Fprintf(w, "   refused as %s: %d\n", code, r.Refusals[code])
	}
}

// attackRun is an attack under way. It follows the members as any client does, by what proves
// itself.
type attackRun struct {
	ears  *attackEars
	link  client.Link
	rogue *rogue.Rogue
	gate  *bftraft.Verifier // by which link and rogue go
	asked time.Time
}

func runAttack(c *ucli.Context, cfg client.Config) (*attackReport, error) {
	gate, err := bftraft.NewVerifier(crypto.ZIP215(), cfg.Genesis)
	if err == nil {
		gate, err = gate.Following(cfg.Changes)
	}
	if err != nil {
		return nil, err
	}
	a := &attackRun{ears: &attackEars{gate: gate, refusals: make(map[string]uint64)}}
	if a.rogue, err = newRogue(c, cfg); err != nil {
		return nil, cli.WithCode(cli.Usage, err)
	}
	if a.link, err = client.DialHost(cfg)(a.ears); err != nil {
		return nil, explain(err)
	}
	report := &attackReport{Attack: c.Args().First()}
	a.run(c, report)
	if err := a.link.Close(); err != nil {
		return nil, err
	}
	if report.Sent == 0 {
		return nil, cli.Errorf(cli.NoQuorum, "no node could be reached: is the cluster running?")
	}
	report.Replies, report.Reads, report.Refusals = a.ears.replies, a.ears.reads, a.ears.refusals
	return report, nil
}

func newRogue(c *ucli.Context, cfg client.Config) (*rogue.Rogue, error) {
	seed := uint64(time.Now().UnixNano())
	return rogue.New(c.Args().First(), rogue.Options{
		Key: cfg.Key, Cluster: cfg.Genesis.Hash(), Seed: seed, Session: seed,
		Op: func(k uint64) []byte {
			return mustEncode(kv.EncodeOp(kv.Put{
				Key: []byte("attack"), Value: fmt.Append(nil, k),
			}))
		},
		Query: func(uint64) []byte {
			return mustEncode(kv.EncodeQuery(kv.Range{Span: kv.One([]byte("attack"))}))
		},
		Rate: c.Int("rate"),
	})
}

// run attacks until its time is over.
func (a *attackRun) run(c *ucli.Context, report *attackReport) {
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("duration"))
	defer cancel()
	began := time.Now()
	every := time.NewTicker(c.Duration("every"))
	defer every.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			continue
		case <-every.C:
		}
		a.follow()
		for _, f := range a.rogue.Tick(a.ears.leads()) {
			if a.link.Send(f.To, f.Frame) {
				report.Sent++
			} else {
				report.Unsent++
			}
		}
	}
	report.Seconds = time.Since(began).Seconds()
}

// follow aims at the voters there are now, and asks who leads and whether there are others.
func (a *attackRun) follow() {
	if gate := a.ears.knows(); gate != a.gate {
		a.gate = gate
		a.rogue.Voters = gate.Configurations().Latest().Members()
		a.link.SetNodes(gate.Members().Nodes)
		a.asked = time.Time{}
	}
	if time.Since(a.asked) <= time.Second {
		return
	}
	a.asked = time.Now()
	for _, n := range a.gate.Members().Nodes {
		a.link.Send(n.ID, []byte{bftraft.FrameStatus})
		a.link.Send(n.ID, bftraft.ChangesRequest(a.gate.Members().Number))
	}
}

// mustEncode is for operations that are small and well-formed whatever happens.
func mustEncode(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// attackEars counts what nodes answer, and hears who leads and who is a member.
type attackEars struct {
	mu             sync.Mutex
	gate           *bftraft.Verifier
	leader         bftraft.NodeID
	replies, reads uint64
	refusals       map[string]uint64
}

func (e *attackEars) leads() bftraft.NodeID {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.leader
}

// knows returns the gate behind all changes that nodes have shown.
func (e *attackEars) knows() *bftraft.Verifier {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.gate
}

// Up implements client.Receiver.
func (e *attackEars) Up(bftraft.NodeID) {}

// Down implements client.Receiver.
func (e *attackEars) Down(bftraft.NodeID) {}

// Frame implements client.Receiver.
func (e *attackEars) Frame(_ bftraft.NodeID, frame []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch frame[0] {
	case bftraft.FrameReply:
		e.replies++
	case bftraft.FrameReadReply:
		e.reads++
	case bftraft.FrameRefusal:
		if r, err := bftraft.DecodeRefusal(frame); err == nil {
			e.refusals[r.Code.String()]++
		}
	case bftraft.FrameStatusReply:
		s, err := bftraft.DecodeNodeStatus(frame, e.gate.Cluster(), e.gate.Keyring())
		if err == nil {
			e.leader = s.Leader
		}
	case bftraft.FrameChangesReply:
		list, err := bftraft.DecodeChanges(frame)
		if err != nil {
			return
		}
		if gate, err := e.gate.Following(list); err == nil {
			e.gate = gate
		}
	}
}
