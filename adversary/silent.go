// Silent receives and executes everything and sends nothing, to nodes or clients. A protocol that
// waits for all, or whose leader only counts who answers the client, stands still. Nothing proves
// it: it is seen as silent in the status of the others, and loses its term to their suspicions.

package adversary

import (
	"tangaroa/bftraft"
	"tangaroa/bftraft/replica"
)

var silent = Attack{
	Name: "silent", Does: "receives everything and sends nothing",
	Caught: "the others show it as silent; as leader it is suspected within a timeout",
	make:   func(*values) Behaviour { return silence{} },
}

type silence struct{ Honest }

func (silence) Outbound(*Env, []bftraft.Outbound) []bftraft.Outbound { return nil }

func (silence) Frame(*Env, bftraft.NodeID, []byte) [][]byte { return nil }

func (silence) Reply(*Env, replica.ClientID, []byte) [][]byte { return nil }
