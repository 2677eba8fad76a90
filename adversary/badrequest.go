// BadRequest, when it leads, puts a request into its blocks that no client has signed, among those
// that clients have. A protocol whose followers trust the leader to have looked executes what
// nobody asked for. Followers check each entry before they ack (Drop invalid_entry); the block is
// never certified and the term ends.

package adversary

import (
	"bytes"

	"tangaroa/bftraft"
)

var badRequest = Attack{
	Name: "badrequest", Does: "when leading, puts invalid requests into its blocks",
	Caught:  "followers refuse the block and end the term",
	Deposed: true,
	Drops:   []bftraft.Drop{bftraft.InvalidEntry},
	Options: []Option{word("kind", "what is wrong: the signature, the client, the form, or the kind",
		"forged", "stranger", "malformed", "kind")},
	make: func(v *values) Behaviour { return &tampering{kind: v.word("kind")} },
}

type tampering struct {
	Honest
	kind string
}

func (t *tampering) Propose(_ *Env, entries []bftraft.Entry) []bftraft.Entry {
	bad := entries[0]
	bad.Data = bytes.Clone(bad.Data)
	switch t.kind {
	case "forged":
		bad.Data[len(bad.Data)-1] ^= 1
	case "stranger":
		bad.Data[0] ^= 1
	case "malformed":
		bad.Data = bad.Data[:len(bad.Data)-1]
	case "kind":
		bad.Kind = bftraft.EntryConfiguration
	}
	if len(entries) == bftraft.MaxBlockEntries {
		entries = entries[1:]
	}
	return append(entries[:len(entries):len(entries)], bad)
}
