package gate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"tangaroa/bftraft"
	"tangaroa/bftraft/kv"
	"tangaroa/bftraft/replica"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// Workload is what is counted, per operation.
type Workload struct {
	Name        string
	Nodes       int
	Clients     int // each has at most 32 requests outstanding
	Outstanding int // requests
	OpsEach     int // operations in each request
	Requests    int // that are counted, after a quarter as many that are not
	Read        bool
	NewLeader   bool // instead: what it takes from the death of a leader to the next commit
}

// Workloads are those of the table.
func Workloads() []Workload {
	return []Workload{
		{Name: "put-1", Nodes: 4, Clients: 1, Outstanding: 1, OpsEach: 1, Requests: 100},
		{Name: "put-64", Nodes: 4, Clients: 2, Outstanding: 64, OpsEach: 1, Requests: 640},
		{Name: "bundle-8x128", Nodes: 4, Clients: 1, Outstanding: 8, OpsEach: 128, Requests: 48},
		{Name: "put-1-n7", Nodes: 7, Clients: 1, Outstanding: 1, OpsEach: 1, Requests: 100},
		{Name: "put-1-n10", Nodes: 10, Clients: 1, Outstanding: 1, OpsEach: 1, Requests: 100},
		{Name: "read-1", Nodes: 4, Clients: 1, Outstanding: 1, OpsEach: 1, Requests: 100, Read: true},
		{Name: "new-leader", Nodes: 4, Clients: 1, OpsEach: 1, NewLeader: true},
	}
}

// run is a workload under way.
type run struct {
	*World
	Workload
	sent, seq uint64
	value     []byte
}

// Count does the workload and returns what it took, and by how many operations to divide that.
func (l Workload) Count() (Counts, int, error) {
	w, err := NewWorld(l.Nodes, l.Clients)
	if err != nil {
		return Counts{}, 0, err
	}
	r := &run{World: w, Workload: l, value: make([]byte, 128)}
	if err := r.do(max(1, l.Requests/4)); err != nil {
		return Counts{}, 0, err
	}
	var counts Counts
	ops := 1
	before := r.Counts
	before.Allocations = mallocs()
	switch {
	case l.NewLeader:
		err = r.changeLeader()
	case l.Read:
		ops, err = l.Requests, r.read()
	default:
		ops, err = l.Requests*l.OpsEach, r.do(l.Requests)
	}
	after := r.Counts
	after.Allocations = mallocs()
	counts = after.minus(before)
	return counts, ops, errors.Join(err, r.finish())
}

func mallocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

// do has so many requests executed, of which at most Outstanding are under way.
func (r *run) do(requests int) error {
	last := r.sent + uint64(requests)
	for r.done() < last {
		for r.sent < last && r.sent-r.done() < uint64(max(1, r.Outstanding)) {
			if err := r.request(); err != nil {
				return err
			}
		}
		if len(r.wire) == 0 {
			return errors.New("gate: requests are under way and nothing happens")
		}
		r.step()
		if r.failed != nil {
			return r.failed
		}
	}
	return r.settle()
}

// done is how many requests f+1 members have executed.
func (r *run) done() uint64 {
	var executed []uint64
	for _, m := range r.members {
		if !m.dead {
			executed = append(executed, m.Stats().Requests)
		}
	}
	slices.Sort(executed)
	return executed[len(executed)-1-quorumcert.ForNodes(len(r.members)).F]
}

// request sends the next one to the leader.
func (r *run) request() error {
	leader := r.leader()
	if leader == nil {
		return errors.New("gate: there is no leader to ask")
	}
	key := r.clients[r.sent%uint64(len(r.clients))]
	sequence := r.sent/uint64(len(r.clients)) + 1
	ops := make([][]byte, r.OpsEach)
	for i := range ops {
		r.seq++
		binary.BigEndian.PutUint64(r.value, r.seq)
		op, err := kv.EncodeOp(kv.Put{
			Key: fmt.Appendf(nil, "load/%07d", r.seq%1000), Value: r.value,
		})
		if err != nil {
			return err
		}
		ops[i] = op
	}
	signed := bftraft.SignRequest(leader.verifier.Cluster(), key, 1, sequence, ops)
	r.Counts.Signed++
	r.sent++
	r.put(leader.id, key, bftraft.RequestFrame(signed.Raw()))
	return nil
}

func (r *run) put(to crypto.NodeID, key crypto.PrivateKey, frame []byte) {
	r.count(frame)
	r.wire = append(r.wire, packet{
		to: to, client: replica.ClientID{Key: key.Public(), Conn: 1}, frame: frame,
	})
}

// read asks every member the same, as often as there are requests.
func (r *run) read() error {
	query, err := kv.EncodeQuery(kv.Range{Span: kv.One([]byte("load/0000001"))})
	if err != nil {
		return err
	}
	for i := range r.Requests {
		q := bftraft.ReadRequest{Queries: [][]byte{query}}
		binary.BigEndian.PutUint64(q.Nonce[:], uint64(i+1))
		frame := q.Encode()
		answered := len(r.answers)
		for _, m := range r.members {
			r.put(m.id, r.clients[0], frame)
		}
		if err := r.settle(); err != nil {
			return err
		}
		if got := len(r.answers) - answered; got != r.Nodes {
			return fmt.Errorf("gate: %d of %d members answered a read", got, r.Nodes)
		}
	}
	return nil
}

// changeLeader lets the leader die, and ends when the others have executed one more request.
func (r *run) changeLeader() error {
	r.leader().dead = true
	if err := r.until("a new leader", func() bool { return r.leader() != nil }); err != nil {
		return err
	}
	if err := r.request(); err != nil {
		return err
	}
	return r.until("a commit", func() bool { return r.done() == r.sent })
}

// finish lets all catch up and compares them.
func (r *run) finish() error {
	return errors.Join(r.until("all have executed everything", func() bool {
		for _, m := range r.members {
			if !m.dead && m.Stats().Requests < r.sent {
				return false
			}
		}
		return true
	}), r.agree())
}
