package node_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"tangaroa/bftraft"
	"tangaroa/bftraft/node"
	"tangaroa/bftraft/store"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// counter is a state machine of our own: every operation adds one byte's worth.
type counter struct{ total uint64 }

func (c *counter) Apply(_ uint64, op []byte) []byte {
	if len(op) == 1 {
		c.total += uint64(op[0])
	}
	return c.Query(nil)
}

func (c *counter) Query([]byte) []byte   { return binary.BigEndian.AppendUint64(nil, c.total) }
func (c *counter) Digest() crypto.Digest { return crypto.Hash(crypto.DomainState, c.Query(nil)) }

func (c *counter) Snapshot(w io.Writer) error { return binary.Write(w, binary.BigEndian, c.total) }
func (c *counter) Restore(r io.Reader) error  { return binary.Read(r, binary.BigEndian, &c.total) }

// A program that embeds a node brings a state machine, a store and keys. This cluster has one
// member and keeps nothing on disk; store.Create and store.Open make one that lasts.
func Example() {
	nodeKey, clientKey := crypto.GenerateKey(), crypto.GenerateKey()
	genesis := &bftraft.Genesis{
		Name: "example", Nonce: crypto.Digest{1},
		Voters:  []quorumcert.Voter{{ID: 1, Key: nodeKey.Public()}},
		Clients: []bftraft.Enrolled{{Name: "the program itself", Key: clientKey.Public()}},
	}
	disk := store.NewMemory(store.Identity{
		Cluster: genesis.Hash(), Node: 1, Key: nodeKey.Public(),
	})

	cfg := node.DefaultConfig()
	cfg.Genesis, cfg.ID, cfg.Key, cfg.Client = genesis, 1, nodeKey, clientKey
	cfg.Storage, cfg.Machine = disk, &counter{}
	cfg.Network.Listen = []string{"127.0.0.1:0"}
	n, err := node.New(cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error)
	go func() { ended <- n.Run(ctx) }()

	results, err := n.Submit(ctx, []byte{40}, []byte{2})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("total:", binary.BigEndian.Uint64(results[1]))
	cancel()
	fmt.Println("stopped:", <-ended)
	// Output:
	// total: 42
	// stopped: <nil>
}
