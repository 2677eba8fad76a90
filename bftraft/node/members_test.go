package node

import (
	"context"
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/replica"
	"tangaroa/crypto"
)

// gate returns what judges what comes in at a node.
func (r *running) gate() *bftraft.Verifier { return r.in.gate.Load() }

// changeAt returns a change of what is in force at a node, with the administrator's signature.
func changeAt(r *running, steps ...bftraft.ChangeStep) *bftraft.Change {
	m := r.gate().Members()
	ch := &bftraft.Change{Number: m.Number + 1, Replaces: m.At, Steps: steps}
	ch.Endorse(r.gate().Cluster(), adminKey())
	return ch
}

// askReady asks nodes as the client until all of them are ready for a change, whose signatures it
// adds.
func askReady(t *testing.T, replies chan []byte, nodes []*running, ch *bftraft.Change) {
	t.Helper()
	for _, r := range nodes {
		within(t, 10*time.Second, "node "+label(r.id)+" is ready", func() bool {
			answer, err := bftraft.DecodeReadiness(
				r.fromClient(replies, bftraft.ReadyRequest(ch)))
			require.NoError(t, err)
			require.Equal(t, ch.Digest(r.gate().Cluster()), answer.Change)
			if answer.Code == bftraft.ReadyYes {
				ch.AddReady(answer.Word)
				return true
			}
			return false
		})
	}
}

// carry has a node carry a change that must come into force.
func carry(t *testing.T, r *running, ch *bftraft.Change) {
	t.Helper()
	number, why := bftraft.DecodeChangeResult(submit(t, r, ch.Op())[0])
	require.NoError(t, why)
	require.Equal(t, ch.Number, number)
}

// join starts a node that has not been a member from the start.
func join(
	t *testing.T, b *switchboard, g *bftraft.Genesis, id crypto.NodeID, told *running,
) *running {
	disk := newDisk(g, id)
	cfg := testConfig(g, id, disk)
	cfg.NewNetwork, cfg.Client = b.network, crypto.PrivateKey{}
	cfg.Changes = told.gate().Changes()
	return launch(t, cfg, disk)
}

// allAt waits until nodes have a number of changes in force, and the same role.
func allAt(t *testing.T, nodes []*running, number uint64, role string) {
	t.Helper()
	within(t, 10*time.Second, "change "+role, func() bool {
		for _, r := range nodes {
			if s := r.Status(); s.Change != number || s.Joint || s.Role != role || !s.Ready {
				return false
			}
		}
		return true
	})
}

// writing submits operations at a node, one after the other, until it is told to stop, and returns
// how many. It pauses between them: time stands still while anybody works.
func writing(t *testing.T, r *running) (stop func() int) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int)
	go func() {
		n := 0
		for ctx.Err() == nil {
			limited, end := context.WithTimeout(context.Background(), 20*time.Second)
			_, err := r.Submit(limited, []byte{1})
			end()
			if err != nil {
				t.Errorf("write %d: %v", n, err)
				break
			}
			n++
			pause := time.NewTimer(30 * time.Millisecond)
			<-pause.C
		}
		done <- n
	}()
	return func() int {
		cancel()
		return <-done
	}
}

// agree waits until nodes have executed the same, and as much as was written.
func agree(t *testing.T, nodes []*running, written uint64) {
	t.Helper()
	within(t, 10*time.Second, "all execute all", func() bool {
		for _, r := range nodes {
			total, err := r.Query(context.Background(), nil)
			require.NoError(t, err)
			if binary.BigEndian.Uint64(total) != written {
				return false
			}
		}
		return true
	})
	digests := map[crypto.Digest]bool{}
	for _, r := range nodes {
		require.NoError(t, r.look(context.Background(), func(own *replica.Replica) {
			digests[own.SessionsDigest()] = true
		}))
	}
	require.Len(t, digests, 1)
}

// promoteFifth has a fifth node join four, and become a voter.
func promoteFifth(
	t *testing.T, b *switchboard, g *bftraft.Genesis, nodes []*running, replies chan []byte,
) []*running {
	five := seeded(5).Public()
	carry(t, nodes[0], changeAt(nodes[0], bftraft.ChangeStep{
		Kind: bftraft.AddNode, Key: five, Name: "10.0.0.5:7100",
	}))
	allAt(t, nodes, 1, RoleVoter)
	require.Equal(t, RoleLearner, nodes[0].Status().Peers[3].Role)
	require.Equal(t, []string{"10.0.0.5:7100"}, b.peersOf(1)[3].Addrs)
	fifth := join(t, b, g, 5, nodes[0])
	all := append(append([]*running{}, nodes...), fifth)
	allAt(t, all[4:], 1, RoleLearner)
	promote := changeAt(nodes[1], bftraft.ChangeStep{Kind: bftraft.Promote, Key: five})
	askReady(t, replies, all, promote)
	carry(t, nodes[1], promote)
	allAt(t, all, 3, RoleVoter)
	return all
}

// TestNodesComeAndGoWhileOthersWrite is the life of a cluster: a fifth node joins as a learner and
// becomes a voter, and the first is taken out.
func TestNodesComeAndGoWhileOthersWrite(t *testing.T) {
	onBoard(t, 4, func(t *testing.T, b *switchboard, nodes []*running) {
		g := testGenesis(4)
		replies := b.client(clientKey().Public())
		within(t, 10*time.Second, "a leader", func() bool { return agreedLeader(nodes) != 0 })
		stop := writing(t, nodes[2])
		all := promoteFifth(t, b, g, nodes, replies)
		stay, gone := all[1:], all[0]
		defer all[4].end()
		remove := changeAt(stay[0], bftraft.ChangeStep{
			Kind: bftraft.RemoveNode, Key: seeded(1).Public(),
		})
		askReady(t, replies, stay, remove)
		carry(t, stay[0], remove)
		allAt(t, stay, 5, RoleVoter)
		within(t, 10*time.Second, "it has left", func() bool {
			select {
			case <-gone.ended:
				return true
			default:
				return false
			}
		})
		require.ErrorIs(t, gone.err, replica.ErrLeft)
		require.NotErrorIs(t, gone.err, ErrStorage)
		left := &LeftError{}
		require.ErrorAs(t, gone.err, &left)
		require.Equal(t, LeftError{5, stay[0].gate().Members().At.Index}, *left)
		within(t, 2*farewell, "nobody is linked with it", func() bool {
			for _, r := range stay {
				if len(b.peersOf(r.id)) != 3 {
					return false
				}
			}
			return true
		})
		submit(t, stay[0], []byte("goes on"))
		written := stop()
		require.Greater(t, written, 10)
		agree(t, stay, uint64(written+len("goes on")))
		refusesToComeBack(t, b, g, gone, stay[0].gate().Changes())
	})
}

// refusesToComeBack starts a node again that has left, with and without being told.
func refusesToComeBack(
	t *testing.T, b *switchboard, g *bftraft.Genesis, gone *running, told []*bftraft.ChangeProof,
) {
	disk := gone.disk.Crash(gone.disk.Unsynced()) // as it is when it is closed
	again := launchOn(t, b, g, gone.id, disk)
	<-again.ended
	require.ErrorIs(t, again.err, replica.ErrLeft, "its disk says so")
	require.EqualError(t, again.err, gone.err.Error(), "for the same reason")
	cfg := testConfig(g, gone.id, disk)
	cfg.Changes = told
	_, err := New(cfg)
	require.ErrorIs(t, err, ErrConfig)
	require.ErrorIs(t, err, replica.ErrLeft)
	require.ErrorContains(t, err, gone.err.Error())
}
