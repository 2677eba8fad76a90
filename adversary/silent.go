// Silent receives everything, executes everything, and sends nothing, neither to nodes nor to
// clients. A protocol that waits for all, or for a particular member, would stop; one that
// believes in whoever is connected would keep it as leader for ever. Nobody can prove silence, so
// no evidence rises: the others count suspicions of CauseSilence when it should lead, and report
// it as silent.

package adversary

import "tangaroa/bftraft"

type silent struct{}

func (silent) Name() string { return "silent" }

func (silent) Outbound(*Env, []bftraft.Outbound) []bftraft.Outbound { return nil }

func (silent) Frame() bool { return false }
