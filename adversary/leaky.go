// Leaky hands all that it hears and says, clients' requests and results among it, to a third party,
// a line for each frame: direction, the other end, and the bytes in hex. No replication protocol
// can keep a member from telling: ours promises no confidentiality against members. What the third
// party learns does not let it act: every statement is bound to the key that signed it, and every
// request to its sequence.

package adversary

import (
	"encoding/hex"
	"fmt"

	"tangaroa/bftraft"
	"tangaroa/bftraft/replica"
)

var leaky = Attack{
	Name: "leaky", Does: "hands all that it hears and says to a third party",
	Caught: "not at all, but what leaks lets nobody sign, replay or join",
	Options: []Option{{
		Name: "to", Does: "the file, or tcp:HOST:PORT, that it leaks to", Default: "", Free: true,
	}},
	make: func(*values) Behaviour { return leak{} },
}

type leak struct{ Honest }

func (leak) tell(e *Env, way string, who any, frame []byte) {
	// A third party that is gone is no reason to stop.
	_, _ = fmt.Fprintf(e.Sink, "%s %v %s\n", way, who, hex.EncodeToString(frame))
}

func (l leak) Inbound(e *Env, v bftraft.Verified) bool {
	l.tell(e, "from", v.From(), bftraft.Encode(v.Message()))
	return true
}

func (l leak) Outbound(e *Env, honest []bftraft.Outbound) []bftraft.Outbound {
	for _, m := range honest {
		frame := bftraft.Encode(m.Msg)
		for id := m.To.Next(0); id != 0; id = m.To.Next(id) {
			l.tell(e, "to", id, frame)
		}
	}
	return honest
}

func (l leak) Frame(e *Env, to bftraft.NodeID, frame []byte) [][]byte {
	l.tell(e, "to", to, frame)
	return [][]byte{frame}
}

func (l leak) Reply(e *Env, to replica.ClientID, frame []byte) [][]byte {
	l.tell(e, "client", hex.EncodeToString(to.Key[:4]), frame)
	return [][]byte{frame}
}
