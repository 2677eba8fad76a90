// IdleBoss leads, sends its heartbeats, and never proposes a block. A protocol whose followers are
// content with heartbeats, as Raft's are, serves nobody for ever. Followers that know of waiting
// requests suspect it (cause starvation), and the next term has another leader.

package adversary

var idleBoss = Attack{
	Name: "idleboss", Does: "when leading, sends heartbeats and orders nothing",
	Caught:  "followers with waiting requests suspect it and the term ends",
	Deposed: true,
	make:    func(*values) Behaviour { return idle{} },
}

type idle struct{ Honest }

func (idle) Room(*Env) bool { return false }
