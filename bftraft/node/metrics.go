package node

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/p2p"
)

// metrics are those of one node, in a registry of its own. All names begin with bft_, but for what
// the process says about itself.
type metrics struct {
	registry *prometheus.Registry

	// drops is indexed by peer and outcome. Who is a member, or was one since the start, has counters
	// in it and in the next two: see watchPeer.
	drops                 [crypto.MaxNodeID + 1][]prometheus.Counter
	fulls                 [crypto.MaxNodeID + 1]prometheus.Counter
	slowed                [crypto.MaxNodeID + 1]prometheus.Counter
	dropped, slowings     *prometheus.CounterVec // of these they are made
	clientFull            prometheus.Counter
	refusals              *prometheus.CounterVec
	changes               *prometheus.CounterVec
	sigVerified, sigWrong prometheus.Counter
	save, commit, turn    prometheus.Histogram
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		clientFull: counter("bft_client_drops_total",
			"Frames of clients dropped because a queue was full."),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bft_drops_total", Help: "Messages of other nodes that were ignored, by reason.",
		}, []string{"peer", "reason"}),
		slowings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bft_peer_slowed_total",
			Help: "Times that another node had to wait because it sent much of no use.",
		}, []string{"peer"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bft_client_refusals_total", Help: "Requests of clients refused, by reason.",
		}, []string{"reason"}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bft_leader_changes_total",
			Help: "Changes of leader, by the reason for which this node suspected the last.",
		}, []string{"cause"}),
		sigVerified: counter("bft_signatures_verified_total", "Signatures found valid."),
		sigWrong: counter("bft_signatures_rejected_total",
			"Signatures, or batches with one, found invalid."),
		save: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "bft_save_seconds", Help: "Time to make a step durable (fsync).",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		}),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "bft_commit_seconds", Help: "Time from storing a block to its commit.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}),
		turn: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "bft_turn_seconds",
			Help:    "Time in which the protocol takes in what waits, flushes and answers.",
			Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5},
		}),
	}
	m.registry.MustRegister(m.dropped, m.slowings, m.clientFull, m.refusals, m.changes,
		m.sigVerified, m.sigWrong, m.save, m.commit, m.turn, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, cause := range bftraft.Causes() {
		m.changes.WithLabelValues(cause.String())
	}
	return m
}

// queueFull is the word for what was dropped before anybody looked at it.
const queueFull = "queue_full"

// watchPeer makes the counters of a member that has none, before anybody else is told of it. They
// stay when it leaves: whoever counts does not like them to begin again.
func (m *metrics) watchPeer(id crypto.NodeID) {
	if m.fulls[id] != nil {
		return
	}
	for _, d := range bftraft.Drops() {
		var c prometheus.Counter
		if d != bftraft.Accepted {
			c = m.dropped.WithLabelValues(label(id), d.String())
		}
		m.drops[id] = append(m.drops[id], c)
	}
	m.fulls[id] = m.dropped.WithLabelValues(label(id), queueFull)
	m.slowed[id] = m.slowings.WithLabelValues(label(id))
}

func label(id crypto.NodeID) string { return strconv.Itoa(int(id)) }

// drop counts a message that was ignored. What comes from no member was refused by the network and
// is counted there.
func (m *metrics) drop(peer crypto.NodeID, d bftraft.Drop) {
	if peer.Valid() && int(d) < len(m.drops[peer]) && m.drops[peer][d] != nil {
		m.drops[peer][d].Inc()
	}
}

func (m *metrics) full(peer crypto.NodeID) { m.fulls[peer].Inc() }

func (m *metrics) refused(code bftraft.RefusalCode) {
	m.refusals.WithLabelValues(code.String()).Inc()
}

func (m *metrics) leaderChanged(cause bftraft.Cause) {
	m.changes.WithLabelValues(cause.String()).Inc()
}

// scheme counts what a scheme verifies.
func (m *metrics) scheme(s crypto.Scheme) crypto.Scheme {
	return &countingScheme{Scheme: s, verified: m.sigVerified, rejected: m.sigWrong}
}

// watchNode adds what is read from the node when somebody asks.
func (m *metrics) watchNode(n *Node) {
	m.registry.MustRegister(&pictures{node: n})
}

// pictures turns the newest Status and the network's counters into metrics.
type pictures struct{ node *Node }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

var (
	descTerm    = desc("bft_term", "Present term.")
	descLeader  = desc("bft_leader", "Node that leads the present term, 0 while none is known.")
	descReady   = desc("bft_ready", "1 if there is a leader and commits go on.")
	descBase    = desc("bft_base_index", "The durable log begins behind it.")
	descStable  = desc("bft_checkpoint_index", "Index of the newest certified checkpoint kept.")
	descTip     = desc("bft_tip_index", "End of the durable log.")
	descLocked  = desc("bft_locked_index", "Index of the lock.")
	descCommit  = desc("bft_commit_index", "Highest committed index.")
	descApplied = desc("bft_applied_index", "Highest executed index.")
	descOps     = desc("bft_operations_total", "Operations executed since the start.")
	descProofs  = desc("bft_equivocations_total", "Proofs held against a voter.", "peer")
	descFaulty  = desc("bft_faulty", "1 for a voter that is not trusted any more.", "peer")
	descQueue   = desc("bft_queue_depth", "Frames waiting to be verified.", "peer", "class")
	descOutbox  = desc("bft_outbox_depth", "Frames waiting to be sent.", "peer", "class")
	descLost    = desc("bft_outbox_drops_total", "Frames not sent.", "peer", "class")
	descLinks   = desc("bft_connected", "1 for a node that is connected.", "peer")
	descClients = desc("bft_client_connections", "Clients connected now.")
	descRefused = desc("bft_strangers_total", "Connections of strangers refused.")
	descBroken  = desc("bft_violations_total",
		"Links ended for an oversize or slow frame or an alien stream; peer is empty for clients.",
		"peer")
)

// Describe sends nothing: the labels depend on who is connected.
func (c *pictures) Describe(chan<- *prometheus.Desc) {}

// Collect reads the newest picture.
func (c *pictures) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	s := c.node.seen.Load()
	gauge(descTerm, float64(s.Term))
	gauge(descLeader, float64(s.Leader))
	gauge(descReady, truth(s.Ready))
	gauge(descBase, float64(s.Base))
	gauge(descStable, float64(s.Checkpoint))
	gauge(descTip, float64(s.Tip))
	gauge(descLocked, float64(s.Locked))
	gauge(descCommit, float64(s.Commit))
	gauge(descApplied, float64(s.Applied))
	out <- prometheus.MustNewConstMetric(descOps, prometheus.CounterValue, float64(s.Executed))
	c.collectVoters(s, out, gauge)
	in := c.node.in
	gauge(descQueue, float64(in.clients.depth()), "", "client")
	select {
	case <-c.node.started:
		c.collectNetwork(c.node.network.Stats(), out, gauge)
	default:
	}
}

type gaugeFunc func(d *prometheus.Desc, v float64, labels ...string)

func (c *pictures) collectVoters(s *Status, out chan<- prometheus.Metric, gauge gaugeFunc) {
	var proofs [crypto.MaxNodeID + 1]int
	var faulty [crypto.MaxNodeID + 1]bool
	for _, e := range s.Evidence {
		proofs[e.Culprit]++
	}
	for _, id := range s.Faulty {
		faulty[id] = true
	}
	for id := range c.node.in.peers {
		p := c.node.in.peers[id].Load()
		if p == nil {
			continue
		}
		peer := label(crypto.NodeID(id))
		out <- prometheus.MustNewConstMetric(descProofs, prometheus.CounterValue,
			float64(proofs[id]), peer)
		gauge(descFaulty, truth(faulty[id]), peer)
		for class, q := range p.queues {
			gauge(descQueue, float64(q.depth()), peer, p2p.Class(class).String())
		}
	}
}

func (c *pictures) collectNetwork(s p2p.Stats, out chan<- prometheus.Metric, gauge gaugeFunc) {
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	for _, p := range s.Peers {
		if c.node.in.peer(p.ID) == nil {
			continue // it has left, and is told so when it comes back
		}
		peer := label(p.ID)
		gauge(descLinks, truth(p.Connected), peer)
		count(descBroken, p.Violations, peer)
		for class, k := range p.Classes {
			name := p2p.Class(class).String()
			gauge(descOutbox, float64(k.Queued), peer, name)
			count(descLost, k.Dropped, peer, name)
		}
	}
	gauge(descOutbox, float64(s.Clients.Queued), "", "client")
	gauge(descClients, float64(s.ClientConns))
	count(descBroken, s.ClientViolations, "")
	count(descRefused, s.Refused)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
