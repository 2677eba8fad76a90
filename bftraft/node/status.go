package node

import (
	"time"

	"tangaroa/bftraft"
	"tangaroa/bftraft/replica"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// Status is a picture of a node for people and programs. It is what /status serves.
type Status struct {
	Node     crypto.NodeID   `json:"node"`
	Role     string          `json:"role"` // see RoleVoter and those behind it
	Cluster  crypto.Digest   `json:"cluster"`
	Name     string          `json:"name"` // of the cluster
	Testnet  bool            `json:"testnet"`
	Term     quorumcert.Term `json:"term"`
	Leader   crypto.NodeID   `json:"leader"` // 0 while none is known
	Suspects string          `json:"suspects"`
	Backoff  int             `json:"backoff"` // doublings of the timeouts

	// Change is the number of the newest change that is in force here, 0 for none, and Joint says
	// whether the voters are being changed.
	Change uint64 `json:"change"`
	Joint  bool   `json:"joint"`

	Base    quorumcert.Index `json:"base"`    // the log begins behind it
	Tip     quorumcert.Index `json:"tip"`     // end of the durable log
	Locked  quorumcert.Index `json:"locked"`  // certified
	Commit  quorumcert.Index `json:"commit"`  // committed
	Applied quorumcert.Index `json:"applied"` // executed

	// Checkpoint is the index of the newest certified checkpoint that the node keeps, 0 for none.
	// Fetching is the state that is being fetched, nil for none.
	Checkpoint quorumcert.Index `json:"checkpoint"`
	Fetching   *Fetching        `json:"fetching,omitempty"`

	Ready    bool         `json:"ready"`
	NotReady string       `json:"not_ready,omitempty"` // why
	Uptime   float64      `json:"uptime_seconds"`
	Peers    []PeerStatus `json:"peers"`
	// Faulty are the voters not to be trusted. They are plain numbers because a list of bytes, which
	// NodeIDs are, is text in JSON.
	Faulty   []int            `json:"faulty"`
	Evidence []EvidenceStatus `json:"evidence"`
	Executed uint64           `json:"executed_operations"` // since the start
}

// Fetching is how far a state has come that a node fetches because the others have let go of the
// log that it lacks.
type Fetching struct {
	Checkpoint quorumcert.Index `json:"checkpoint"` // its index, 0 while it is looked for
	Done       int              `json:"chunks_done"`
	Chunks     int              `json:"chunks"`
	Kept       int              `json:"chunks_kept"` // those that an earlier process had fetched
	From       []int            `json:"from"`        // who serves
	Poisoned   []int            `json:"poisoned"`    // who served what is not certified
}

// PeerStatus is what a node knows of another.
type PeerStatus struct {
	Node     crypto.NodeID    `json:"node"`
	Role     string           `json:"role"` // see RoleVoter and those behind it
	Term     quorumcert.Term  `json:"term"`
	Leader   crypto.NodeID    `json:"leader"`
	Commit   quorumcert.Index `json:"commit"`
	Suspects bool             `json:"suspects"` // the present term
	Silent   bool             `json:"silent"`   // for an election timeout
}

// EvidenceStatus describes a proof that a voter is faulty.
type EvidenceStatus struct {
	Culprit crypto.NodeID    `json:"culprit"`
	Kind    string           `json:"kind"` // two_acks or two_votes
	Term    quorumcert.Term  `json:"term"`
	Index   quorumcert.Index `json:"index,omitempty"`
}

// Describe says what a proof is about.
func Describe(e *quorumcert.Evidence) EvidenceStatus {
	switch {
	case e.Acks != nil:
		return EvidenceStatus{e.Culprit(), "two_acks", e.Acks.A.Term, e.Acks.A.Index}
	case e.Votes != nil:
		return EvidenceStatus{Culprit: e.Culprit(), Kind: "two_votes", Term: e.Votes.A.Term}
	}
	return EvidenceStatus{}
}

// picture makes a Status of a core's state and its members, without judging readiness.
func (n *Node) picture(s *bftraft.State, applied bftraft.Index, m *bftraft.Membership) *Status {
	out := &Status{
		Role: roleOf(m, n.cfg.Key.Public()), Change: m.Number, Joint: m.Joint(),
		Node: n.cfg.ID, Cluster: n.verifier.Cluster(), Name: n.cfg.Genesis.Name,
		Testnet: n.cfg.Genesis.Testnet, Term: s.Term, Leader: s.Leader,
		Suspects: s.Suspects.String(), Backoff: s.Backoff, Base: s.Base.Index, Tip: s.Tip.Index,
		Locked: s.Lock.Index, Commit: s.Commit.Index, Applied: applied,
		NotReady: "starting", Peers: make([]PeerStatus, len(s.Peers)),
		Evidence: make([]EvidenceStatus, len(s.Evidence)),
	}
	out.Faulty = numbers(s.Faulty)
	var roles [crypto.MaxNodeID + 1]string
	for _, node := range m.Nodes {
		roles[node.ID] = roleOf(m, node.Key)
	}
	for i := range s.Peers {
		p := &s.Peers[i]
		out.Peers[i] = PeerStatus{
			Node: p.ID, Role: roles[p.ID], Term: p.Status.Term, Leader: p.Status.Leader,
			Commit: p.Status.Commit.Index, Suspects: p.Suspects, Silent: p.Silent,
		}
	}
	for i := range s.Evidence {
		out.Evidence[i] = Describe(&s.Evidence[i])
	}
	return out
}

// numbers returns the voters of a set.
func numbers(s bftraft.Set) []int {
	out := []int{}
	for _, id := range s.Members() {
		out = append(out, int(id))
	}
	return out
}

// fetching describes a transfer, nil for none.
func fetching(r *replica.Replica) *Fetching {
	t, some := r.Transfer()
	if !some {
		return nil
	}
	return &Fetching{
		Checkpoint: t.At, Done: t.Done, Chunks: t.Chunks, Kept: t.Kept,
		From: numbers(t.From), Poisoned: numbers(t.Poisoned),
	}
}

// watch notices what an operator should know. It belongs to the owner.
type watch struct {
	begunAt  time.Time
	leader   crypto.NodeID // the last one known, 0 before the first
	term     quorumcert.Term
	cause    bftraft.Cause    // why this node last suspected its term
	evidence int              // proofs reported
	commit   quorumcert.Index // at movedAt
	movedAt  time.Time        // when commits last moved, or nothing was waiting
	stats    replica.Stats    // as last reported
	fetches  bool             // a state is being fetched
	fittedAt time.Time        // when the memory limit was looked at
}

// fitEvery is how often the memory limit of the process is looked at.
const fitEvery = time.Second

// staleAfter is how long something may wait to be committed before the node is not ready.
const staleAfter = 5 * time.Second

// begin reports nothing that was known before the start.
func (w *watch) begin(n *Node, now time.Time) {
	s := n.replica.Core()
	w.begunAt, w.movedAt, w.term, w.evidence = now, now, s.Term, len(s.Evidence)
	w.stats = n.replica.Stats()
	w.look(n, now)
}

// saw remembers causes of suspicion that may be gone by the next tick.
func (w *watch) saw(m bftraft.Message, drop bftraft.Drop) {
	if drop != bftraft.Accepted {
		return
	}
	if _, ok := m.(*bftraft.Resign); ok {
		w.cause = bftraft.CauseResigned
	}
}

// look takes a new picture and compares.
func (w *watch) look(n *Node, now time.Time) {
	s := n.replica.Core()
	members := n.replica.Verifier().Members()
	out := n.picture(&s, n.replica.Executed().Index, members)
	out.Executed = n.replica.Stats().Ops
	out.Uptime = now.Sub(w.begunAt).Seconds()
	if now.Sub(w.fittedAt) >= fitEvery {
		w.fittedAt = now
		fitMemory()
	}
	out.Checkpoint, out.Fetching = n.replica.Checkpoint(), fetching(n.replica)
	w.reportState(n, out)
	if s.Suspects != bftraft.CauseNone {
		w.cause = s.Suspects
	}
	w.reportEvidence(n, &s)
	w.reportLeader(n, &s)
	waiting := s.Tip.Index > s.Commit.Index
	for i := range s.Peers {
		waiting = waiting || s.Peers[i].Status.Commit.Index > s.Commit.Index
	}
	if !waiting || s.Commit.Index != w.commit {
		w.commit, w.movedAt = s.Commit.Index, now
	}
	out.NotReady = w.notReady(members.Voters, &s, now)
	out.Ready = out.NotReady == ""
	n.seen.Store(out)
}

// notReady says why the node is of no use to clients now, "" if it is.
func (w *watch) notReady(voters []quorumcert.Voter, s *bftraft.State, now time.Time) string {
	var silent bftraft.Set
	for i := range s.Peers {
		if s.Peers[i].Silent {
			silent = silent.With(s.Peers[i].ID)
		}
	}
	heard := 0
	for _, v := range voters {
		if !silent.Has(v.ID) {
			heard++ // this node hears itself, if it is one
		}
	}
	switch {
	case w.fetches:
		return "a state is being fetched"
	case s.Leader == 0:
		return "no leader is known"
	case s.Suspects != bftraft.CauseNone:
		return "this node suspects the leader: " + s.Suspects.String()
	case heard < quorumcert.ForNodes(len(voters)).Q:
		return "no quorum of nodes is heard of"
	case now.Sub(w.movedAt) >= staleAfter:
		return "what waits is not being committed here"
	}
	return ""
}

func (w *watch) reportEvidence(n *Node, s *bftraft.State) {
	for ; w.evidence < len(s.Evidence); w.evidence++ {
		d := Describe(&s.Evidence[w.evidence])
		n.log.Warn("voter is proven faulty", "peer", d.Culprit, "evidence", d.Kind,
			"term", d.Term, "index", d.Index)
	}
}

// reportState says what an operator should know of checkpoints and of states on their way.
func (w *watch) reportState(n *Node, s *Status) {
	now, before := n.replica.Stats(), w.stats
	w.stats = now
	if now.Checkpoints > before.Checkpoints {
		n.log.Debug("checkpoint is kept", "index", s.Checkpoint, "log_begins", s.Base)
	}
	for _, id := range (now.Poisoned &^ before.Poisoned).Members() {
		n.log.Warn("peer served a part of a state that is not the certified one", "peer", id)
	}
	if now.Installed > before.Installed {
		n.log.Info("state of others is in place", "index", s.Checkpoint,
			"chunks_kept", now.Resumed)
	}
	if fetches := s.Fetching != nil; fetches != w.fetches {
		w.fetches = fetches
		if fetches {
			n.log.Info("the others have let go of the log that this node lacks: fetching a state",
				"committed", s.Commit)
		}
	}
}

func (w *watch) reportLeader(n *Node, s *bftraft.State) {
	if s.Term != w.term && w.leader != 0 && s.Faulty.Has(w.leader) {
		w.cause = bftraft.CauseProof
	}
	w.term = s.Term
	if s.Leader == 0 || s.Leader == w.leader {
		if s.Leader != 0 {
			w.cause = s.Suspects
		}
		return
	}
	if w.leader == 0 {
		n.log.Info("leader is known", "leader", s.Leader, "term", s.Term)
	} else {
		cause := w.cause
		if cause == bftraft.CauseNone {
			cause = bftraft.CauseOthers // a quorum suspected it and this node did not
		}
		n.metrics.leaderChanged(cause)
		n.log.Info("leader changed", "leader", s.Leader, "before", w.leader, "term", s.Term,
			"cause", cause)
	}
	w.leader, w.cause = s.Leader, s.Suspects
}
