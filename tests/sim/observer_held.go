package sim

import (
	"tangaroa/bftraft"
	"tangaroa/crypto"
)

// What a node may hold, whatever comes (R1): the limits as docs/PROTOCOL.md states them in section
// 10, written down a second time, those of a client a quarter, as runs have it. Those of bytes are
// for the largest messages there are.
const (
	mostAhead         = 128       // blocks beyond the commit index, and blocks held aside
	mostAheadBytes    = 128 << 20 // and their size
	mostServable      = 256       // committed blocks in memory, to serve others from
	mostAcks          = 160       // acks of one voter
	mostRequests      = 64        // requests of one client, from itself or from one node
	mostRequestBytes  = 8 << 20   // and their size
	largestRequest    = 2 << 20
	mostSequences     = 64 // how far a sequence is ahead of what was executed
	mostSessions      = 32 // sessions remembered of a client
	mostResults       = 32 // results remembered of a session
	mostResultBytes   = 1 << 20
	mostReads         = 1024 // reads that wait, and those of one client
	mostReadsOfClient = 64
	// Answers to the fetches of one node in ten ticks, the interval of a heartbeat. The node's
	// intervals are not the observer's, so that two of them may count as one. Two messages more show
	// a node unasked that it has left.
	mostAnswers     = 2*8 + 2
	intervalOfTicks = 10
)

// within is R1 for one number.
func (o *observer) within(m *member, held, most int, what string) {
	if held > most {
		o.fail("R1", "node %d holds %d %s, and %d are the most", m.id, held, what, most)
	}
}

// holds is R1 after each event: what a node keeps of what others sent it is within its limits.
func (o *observer) holds(m *member) {
	nodes, clients := len(o.w.nodes), len(o.w.clients)+len(o.w.rogues)
	c, r := m.core.Held(), m.proc.Held()
	o.within(m, c.Ahead, mostAhead, "blocks beyond its commit index")
	o.within(m, c.AheadBytes, mostAheadBytes, "bytes of blocks beyond its commit index")
	o.within(m, c.Chain-c.Ahead, mostServable, "committed blocks in memory")
	o.within(m, c.Gathered, mostAhead, "blocks aside")
	o.within(m, c.GatheredBytes, mostAheadBytes, "bytes of blocks aside")
	o.within(m, c.Acks, mostAcks, "acks of one voter")
	o.within(m, c.Proofs, nodes, "proofs in its core")
	o.within(m, c.Undone, 0, "messages after all was sent")
	o.within(m, r.Clients, clients, "clients with requests")
	o.within(m, r.Remembered, clients, "clients with sessions")
	o.within(m, r.Reads, mostReads, "reads")
	o.within(m, r.Timed, mostAhead, "blocks to be timed")
	o.within(m, r.Proofs, nodes, "proofs")
	o.within(m, r.Convicted, nodes, "convictions")
}

// holdsOf is R1 for what is kept of one client. It can only have grown when a request of the client
// came or was executed, or a read of its came.
func (o *observer) holdsOf(m *member, key crypto.PublicKey) {
	if m.liar {
		return
	}
	h := m.proc.HeldOf(key)
	o.within(m, h.Requests, mostRequests, "requests of a client")
	o.within(m, h.RequestBytes, max(mostRequestBytes, largestRequest), "bytes of requests")
	o.within(m, h.Sessions, mostSessions, "sessions of a client")
	o.within(m, h.Results, mostResults, "results of a session")
	o.within(m, h.ResultBytes, mostResultBytes, "bytes of results of a session")
	o.within(m, h.Reads, mostReadsOfClient, "reads of a client")
	if h.Ahead > mostSequences {
		o.fail("R1", "node %d holds a request %d sequences ahead of what was executed, and %d are "+
			"the most", m.id, h.Ahead, mostSequences)
	}
}

// executedOf is R1 for the clients whose requests stand in a block that was executed.
func (o *observer) executedOf(m *member, b *bftraft.Block) {
	var last crypto.PublicKey
	for _, e := range b.Entries() {
		if e.Kind != bftraft.EntryRequest || len(e.Data) < len(last) {
			continue
		}
		if key := crypto.PublicKey(e.Data[:len(last)]); key != last {
			o.holdsOf(m, key)
			last = key
		}
	}
}

// answers is R1 for what a node is made to send: it answers the fetches of another so many times in
// an interval.
func (o *observer) answers(m *member, to bftraft.NodeID, frame []byte) {
	if kind := frame[0]; kind != kindChain && kind != kindCommitted {
		return
	}
	if at := m.ticks / intervalOfTicks; m.answeredIn != at {
		m.answeredIn = at
		clear(m.answered[:])
	}
	m.answered[to]++
	o.within(m, m.answered[to], mostAnswers, "answers to one node in an interval")
}
