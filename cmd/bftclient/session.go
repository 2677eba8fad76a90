package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	ucli "github.com/urfave/cli/v2"

	"tangaroa/bftraft"
	"tangaroa/bftraft/client"
	"tangaroa/bftraft/kv"
	"tangaroa/cmd/internal/cli"
	"tangaroa/cmd/internal/clusterfile"
	"tangaroa/crypto"
)

// session is a command's connection to the cluster.
type session struct {
	*client.Client
	ctx    context.Context // ends at the timeout
	cancel context.CancelFunc
	warn   *warner
	key    crypto.PublicKey
}

// settings are what a command knows about the cluster before it connects.
type settings struct {
	client  *clusterfile.Client
	genesis *clusterfile.File
}

func loadSettings(c *ucli.Context) (*settings, error) {
	path := stringOf(c, "config")
	if path == "" {
		return nil, cli.Errorf(cli.Usage,
			"which cluster? give --config DIR/client1/client.yaml, or set BFTCLIENT_CONFIG")
	}
	s := &settings{}
	var err error
	if s.client, err = clusterfile.LoadClient(path); err != nil {
		return nil, cli.WithCode(cli.Usage, err)
	}
	if s.genesis, err = clusterfile.LoadGenesis(s.client.Genesis); err != nil {
		return nil, cli.WithCode(cli.Usage, err)
	}
	return s, nil
}

// connect makes the client of a command. What change does to its settings comes last.
func connect(c *ucli.Context, change func(*client.Config)) (*session, error) {
	return connectFor(c, timeoutOf(c), change)
}

// connectFor is connect for a command that takes as long as limit at most.
func connectFor(
	c *ucli.Context, limit time.Duration, change func(*client.Config),
) (*session, error) {
	if limit <= 0 {
		return nil, cli.Errorf(cli.Usage, "--timeout must be positive")
	}
	format, err := cli.FormatOf(c)
	if err != nil {
		return nil, err
	}
	s, err := loadSettings(c)
	if err != nil {
		return nil, err
	}
	cfg, err := clientConfig(c, s)
	if err != nil {
		return nil, err
	}
	warn := &warner{to: c.App.ErrWriter, json: format == cli.JSON}
	cfg.OnDissent = warn.dissent
	if change != nil {
		change(&cfg)
	}
	made, err := client.New(cfg)
	if err != nil {
		return nil, explain(err)
	}
	ctx, cancel := context.WithTimeoutCause(c.Context, limit, fmt.Errorf("after %v", limit))
	return &session{Client: made, ctx: ctx, cancel: cancel, warn: warn, key: cfg.Key.Public()}, nil
}

// clientConfig returns what the settings come to.
func clientConfig(c *ucli.Context, s *settings) (client.Config, error) {
	cfg := client.DefaultConfig()
	cfg.Genesis, cfg.CheckOp = &s.genesis.Genesis, kv.CheckOp
	cfg.Peers, cfg.Addresses = s.genesis.Peers(0), s.client.Nodes
	cfg.Security, cfg.Transport = s.client.Security, s.client.Transport
	gate, err := s.genesis.Gate(s.client.Changes)
	if err != nil {
		return cfg, cli.WithCode(cli.Usage, err)
	}
	cfg.Changes = gate.Changes()
	where := placeIn(s.genesis)
	known := func(n bftraft.Node) bool { return where(n) != "" || cfg.Addresses[n.ID] != "" }
	if !slices.ContainsFunc(gate.Members().Nodes, known) {
		return cfg, cli.Errorf(cli.Usage,
			"no node has an address: add them to the genesis, or as nodes to %s",
			stringOf(c, "config"))
	}
	cfg.Key, err = crypto.ReadKeyFile(s.client.Key, passphrase(stringOf(c, "passphrase-file")))
	return cfg, err
}

// close ends the connection. There is nothing left that could fail for the user.
func (s *session) close() {
	s.cancel()
	_ = s.Client.Close()
}

// passphrase returns what reads the passphrase of a key file; nil if there is none to read.
func passphrase(path string) func() ([]byte, error) {
	if path == "" {
		return nil
	}
	return func() ([]byte, error) {
		text, err := os.ReadFile(path)
		return bytes.TrimRight(text, "\r\n"), err
	}
}

// warner names nodes that dissent, once for each kind, on standard error.
type warner struct {
	json bool

	mu   sync.Mutex
	to   io.Writer
	said []client.Dissent // without request ids
}

func (w *warner) dissent(d client.Dissent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	short := client.Dissent{Node: d.Node, Kind: d.Kind}
	for _, s := range w.said {
		if s == short {
			return
		}
	}
	w.said = append(w.said, short)
	w.say(fmt.Sprintf("node %d %s", d.Node, dissentWords[d.Kind]))
}

var dissentWords = map[client.DissentKind]string{
	client.DissentReply:   "gave a reply that differs from what the others vouch for",
	client.DissentRead:    "contradicts the others about the same state",
	client.DissentInvalid: "sent something that does not verify",
}

func (w *warner) say(message string) { w.line("warning", message) }

// progress tells what is waited for.
func (w *warner) progress(message string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.line("progress", message)
}

func (w *warner) line(kind, message string) {
	if !w.json {
		fmt.Fprintf(w.to, "%s: %s\n", kind, message)
		return
	}
	line, _ := json.Marshal(map[string]string{kind: message})
	fmt.Fprintf(w.to, "%s\n", line)
}

// apply orders one operation and returns its result. A result that says no is an error.
func (s *session) apply(op kv.Op) (kv.Result, client.Result, error) {
	encoded, err := kv.EncodeOp(op)
	if err != nil {
		return kv.Result{}, client.Result{}, explain(err)
	}
	got, err := s.Wait(s.ctx, s.GoAlone(encoded))
	if err != nil {
		return kv.Result{}, got, explain(err)
	}
	result, err := decodeResult(got.Value)
	return result, got, err
}

func decodeResult(value []byte) (kv.Result, error) {
	if len(value) == 0 {
		return kv.Result{}, errors.New("it was executed, but its result is too large to be kept")
	}
	result, err := kv.DecodeResult(value)
	if err == nil {
		err = result.Code.Err()
	}
	return result, err
}

// readLevel is how sure a read is.
type readLevel string

const (
	linearizable readLevel = "linearizable"
	stale        readLevel = "stale"
)

// query asks a question without writing to the log.
func (s *session) query(q kv.Query, level readLevel) (kv.QueryResult, error) {
	encoded, err := kv.EncodeQuery(q)
	if err != nil {
		return nil, explain(err)
	}
	ask := s.Read
	if level == stale {
		ask = s.ReadStale
	}
	got, err := ask(s.ctx, encoded)
	if err != nil {
		return nil, err
	}
	result, err := kv.DecodeQueryResult(got.Value)
	if err != nil {
		return nil, err
	}
	if failed, ok := result.(kv.QueryError); ok {
		return nil, failed.Code.Err()
	}
	return result, nil
}

// rangeOf reads one page. What keeps changing is read through the log.
func (s *session) rangeOf(r kv.Range, level readLevel) (kv.RangeResult, error) {
	result, err := s.query(r, level)
	if errors.Is(err, client.ErrReadUnsettled) {
		ordered, _, err := s.apply(r)
		if err != nil {
			return kv.RangeResult{}, err
		}
		op := ordered.Ops[0]
		return kv.RangeResult{Count: op.Count, More: op.More, KVs: op.KVs}, nil
	}
	if err != nil {
		return kv.RangeResult{}, explain(err)
	}
	found, ok := result.(kv.RangeResult)
	if !ok {
		return kv.RangeResult{}, kv.ErrMalformed
	}
	return found, nil
}

// revision returns a revision that is not older than any write that was complete before.
func (s *session) revision() (kv.Revision, error) {
	result, err := s.query(kv.Events{Span: kv.One([]byte{0})}, linearizable)
	if errors.Is(err, client.ErrReadUnsettled) {
		ordered, _, err := s.apply(kv.Range{Span: kv.One([]byte{0}), CountOnly: true})
		return ordered.Revision, err
	}
	if err != nil {
		return 0, explain(err)
	}
	events, ok := result.(kv.EventsResult)
	if !ok {
		return 0, kv.ErrMalformed
	}
	return events.Revision, nil
}

// writeFlags are common to all commands that write.
func writeFlags() []ucli.Flag {
	return []ucli.Flag{
		&ucli.StringFlag{Name: "receipt", Usage: "write a receipt that others can verify to `FILE`"},
		&ucli.StringFlag{
			Name:  "request-id",
			Usage: "repeat the request `ID` whose outcome is unknown; it is executed at most once",
		},
	}
}

func hexFlag() ucli.Flag {
	return &ucli.BoolFlag{Name: "hex", Usage: "keys and values are hexadecimal"}
}

// connectToWrite connects with the request id that was asked for.
func connectToWrite(c *ucli.Context) (*session, error) {
	var id client.RequestID
	if text := c.String("request-id"); text != "" {
		var err error
		if id, err = client.ParseRequestID(text); err != nil {
			return nil, cli.WithCode(cli.Usage, err)
		}
	}
	s, err := connect(c, func(cfg *client.Config) {
		cfg.Session, cfg.FirstSequence = id.Session, id.Sequence
	})
	if err != nil {
		return nil, err
	}
	if _, ok := s.Members().Client(s.key); !ok { // of later than the genesis: with which role?
		if _, err := s.Follow(s.ctx); err != nil {
			s.close()
			return nil, explain(err)
		}
	}
	return s, nil
}

// write orders one operation and keeps its receipt, if that was asked for.
func write(c *ucli.Context, op kv.Op) (kv.Result, client.Result, error) {
	s, err := connectToWrite(c)
	if err != nil {
		return kv.Result{}, client.Result{}, err
	}
	defer s.close()
	receipt, err := createReceipt(c.String("receipt"))
	if err != nil {
		return kv.Result{}, client.Result{}, err
	}
	result, got, err := s.apply(op)
	if got.Receipt != nil {
		return result, got, errors.Join(err, receipt.keep(got.Receipt))
	}
	receipt.drop()
	return result, got, err
}

// receiptFile is made before the write, so that a write never lacks its receipt for want of a
// place to put it. It is nil when none was asked for.
type receiptFile struct{ *os.File }

func createReceipt(path string) (*receiptFile, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, fmt.Errorf("create receipt: %w", err)
	}
	return &receiptFile{f}, nil
}

func (f *receiptFile) keep(r *client.Receipt) error {
	if f == nil {
		return nil
	}
	_, err := f.Write(r.Encode())
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("it was executed, but its receipt could not be written: %w", err)
	}
	return nil
}

func (f *receiptFile) drop() {
	if f != nil {
		_ = f.Close()
		_ = os.Remove(f.Name())
	}
}

// nodesOf lists a set for JSON, which would take a list of node ids for bytes.
func nodesOf(set bftraft.Set) []int {
	out := []int{}
	for _, id := range set.Members() {
		out = append(out, int(id))
	}
	return out
}
