package plainraft

import (
	"context"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"tangaroa/bftraft/kv"
	"tangaroa/crypto"
	"tangaroa/p2p"
)

// patience is how long anything may take on a busy machine.
const patience = time.Minute

// three starts three nodes and a client.
func three(t *testing.T) ([]*Node, *Client) {
	client := crypto.GenerateKey()
	voters := []crypto.NodeID{1, 2, 3}
	var nodes []*Node
	var peers []p2p.Peer
	for _, id := range voters {
		key := crypto.GenerateKey()
		n, err := New(Config{
			ID: id, Key: key, Voters: voters, Client: client.Public(),
			Dir: filepath.Join(t.TempDir(), strconv.Itoa(int(id))),
		})
		require.NoError(t, err)
		require.NoError(t, n.Start())
		t.Cleanup(func() { require.NoError(t, n.Stop()) })
		nodes = append(nodes, n)
		peers = append(peers, p2p.Peer{ID: id, Key: key.Public(), Addrs: n.Addrs()})
	}
	for i, n := range nodes {
		others := append(append([]p2p.Peer{}, peers[:i]...), peers[i+1:]...)
		require.NoError(t, n.SetPeers(others))
	}
	c, err := NewClient(client, peers)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return nodes, c
}

// put writes many values at once and waits for all.
func put(t *testing.T, c *Client, from, to int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var all sync.WaitGroup
	errs := make([]error, to-from)
	for i := range errs {
		all.Go(func() {
			op, err := kv.EncodeOp(kv.Put{Key: []byte{byte(i + from)}, Value: make([]byte, 1024)})
			if err == nil {
				_, err = c.Submit(ctx, op)
			}
			errs[i] = err
		})
	}
	all.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
}

// agreed waits until all nodes hold the same.
func agreed(t *testing.T, nodes []*Node, revision kv.Revision) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, n := range nodes {
		for {
			var at kv.Revision
			require.NoError(t, n.Look(ctx, func(m *kv.Machine) { at = m.Revision() }))
			if at >= revision {
				break
			}
		}
	}
	var first crypto.Digest
	for i, n := range nodes {
		var d crypto.Digest
		require.NoError(t, n.Look(ctx, func(m *kv.Machine) { d = m.Digest() }))
		if i == 0 {
			first = d
		}
		require.Equal(t, first, d, "node %d", n.ID())
	}
}

func TestClusterAgreesAndOutlivesItsLeader(t *testing.T) {
	nodes, c := three(t)
	put(t, c, 0, 100)
	agreed(t, nodes, 100)
	var alive []*Node
	for _, n := range nodes {
		if n.Leader() == n.ID() {
			require.NoError(t, n.Stop())
			continue
		}
		alive = append(alive, n)
	}
	require.Len(t, alive, 2)
	put(t, c, 100, 200)
	agreed(t, alive, 200)

	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	query, err := kv.EncodeQuery(kv.Range{Span: kv.One([]byte{150})})
	require.NoError(t, err)
	got, err := c.Read(ctx, query)
	require.NoError(t, err)
	answer, err := kv.DecodeQueryResult(got)
	require.NoError(t, err)
	require.Len(t, answer.(kv.RangeResult).KVs, 1)
}

func TestDiskHoldsTheLogOnceItIsAcknowledged(t *testing.T) {
	nodes, c := three(t)
	put(t, c, 0, 50)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	full := 0
	for _, n := range nodes {
		// On the owner's goroutine: what is answered lies on the disks of a majority.
		looked := make(chan struct{})
		select {
		case n.inbox <- incoming{look: func(n *Node) {
			defer close(looked)
			stored, err := n.disk.entries()
			require.NoError(t, err)
			ops := 0
			for _, e := range stored {
				if _, _, rest, err := decodeHead(e.GetData()); err == nil {
					list, err := decodeList(rest)
					require.NoError(t, err)
					ops += len(list)
				}
			}
			if ops == 50 {
				full++
			}
		}}:
		case <-ctx.Done():
		}
		<-looked
	}
	require.GreaterOrEqual(t, full, 2)
}

func TestDiskCutsWhatTheLogReplaces(t *testing.T) {
	d, err := openDisk(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.close()) })
	save := func(term uint64, indexes ...uint64) {
		rd := readyOf(term, indexes)
		require.NoError(t, d.save(rd))
	}
	save(1, 2, 3, 4, 5)
	save(2, 3)
	stored, err := d.entries()
	require.NoError(t, err)
	want := append(readyOf(1, []uint64{2}).Entries, readyOf(2, []uint64{3}).Entries...)
	require.Len(t, stored, len(want))
	for i, e := range want {
		require.True(t, proto.Equal(e, stored[i]), "%v", stored[i])
	}
}

// TestDiskHoldsWhatBadgerTook saves more than waits in the journal, in small pieces and a large.
func TestDiskHoldsWhatBadgerTook(t *testing.T) {
	d, err := openDisk(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.close()) })
	for i := range uint64(1500) {
		rd := readyOf(1, []uint64{2 + i})
		if i == 1300 {
			rd.Entries[0].Data = make([]byte, 200<<10)
		}
		require.NoError(t, d.save(rd))
		if i%250 == 0 || i >= 1299 && i < 1303 {
			stored, err := d.entries()
			require.NoError(t, err)
			require.Len(t, stored, int(1+i))
		}
	}
	require.EqualValues(t, 3, d.batch, "twice 1,024 operations, and the large one")
	require.EqualValues(t, 1500, d.saves)
}

func TestFramesWithGarbageAreRefused(t *testing.T) {
	list := [][]byte{{1}, {}, {2, 3}}
	kind, sequence, rest, err := decodeHead(encodeList(frameWrite, 7, list))
	require.NoError(t, err)
	require.EqualValues(t, frameWrite, kind)
	require.EqualValues(t, 7, sequence)
	got, err := decodeList(rest)
	require.NoError(t, err)
	require.Equal(t, list, got)
	_, err = decodeList(rest[:len(rest)-1])
	require.ErrorIs(t, err, errMalformed)
	_, _, _, err = decodeHead(make([]byte, headBytes-1))
	require.ErrorIs(t, err, errMalformed)
}

func entry(term, index uint64) *pb.Entry {
	return &pb.Entry{Term: &term, Index: &index, Data: []byte{byte(term), byte(index)}}
}

func readyOf(term uint64, indexes []uint64) *raft.Ready {
	rd := &raft.Ready{MustSync: true, HardState: &pb.HardState{Term: &term}}
	for _, i := range indexes {
		rd.Entries = append(rd.Entries, entry(term, i))
	}
	return rd
}
