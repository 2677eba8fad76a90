// Command bftnode runs a member of a cluster, and makes and examines what a cluster needs: keys,
// genesis, test clusters, stores.
//
// It wires packages together and holds no logic of the protocol. Its exit codes are those of
// package cli; 8 means that the node must not sign, 9 that the data directory is in use, 10 that a
// key to what is encrypted is missing or wrong, 11 that the node was taken out of the cluster.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	ucli "github.com/urfave/cli/v2"

	"tangaroa/cmd/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := cli.Run(ctx, newApp(), os.Args)
	stop()
	os.Exit(int(code))
}

func newApp() *ucli.App {
	return &ucli.App{
		Name:  "bftnode",
		Usage: "run a member of a Byzantine-fault-tolerant Raft cluster",
		Description: `Try it:   bftnode dev
Four processes:
   bftnode testnet --nodes 4 --dir /tmp/net
   bftnode start --dir /tmp/net/node1      (and so on, one terminal each)
   bftnode status --dir /tmp/net/node1`,
		Commands: []*ucli.Command{
			startCommand(), initCommand(), devCommand(), testnetCommand(), keygenCommand(),
			genesisCommand(), statusCommand(), inspectCommand(), encryptCommand(), lockCommand(),
			unlockCommand(), unlockKeyCommand(), masterKeyCommand(), dataKeyCommand(),
			snapshotCommand(), adversariesCommand(),
		},
	}
}
