package main

import (
	"errors"
	"fmt"
	"io"
	"slices"

	ucli "github.com/urfave/cli/v2"

	"tangaroa/bftraft"
	"tangaroa/bftraft/node"
	"tangaroa/bftraft/store"
	"tangaroa/cmd/internal/cli"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

func inspectCommand() *ucli.Command {
	return &ucli.Command{
		Name: "inspect", Usage: "verify and show the store of a node that does not run",
		Description: `Example:  bftnode inspect --dir /tmp/net/node1 --limit 5
It goes through the whole chain and checks every block, request, certificate and proof. What
does not verify is exit code 6; a store with which the node must not sign, 8. For an encrypted
store it needs the node's key file, and its unlock key if that is locked; values stay hidden there
unless --values asks for them.
Where there was more than one term it tells why each leader came: what this node had against the
leader before (or "not known here"), who suspected that one, and who elected.`,
		Flags: append(settingFlags(),
			&ucli.Uint64Flag{Name: "from", Usage: "first `INDEX` to show"},
			&ucli.Uint64Flag{Name: "to", Usage: "last `INDEX` to show"},
			&ucli.IntFlag{Name: "limit", Value: 20,
				Usage: "show so many of the newest entries, 0 for all, `N`"},
			&ucli.BoolFlag{Name: "certificates",
				Usage: "show who signed that these entries are committed"},
			&ucli.BoolFlag{Name: "values", Usage: "show values, of an encrypted store too"}),
		Action: inspect,
	}
}

// report is what inspect found.
type report struct {
	Node       crypto.NodeID         `json:"node"`
	Cluster    crypto.Digest         `json:"cluster"`
	Name       string                `json:"name"`
	MayNotSign string                `json:"must_not_sign,omitempty"`
	Term       quorumcert.Term       `json:"term"`
	Vote       crypto.NodeID         `json:"vote,omitempty"` // in Term
	Lock       positionText          `json:"lock"`
	Mark       positionText          `json:"mark"` // highest acked
	Base       positionText          `json:"base"` // the log begins behind it
	Tip        positionText          `json:"tip"`
	Commit     positionText          `json:"commit"`
	Snapshot   *snapshotText         `json:"snapshot,omitempty"`
	Blocks     int                   `json:"blocks"`
	Requests   int                   `json:"requests"`
	Commits    int                   `json:"commit_certificates"`
	Encrypted  bool                  `json:"encrypted,omitempty"`
	Terms      []termText            `json:"terms"`
	Evidence   []node.EvidenceStatus `json:"evidence"`
	Entries    []entryText           `json:"entries"`

	// Certificates are those by which the entries that are shown are committed.
	Certificates []certificateText `json:"certificates"`
}

type positionText struct {
	Term  quorumcert.Term  `json:"term,omitempty"`
	Index quorumcert.Index `json:"index"`
	Hash  crypto.Digest    `json:"hash"`
}

type entryText struct {
	Index     quorumcert.Index `json:"index"`
	Block     quorumcert.Index `json:"block"` // last index of its block
	Committed bool             `json:"committed"`
	Client    string           `json:"client"`
	Session   uint64           `json:"session"`
	Sequence  uint64           `json:"sequence"`
	Ops       []string         `json:"operations"`
}

func inspect(c *ucli.Context) error {
	if err := cli.RequireArgs(c, 0, 0); err != nil {
		return err
	}
	var r *report
	m, err := readStore(c, func(m *member) (err error) {
		r, err = m.examine(c)
		return err
	})
	if err != nil {
		return err
	}
	err = cli.Print(c, r, func(w io.Writer) {
		r.print(w)
		if c.Bool("certificates") {
			r.printCertificates(w)
		}
	})
	if err != nil {
		return err
	}
	if verdict := m.store.Verdict(); verdict != nil {
		return storeError(m.settings, verdict)
	}
	return nil
}

// identified reads the settings, and the keys that they name.
func identified(c *ucli.Context) (*member, error) {
	s, err := readSettings(c)
	if err != nil {
		return nil, err
	}
	return identify(c.Context, sources(c, s), s)
}

// readStore lets a function look at the store of a node that does not run, and closes it.
func readStore(c *ucli.Context, look func(*member) error) (*member, error) {
	m, err := identified(c)
	if err != nil {
		return nil, err
	}
	o := m.storeOptions(warnings(c.App.ErrWriter))
	o.ReadOnly, o.MinFreeBytes = true, 1
	if m.store, err = store.Open(m.settings.Data, o); err != nil {
		return nil, storeError(m.settings, err)
	}
	err = look(m)
	if err = errors.Join(err, m.store.Close()); err != nil {
		return nil, storeError(m.settings, err)
	}
	return m, nil
}

// examiner goes through a store.
type examiner struct {
	*member
	report   *report
	verifier *bftraft.Verifier // behind all changes that the store knows to be committed
	gate     *bftraft.Verifier // by which the block is judged that is looked at
	from, to quorumcert.Index
	covered  quorumcert.Index // by the certificates that were looked at
	show     describer
}

func (m *member) examine(c *ucli.Context) (*report, error) {
	v, err := bftraft.NewVerifier(crypto.ZIP215(), &m.file.Genesis)
	if err != nil {
		return nil, cli.WithCode(cli.Usage, err)
	}
	loaded, err := m.store.Load()
	if err != nil {
		return nil, err
	}
	x := examiner{member: m, gate: v, report: m.summary(&loaded)}
	if x.verifier, err = m.changes(v, &loaded); err != nil {
		return nil, cli.WithCode(cli.BadProof, err)
	}
	x.show.values = m.master.IsZero() || c.Bool("values")
	x.from, x.to = quorumcert.Index(c.Uint64("from")), quorumcert.Index(c.Uint64("to"))
	if x.to == 0 {
		x.to = loaded.Tip.Index
	}
	if limit := quorumcert.Index(c.Int("limit")); limit > 0 && x.to > limit && !c.IsSet("from") {
		x.from = x.to - limit + 1
	}
	if err := x.checkState(&loaded); err != nil {
		return nil, cli.WithCode(cli.BadProof, err)
	}
	if err := errors.Join(x.snapshot(), x.walk(&loaded)); err != nil {
		return nil, cli.WithCode(cli.BadProof, err)
	}
	return x.report, m.store.Err()
}

// changes returns the gate behind all changes that the store knows to be committed.
func (m *member) changes(v *bftraft.Verifier, l *bftraft.Restored) (*bftraft.Verifier, error) {
	list := l.Changes
	if info, ok := m.store.Snapshot(); ok {
		manifest, ok := bftraft.DecodeManifest(info.Proof)
		if !ok {
			return nil, errors.New("the snapshot has no manifest")
		}
		list = slices.Concat(manifest.Changes, list)
	}
	return v.Following(list)
}

func (m *member) summary(l *bftraft.Restored) *report {
	hs := &l.HardState
	r := &report{
		Node: m.settings.ID, Cluster: m.file.Genesis.Hash(), Name: m.file.Genesis.Name,
		Term: hs.Term, Vote: hs.Vote.Candidate,
		Lock: positionText{hs.Lock.Term, hs.Lock.Index, hs.Lock.Hash},
		Mark: positionText{hs.Mark.Term, hs.Mark.Index, hs.Mark.Hash},
		Base: positionText{0, l.Base.Index, l.Base.Hash},
		Tip:  positionText{0, l.Tip.Index, l.Tip.Hash},

		Encrypted: !m.master.IsZero(), Terms: []termText{},
		Evidence: []node.EvidenceStatus{}, Entries: []entryText{},
		Certificates: []certificateText{},
	}
	if verdict := m.store.Verdict(); verdict != nil {
		r.MayNotSign = verdict.Error()
	}
	if l.Commit != nil {
		r.Commit = positionText{l.Commit.Term, l.Commit.Index, l.Commit.Hash}
	}
	return r
}

// checkState verifies the certificates of the hard state and the evidence.
func (x *examiner) checkState(l *bftraft.Restored) error {
	cluster, configs := x.report.Cluster, x.verifier.Configurations()
	if qc := l.HardState.LockQC; qc != nil {
		if err := qc.Verify(cluster, configs.For(qc.Index)); err != nil {
			return fmt.Errorf("certificate of the lock at %d: %w", qc.Index, err)
		}
		if qc.Lock != l.HardState.Lock {
			return fmt.Errorf("certificate of the lock is of another position: %d", qc.Index)
		}
	} else if l.HardState.Lock.Index > 0 {
		return fmt.Errorf("the lock at %d has no certificate", l.HardState.Lock.Index)
	}
	if err := x.checkProof(&l.HardState.Proof); err != nil {
		return err
	}
	for i := range l.Evidence {
		e := &l.Evidence[i]
		if _, err := configs.Accusing(cluster, e); err != nil {
			return fmt.Errorf("evidence against node %d: %w", e.Culprit(), err)
		}
		x.report.Evidence = append(x.report.Evidence, node.Describe(e))
	}
	return nil
}

// walk verifies the chain, its requests and its commit certificates.
func (x *examiner) walk(l *bftraft.Restored) error {
	at := bftraft.Position{Hash: x.report.Cluster}
	if l.Base.Index > 0 {
		at = l.Base
	}
	next, more := x.store.Commit(at.Index)
	if more && next.Index == at.Index {
		if err := x.commit(next, at); err != nil {
			return err
		}
		next, more = x.store.Commit(at.Index + 1)
	}
	if err := x.follow(at); err != nil {
		return err
	}
	for at.Index < l.Tip.Index {
		b, ok := x.store.Block(at.Index + 1)
		if !ok || b.Before() != at {
			return fmt.Errorf("the chain is broken after entry %d", at.Index)
		}
		if err := x.entries(b); err != nil {
			return err
		}
		at = b.End()
		if err := x.follow(at); err != nil {
			return err
		}
		for more && next.Index <= at.Index {
			if err := x.commit(next, at); err != nil {
				return err
			}
			next, more = x.store.Commit(next.Index + 1)
		}
		x.report.Blocks++
	}
	if at != l.Tip {
		return fmt.Errorf("the chain does not end where it should, at %d", l.Tip.Index)
	}
	return x.terms(&l.HardState)
}

// commit verifies the commit certificate of a position on the chain.
func (x *examiner) commit(c *quorumcert.Commit, at bftraft.Position) error {
	if (bftraft.Position{Index: c.Index, Hash: c.Hash}) != at {
		return fmt.Errorf("the commit certificate of %d is not of this chain", c.Index)
	}
	err := c.Verify(x.report.Cluster, x.verifier.Configurations().For(c.Index))
	if err != nil {
		return fmt.Errorf("commit certificate of %d: %w", c.Index, err)
	}
	x.report.Commits++
	x.committed(c)
	x.certified(c)
	return nil
}

// follow judges what comes behind a position by the changes up to there.
func (x *examiner) follow(at bftraft.Position) (err error) {
	x.gate, err = x.gate.Following(x.verifier.ChangesUpTo(at.Index))
	return err
}

func (x *examiner) entries(b *bftraft.Block) error {
	for i, e := range b.Entries() {
		index := b.First() + quorumcert.Index(i)
		if i == 0 && x.gate.ProvesChange(e) {
			x.note(index, b, "what proves the change before it")
			continue
		}
		if e.Kind == bftraft.EntryEvidence {
			if err := x.evidenceEntry(index, b, e); err != nil {
				return err
			}
			continue
		}
		if e.Kind == bftraft.EntryClosing && b.Closes() && x.gate.Members().Joint() {
			x.note(index, b, "closes the change of the voters: in force behind it")
			continue
		}
		r, err := x.gate.VerifyRequest(e.Data)
		if err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
		if x.gate.Entry(r).Kind != e.Kind {
			return fmt.Errorf("entry %d is of kind %d, which may not stand here", index, e.Kind)
		}
		x.report.Requests++
		if index < x.from || index > x.to {
			continue
		}
		text := entryText{
			Index: index, Block: b.Last(), Committed: index <= x.report.Commit.Index,
			Client: x.clientName(r.Client), Session: r.Session, Sequence: r.Sequence,
		}
		for _, op := range r.Ops {
			text.Ops = append(text.Ops, x.show.op(op))
		}
		if e.Kind == bftraft.EntryConfiguration {
			text.Ops[0] += ": in force behind it"
		}
		x.report.Entries = append(x.report.Entries, text)
	}
	return nil
}

// evidenceEntry verifies a proof that stands in the log.
func (x *examiner) evidenceEntry(
	index quorumcert.Index, b *bftraft.Block, e bftraft.Entry,
) error {
	proof, ok := bftraft.DecodeEvidence(e.Data)
	if !ok {
		return fmt.Errorf("entry %d is no proof, and of the kind of one", index)
	}
	if !x.gate.Accuses(proof) {
		return fmt.Errorf("entry %d: %w", index, quorumcert.ErrNoProof)
	}
	x.note(index, b, fmt.Sprintf("node %d is faulty: %s", proof.Culprit(),
		explain(node.Describe(proof))))
	return nil
}

// note adds an entry that no client asked for.
func (x *examiner) note(index quorumcert.Index, b *bftraft.Block, what string) {
	if index >= x.from && index <= x.to {
		x.report.Entries = append(x.report.Entries, entryText{
			Index: index, Block: b.Last(), Committed: index <= x.report.Commit.Index,
			Ops: []string{what},
		})
	}
}

func (x *examiner) clientName(key crypto.PublicKey) string {
	if c, ok := x.gate.Members().Client(key); ok {
		return c.Name
	}
	return key.String()
}

func (r *report) print(w io.Writer) {
	rows := [][]string{
		{"cluster", r.Name + " " + r.Cluster.Short()},
		{"node", fmt.Sprint(r.Node)},
		{"term", fmt.Sprint(r.Term)},
		{"locked", r.Lock.String()},
		{"committed", r.Commit.String()},
		{"log", "begins behind " + r.Base.String() + ", ends at " + r.Tip.String()},
		{"snapshot", r.Snapshot.String()},
		{"verified", fmt.Sprintf("%d blocks, %d requests, %d commit certificates, %d proofs",
			r.Blocks, r.Requests, r.Commits, len(r.Evidence))},
	}
	_ = cli.WriteTable(w, nil, rows)
	r.printTerms(w)
	for _, e := range r.Evidence {
		fmt.Fprintf(w, "\nnode %d is proven faulty: %s; the proof verifies\n", e.Culprit,
			explain(e))
	}
	if len(r.Entries) == 0 {
		return
	}
	fmt.Fprintln(w)
	rows = nil
	for _, e := range r.Entries {
		state := "committed"
		if !e.Committed {
			state = "not yet"
		}
		for i, op := range e.Ops {
			row := []string{"", "", "", "", op}
			if i == 0 {
				row = []string{fmt.Sprint(e.Index), state, e.Client,
					fmt.Sprintf("%d.%d", e.Session, e.Sequence), op}
			}
			rows = append(rows, row)
		}
	}
	_ = cli.WriteTable(w, []string{"INDEX", "STATE", "CLIENT", "REQUEST", "OPERATION"}, rows)
}

// String returns index, hash and term for people.
func (p positionText) String() string {
	if p.Index == 0 {
		return "nothing"
	}
	s := fmt.Sprintf("%d (%s)", p.Index, p.Hash.Short())
	if p.Term != 0 {
		s += fmt.Sprintf(" in term %d", p.Term)
	}
	return s
}
