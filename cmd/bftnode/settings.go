package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	ucli "github.com/urfave/cli/v2"

	"tangaroa/cmd/internal/cli"
	"tangaroa/cmd/internal/clusterfile"
	"tangaroa/crypto"
)

// setting is one thing that can be set by flag, environment, file or default, in this order. The
// table in docs/OPERATIONS.md lists the same, which a test sees to.
type setting struct {
	flag, value, usage string // value names the flag's argument
	fallback           string // what it is by default; "" for none
	path               bool   // where something is: relative to the folder of its file
	field              func(*clusterfile.Node) *string
}

// repeats says whether the flag may be given several times; in the environment and the file the
// values then stand in one text, with spaces between.
func (s *setting) repeats() bool { return s.flag == "adversary" }

// Defaults of settings that more than one place knows.
const (
	defaultHTTP     = "127.0.0.1:7200"
	defaultLogLevel = "info"
)

var settings = []setting{
	{"genesis", "FILE", "the cluster's genesis", "", true,
		func(n *clusterfile.Node) *string { return &n.Genesis }},
	{"changes", "FILE", "what became of the genesis, for a node that has joined since; " +
		"bftclient member list writes it", "", true,
		func(n *clusterfile.Node) *string { return &n.Changes }},
	{"key", "FILE", "this node's private key", "", true,
		func(n *clusterfile.Node) *string { return &n.Key }},
	{"passphrase-file", "FILE", "passphrase of the key, if it is encrypted", "", true,
		func(n *clusterfile.Node) *string { return &n.PassphraseFile }},
	{"unlock-key-file", "FILE", "unlock key of the key, if it is locked", "", true,
		func(n *clusterfile.Node) *string { return &n.UnlockKeyFile }},
	{"unlock-socket", "FILE", "where to wait for the unlock key, a socket to make", "", true,
		func(n *clusterfile.Node) *string { return &n.UnlockSocket }},
	{"data", "DIR", "store and guard of this node", "", true,
		func(n *clusterfile.Node) *string { return &n.Data }},
	{"listen", "HOST:PORT", "where nodes and clients connect; its address in genesis or changes " +
		"by default", "", false, func(n *clusterfile.Node) *string { return &n.Listen }},
	{"http", "HOST:PORT", "status and metrics; off for none", defaultHTTP, false,
		func(n *clusterfile.Node) *string { return &n.HTTP }},
	{"security", "NAME", "tls or noise; the same in the whole cluster", "tls", false,
		func(n *clusterfile.Node) *string { return &n.Security }},
	{"transport", "NAME", "tcp or quic; the same in the whole cluster", "tcp", false,
		func(n *clusterfile.Node) *string { return &n.Transport }},
	{"log-level", "LEVEL", "debug, info, warn or error", defaultLogLevel, false,
		func(n *clusterfile.Node) *string { return &n.LogLevel }},
	{"log-format", "FORMAT", "text or json", "text", false,
		func(n *clusterfile.Node) *string { return &n.LogFormat }},
	{"adversary", "NAME[,OPTION=VALUE…]",
		"misbehave, in a testnet only, perhaps in several ways; see bftnode adversaries", "", false,
		func(n *clusterfile.Node) *string { return &n.Adversary }},
}

func env(flag string) string {
	return "BFTNODE_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// placeFlags say where the settings file is.
func placeFlags() []ucli.Flag {
	return []ucli.Flag{
		&ucli.StringFlag{Name: "dir", EnvVars: []string{env("dir")},
			Usage: "the node's folder, with " + clusterfile.NodeName + " in it, `DIR`"},
		&ucli.StringFlag{Name: "config", EnvVars: []string{env("config")},
			Usage: "settings file, if not in the folder, `FILE`"},
	}
}

// settingFlags are all flags that decide what a node is.
func settingFlags() []ucli.Flag {
	flags := append(placeFlags(),
		&ucli.UintFlag{Name: "id", EnvVars: []string{env("id")},
			Usage: "which node this is, `NUMBER`"},
		&ucli.BoolFlag{Name: "pprof", EnvVars: []string{env("pprof")},
			Usage: "serve profiles beside the metrics"})
	for _, s := range settings {
		usage := fmt.Sprintf("%s, `%s`", s.usage, s.value)
		if s.repeats() {
			flags = append(flags, &ucli.StringSliceFlag{
				Name: s.flag, EnvVars: []string{env(s.flag)}, Usage: usage,
			})
			continue
		}
		flags = append(flags, &ucli.StringFlag{
			Name: s.flag, EnvVars: []string{env(s.flag)}, DefaultText: s.fallback, Usage: usage,
		})
	}
	return flags
}

// readSettings returns what flags, environment, file and defaults say together.
func readSettings(c *ucli.Context) (*clusterfile.Node, error) {
	n := &clusterfile.Node{}
	file := c.String("config")
	if file == "" && c.String("dir") != "" {
		file = filepath.Join(c.String("dir"), clusterfile.NodeName)
	}
	if file != "" {
		var err error
		if n, err = clusterfile.LoadNode(file); err != nil {
			return nil, cli.WithCode(cli.Usage, err)
		}
	}
	for _, s := range settings {
		field := s.field(n)
		if c.IsSet(s.flag) {
			if *field = c.String(s.flag); s.repeats() {
				*field = strings.Join(c.StringSlice(s.flag), " ")
			}
		}
		if *field == "" {
			*field = s.fallback
		}
	}
	if c.IsSet("id") {
		id := c.Uint("id")
		if id == 0 || id > uint(crypto.MaxNodeID) {
			return nil, cli.Errorf(cli.Usage, "id: %w", crypto.ErrBadID)
		}
		n.ID = crypto.NodeID(id)
	}
	if c.IsSet("pprof") {
		n.Pprof = c.Bool("pprof")
	}
	return n, requireSettings(n)
}

// requireSettings names the first setting that a node cannot be without.
func requireSettings(n *clusterfile.Node) error {
	missing := ""
	switch {
	case n.Genesis == "":
		missing = "genesis"
	case n.Key == "":
		missing = "key"
	case n.Data == "":
		missing = "data"
	case n.ID == 0:
		missing = "id"
	}
	if missing == "" {
		return nil
	}
	return cli.Errorf(cli.Usage, "%s is not set: give --dir with a %s in it, --%s or %s",
		missing, clusterfile.NodeName, missing, env(missing))
}

// passphraseVariable holds an unlock key, or passphrase, where no file does.
const passphraseVariable = "BFTNODE_PASSPHRASE"

// nodeName is the folder of a node in a test cluster.
func nodeName(id crypto.NodeID) string { return "node" + strconv.Itoa(int(id)) }
