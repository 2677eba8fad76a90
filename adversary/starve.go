// Starve, when it leads, leaves the requests of one client out of its blocks and serves all
// others. A protocol that measures progress of the whole lets it do so for ever. Each request has a
// timer at each node that knows of it (cause starvation), so the term ends.

package adversary

import (
	"encoding/hex"
	"slices"
	"strings"

	"tangaroa/bftraft"
)

var starve = Attack{
	Name: "starve", Does: "when leading, serves all clients but one",
	Caught:  "the client's requests have timers of their own at every node, and the term ends",
	Deposed: true,
	Options: []Option{{
		Name: "client", Does: "how its public key begins, in hex; else the first one seen",
		Free: true,
	}},
	make: func(v *values) Behaviour { return &starving{client: v.word("client")} },
}

type starving struct {
	Honest
	client string
}

func (s *starving) Propose(_ *Env, entries []bftraft.Entry) []bftraft.Entry {
	for k := 0; s.client == "" && k < len(entries); k++ {
		s.client = clientOf(entries[k]) // a proof against a voter is of no client
	}
	if s.client == "" {
		return entries
	}
	return slices.DeleteFunc(slices.Clone(entries), func(e bftraft.Entry) bool {
		return strings.HasPrefix(clientOf(e), s.client)
	})
}

// clientOf returns the key of an entry's client in hex, "" if it has none.
func clientOf(e bftraft.Entry) string {
	r, err := bftraft.DecodeRequest(e.Data)
	if e.Kind != bftraft.EntryRequest || err != nil {
		return ""
	}
	return hex.EncodeToString(r.Client[:])
}
