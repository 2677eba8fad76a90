package sim

import "tangaroa/adversary"

// rogue is a dishonest client: enrolled like the others, with a key of its own.
type rogue struct {
	w     *World
	index int
	name  string
	key   clientKey
	sent  int
}

// rogueNames lists what a dishonest client may do.
func rogueNames() []string { return nil }

func newRogue(w *World, i int, name string, key clientKey) *rogue {
	return &rogue{w: w, index: i, name: name, key: key}
}

func (r *rogue) tick() {}

var _ = adversary.Names
