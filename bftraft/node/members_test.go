package node

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/replica"
	"tangaroa/bftraft/store"
	"tangaroa/crypto"
	"tangaroa/p2p"
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

// carry has a node carry a change that must come into force, and waits until it goes by it: the
// result is there a moment before.
func carry(t *testing.T, r *running, ch *bftraft.Change) {
	t.Helper()
	number, why := bftraft.DecodeChangeResult(submit(t, r, ch.Op())[0])
	require.NoError(t, why)
	require.Equal(t, ch.Number, number)
	within(t, time.Second, "it goes by the change", func() bool {
		return r.gate().Members().Number >= number
	})
}

// fifthConfig is that of a node which has not been a member from the start.
func fifthConfig(
	b *switchboard, g *bftraft.Genesis, disk *store.Memory, told []*bftraft.ChangeProof,
) Config {
	cfg := testConfig(g, 5, disk)
	cfg.NewNetwork, cfg.Client, cfg.Changes = b.network, crypto.PrivateKey{}, told
	return cfg
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
	t *testing.T, b *switchboard, nodes []*running, replies chan []byte,
) []*running {
	g := nodes[0].cfg.Genesis
	five := seeded(5).Public()
	carry(t, nodes[0], changeAt(nodes[0], bftraft.ChangeStep{
		Kind: bftraft.AddNode, Key: five, Name: "10.0.0.5:7100",
	}))
	allAt(t, nodes, 1, RoleVoter)
	require.Equal(t, RoleLearner, nodes[0].Status().Peers[3].Role)
	require.Equal(t, []string{"10.0.0.5:7100"}, b.peersOf(1)[3].Addrs)
	disk := newDisk(g, 5)
	fifth := launch(t, fifthConfig(b, g, disk, nodes[0].gate().Changes()), disk)
	all := append(append([]*running{}, nodes...), fifth)
	allAt(t, all[4:], 1, RoleLearner)
	promote := changeAt(nodes[1], bftraft.ChangeStep{Kind: bftraft.Promote, Key: five})
	askReady(t, replies, all, promote)
	carry(t, nodes[1], promote)
	allAt(t, all, 3, RoleVoter)
	return all
}

// TestNodesComeAndGoWhileOthersWrite is the life of a cluster: a fifth node joins as a learner and
// becomes a voter, and one is taken out, be it the leader.
func TestNodesComeAndGoWhileOthersWrite(t *testing.T) {
	t.Run("follower", func(t *testing.T) { comeAndGo(t, 1) })
	t.Run("leader", func(t *testing.T) { comeAndGo(t, 2) })
}

func comeAndGo(t *testing.T, id crypto.NodeID) {
	onBoard(t, 4, func(t *testing.T, b *switchboard, nodes []*running) {
		g := testGenesis(4)
		replies := b.client(clientKey().Public())
		within(t, 10*time.Second, "a leader", func() bool { return agreedLeader(nodes) != 0 })
		stop := writing(t, nodes[2])
		all := promoteFifth(t, b, nodes, replies)
		stay, gone := without(all, id), all[id-1]
		defer func() { require.NoError(t, stay[3].end()) }()
		require.Equal(t, id == 2, gone.Status().Leader == id)
		remove := changeAt(stay[0], bftraft.ChangeStep{
			Kind: bftraft.RemoveNode, Key: seeded(byte(id)).Public(),
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
		told := stay[3].cfg.Changes
		require.Len(t, told, 1)
		require.NoError(t, stay[3].end())
		disk := stay[3].disk.Crash(0)
		stay[3] = launch(t, fifthConfig(b, g, disk, told), disk)
		allAt(t, stay, 5, RoleVoter)
		agree(t, stay, uint64(written+len("goes on")))
		refusesToComeBack(t, b, gone, stay[0].gate().Changes())
	})
}

// TestNodeThatWasAwayWhenItWasTakenOutIsToldWhenItComesBack: each time, though it is refused for a
// while after it was told.
func TestNodeThatWasAwayWhenItWasTakenOutIsToldWhenItComesBack(t *testing.T) {
	const away = crypto.NodeID(4)
	onBoard(t, 4, func(t *testing.T, b *switchboard, nodes []*running) {
		g := testGenesis(4)
		replies := b.client(clientKey().Public())
		within(t, 10*time.Second, "a leader", func() bool { return agreedLeader(nodes) != 0 })
		all := promoteFifth(t, b, nodes, replies)
		stay := without(all, away)
		defer func() { require.NoError(t, stay[3].end()) }()
		require.NoError(t, all[away-1].end())
		remove := changeAt(stay[0], bftraft.ChangeStep{
			Kind: bftraft.RemoveNode, Key: seeded(byte(away)).Public(),
		})
		askReady(t, replies, stay, remove)
		carry(t, stay[0], remove)
		allAt(t, stay, 5, RoleVoter)
		awaits := func(r *running) bool { return len(b.peersOf(r.id)) == 4 }
		disk := all[away-1].disk
		for range 3 {
			within(t, 2*absence, "it may come back", func() bool {
				return awaits(stay[0]) && awaits(stay[1]) && awaits(stay[2])
			})
			again := launchOn(t, b, g, away, disk.Crash(disk.Unsynced()))
			within(t, 2*time.Second, "it is told", func() bool {
				select {
				case <-again.ended:
					return true
				default:
					return false
				}
			})
			require.ErrorIs(t, again.err, replica.ErrLeft)
			left := &LeftError{}
			require.ErrorAs(t, again.err, &left)
			require.Equal(t, LeftError{5, stay[0].gate().Members().At.Index}, *left)
			require.Nil(t, stay[0].in.peer(away), "nobody listens to it")
			told := time.Now()
			early := launchOn(t, b, g, away, disk.Crash(disk.Unsynced()))
			<-early.ended
			require.ErrorIs(t, early.err, replica.ErrLeft)
			require.GreaterOrEqual(t, time.Since(told), absence, "it is not told again and again")
			within(t, 2*farewell, "it is refused by who told it", func() bool {
				return !awaits(stay[0]) || !awaits(stay[1]) || !awaits(stay[2])
			})
			refusesToComeBack(t, b, again, stay[0].gate().Changes())
		}
	})
}

// TestLinkOfWhoLeavesStaysAsItIsForAWhile: what tells it is on its way, and a peer with other
// addresses would be another.
func TestLinkOfWhoLeavesStaysAsItIsForAWhile(t *testing.T) {
	onBoard(t, 4, func(t *testing.T, b *switchboard, nodes []*running) {
		replies := b.client(clientKey().Public())
		within(t, 10*time.Second, "a leader", func() bool { return agreedLeader(nodes) != 0 })
		all := promoteFifth(t, b, nodes, replies)
		remove := changeAt(nodes[0], bftraft.ChangeStep{
			Kind: bftraft.RemoveNode, Key: seeded(5).Public(),
		})
		askReady(t, replies, nodes, remove)
		carry(t, nodes[0], remove)
		within(t, 10*time.Second, "it is let go", func() bool { return nodes[0].in.peer(5) == nil })
		link := b.peersOf(1)[3]
		require.Equal(t, crypto.NodeID(5), link.ID)
		require.Equal(t, []string{"10.0.0.5:7100"}, link.Addrs)
		<-all[4].ended
		within(t, 2*farewell, "it is refused", func() bool { return len(b.peersOf(1)) == 3 })
		within(t, 2*absence, "it may come back", func() bool { return len(b.peersOf(1)) == 4 })
		require.Empty(t, b.peersOf(1)[3].Addrs, "and has to dial")
	})
}

// refusesToComeBack starts a node again that has left, with and without being told.
func refusesToComeBack(
	t *testing.T, b *switchboard, gone *running, told []*bftraft.ChangeProof,
) {
	g := gone.cfg.Genesis
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

// TestOnlyMembersMayStart is about what a node is refused for before it does anything.
func TestOnlyMembersMayStart(t *testing.T) {
	onBoard(t, 4, func(t *testing.T, b *switchboard, nodes []*running) {
		g, five := testGenesis(4), seeded(5)
		carry(t, nodes[0], changeAt(nodes[0], bftraft.ChangeStep{
			Kind: bftraft.AddNode, Key: five.Public(), Name: "five",
		}))
		allAt(t, nodes, 1, RoleVoter)
		joined := nodes[0].gate().Changes()
		carry(t, nodes[0], changeAt(nodes[0],
			bftraft.ChangeStep{Kind: bftraft.RemoveNode, Key: five.Public()}))
		allAt(t, nodes, 2, RoleVoter)
		left := nodes[0].gate().Changes()
		damaged := []*bftraft.ChangeProof{joined[0], {Header: left[1].Header}}
		for name, c := range map[string]struct {
			id      crypto.NodeID
			key     crypto.PrivateKey
			changes []*bftraft.ChangeProof
			refused string
		}{
			"a member by the changes":  {5, five, joined, ""},
			"a voter of the genesis":   {4, seeded(4), left, ""},
			"not told of its joining":  {5, five, nil, "ID: there is no node 5"},
			"under another id":         {6, five, joined, "ID: there is no node 6"},
			"with another's id":        {4, five, joined, "Key: node 4 has key"},
			"with another key":         {5, seeded(6), joined, "Key: node 5 has key"},
			"after it has left":        {5, five, left, "taken out of the cluster by change 2"},
			"told what is not so":      {5, five, damaged, "Changes: "},
			"told the second one only": {4, seeded(4), left[1:], "Changes: "},
		} {
			cfg := testConfig(g, 1, newDisk(g, 1))
			cfg.ID, cfg.Key, cfg.Client, cfg.Changes = c.id, c.key, crypto.PrivateKey{}, c.changes
			_, err := New(cfg)
			require.Equal(t, c.refused == "", err == nil, "%s: %v", name, err)
			require.Equal(t, c.refused == "", cfg.Validate() == nil, name)
			if err != nil {
				require.ErrorIs(t, err, ErrConfig, name)
				require.ErrorContains(t, err, c.refused, name)
			}
			require.Equal(t, name == "after it has left", errors.Is(err, replica.ErrLeft), name)
		}
	})
}

// TestOnlyAdministratorsAskWhetherANodeIsReady is about the role of the client that asks.
func TestOnlyAdministratorsAskWhetherANodeIsReady(t *testing.T) {
	onBoard(t, 4, func(t *testing.T, b *switchboard, nodes []*running) {
		writer := seeded(101).Public()
		carry(t, nodes[0], changeAt(nodes[0], bftraft.ChangeStep{
			Kind: bftraft.AddClient, Name: "writer", Key: writer, Role: bftraft.RoleWrite,
		}))
		allAt(t, nodes, 1, RoleVoter)
		question := bftraft.ReadyRequest(changeAt(nodes[0], bftraft.ChangeStep{
			Kind: bftraft.RemoveNode, Key: seeded(4).Public(),
		}))
		replies := b.client(writer)
		refused := func(code bftraft.RefusalCode) int {
			return countOf(nodes[0].metrics.refusals.WithLabelValues(code.String()))
		}
		nodes[0].in.FromClient(writer, clientConn, question)
		synctest.Wait()
		require.Equal(t, 1, refused(bftraft.RefusedRole))
		require.Empty(t, replies, "like one who may not ask a leader to hand over")
		answer, err := bftraft.DecodeReadiness(nodes[0].fromClient(replies, question))
		require.NoError(t, err)
		require.Equal(t, bftraft.ReadyYes, answer.Code)
		nodes[0].in.FromClient(clientKey().Public(), clientConn, question[:len(question)-1])
		synctest.Wait()
		require.Equal(t, 1, refused(bftraft.RefusedMalformed))
	})
}

// TestChangeSaysWhereANodeIsUnlessTheSettingsDo goes from what the genesis says to a change, and to
// one that is mistyped, which does no harm. Who sets an address of his own is told.
func TestChangeSaysWhereANodeIsUnlessTheSettingsDo(t *testing.T) {
	onBoard(t, 4, func(t *testing.T, b *switchboard, nodes []*running) {
		var steps []bftraft.ChangeStep
		add := func(kind bftraft.StepKind, n byte, address string) {
			steps = append(steps, bftraft.ChangeStep{
				Kind: kind, Key: seeded(n).Public(), Name: address,
			})
		}
		peer := func(id crypto.NodeID, addrs ...string) p2p.Peer {
			return p2p.Peer{ID: id, Key: seeded(byte(id)).Public(), Addrs: addrs}
		}
		require.NoError(t, nodes[0].end())
		disk, logged := nodes[0].disk.Crash(0), &journal{}
		cfg := testConfig(nodes[0].cfg.Genesis, 1, disk)
		cfg.NewNetwork, cfg.Logger = b.network, slog.New(slog.NewTextHandler(logged, nil))
		cfg.Addresses = map[crypto.NodeID]string{4: "proxy:4", 6: "proxy:6", 7: "10.0.0.7:1"}
		nodes[0] = launch(t, cfg, disk)
		<-nodes[0].Started()
		hints := []p2p.Peer{peer(2, "two:1"), peer(3, "three:1"), peer(4, "four:1"), peer(7, "seven:1"),
			peer(9, "nobody:1")}
		require.NoError(t, nodes[0].SetPeers(hints))
		require.Equal(t, []p2p.Peer{peer(2, "two:1"), peer(3, "three:1"), peer(4, "proxy:4")},
			b.peersOf(1))
		add(bftraft.SetAddress, 2, "10.0.0.2:1")
		add(bftraft.SetAddress, 3, "no address")
		add(bftraft.SetAddress, 4, "10.0.0.4:1")
		add(bftraft.AddNode, 5, "10.0.0.5:1")
		add(bftraft.AddNode, 6, "no address")
		add(bftraft.AddNode, 7, "10.0.0.7:1")
		carry(t, nodes[0], changeAt(nodes[0], steps...))
		allAt(t, nodes, 1, RoleVoter)
		want := []p2p.Peer{peer(2, "10.0.0.2:1"), peer(3, "three:1"), peer(4, "proxy:4"),
			peer(5, "10.0.0.5:1"), peer(6, "proxy:6"), peer(7, "10.0.0.7:1")}
		require.Equal(t, want, b.peersOf(1))
		said := logged.String()
		require.Equal(t, 2, strings.Count(said, "the settings of this node say otherwise"), said)
		require.Contains(t, said, `peer=4 address=proxy:4 change=10.0.0.4:1`)
		require.Contains(t, said, `peer=6 address=proxy:6 change="no address"`)
		require.Error(t, nodes[0].SetPeers([]p2p.Peer{peer(2, "no address")}))
		require.NoError(t, nodes[0].SetPeers(nil))
		want[1] = peer(3)
		require.Equal(t, want, b.peersOf(1))
		cfg.Addresses = map[crypto.NodeID]string{2: "no address"}
		require.ErrorIs(t, cfg.validateFields(), ErrConfig)
	})
}

// TestWhoHasLeftIsTalkedToForALittleWhileAndNotListenedTo is about a learner, who goes at once.
func TestWhoHasLeftIsTalkedToForALittleWhileAndNotListenedTo(t *testing.T) {
	onBoard(t, 4, func(t *testing.T, b *switchboard, nodes []*running) {
		five := bftraft.ChangeStep{Kind: bftraft.AddNode, Key: seeded(5).Public(), Name: "a:1"}
		carry(t, nodes[0], changeAt(nodes[0], five))
		allAt(t, nodes, 1, RoleVoter)
		spoilt := []byte("garbage")
		heard := func(id crypto.NodeID) int { return nodes[0].droppedOf(id, bftraft.Malformed) }
		nodes[0].in.FromNode(5, p2p.Consensus, spoilt)
		synctest.Wait()
		require.Equal(t, 1, heard(5))
		carry(t, nodes[0], changeAt(nodes[0],
			bftraft.ChangeStep{Kind: bftraft.RemoveNode, Key: seeded(5).Public()}))
		within(t, time.Second, "something is committed beyond it", func() bool {
			return nodes[0].in.peer(5) == nil
		})
		require.Len(t, b.peersOf(1), 4)
		for id := range crypto.NodeID(255) {
			if nodes[0].in.peer(id) == nil {
				nodes[0].in.FromNode(id, p2p.Consensus, spoilt)
			}
		}
		synctest.Wait()
		require.Equal(t, 1, heard(5))
		within(t, 2*farewell, "its link ends", func() bool { return len(b.peersOf(1)) == 3 })
	})
}

// TestLeaderThatIsToldToStopAsksWhoHasJoined: the genesis knew of nobody to hand over to.
func TestLeaderThatIsToldToStopAsksWhoHasJoined(t *testing.T) {
	onBoard(t, 1, func(t *testing.T, b *switchboard, nodes []*running) {
		first, two := nodes[0], seeded(2)
		carry(t, first, changeAt(first, bftraft.ChangeStep{
			Kind: bftraft.AddNode, Key: two.Public(), Name: "two:1",
		}))
		disk := newDisk(first.cfg.Genesis, 2)
		cfg := fifthConfig(b, first.cfg.Genesis, disk, first.gate().Changes())
		cfg.ID, cfg.Key = 2, two
		second := launch(t, cfg, disk)
		allAt(t, []*running{second}, 1, RoleLearner)
		promote := changeAt(first, bftraft.ChangeStep{Kind: bftraft.Promote, Key: two.Public()})
		for id := byte(1); id <= 2; id++ {
			promote.AddReady(bftraft.SignReady(first.gate().Cluster(), promote, seeded(id)))
		}
		carry(t, first, promote)
		allAt(t, []*running{first, second}, 3, RoleVoter)
		require.EqualValues(t, 1, second.Status().Leader)
		term := second.Status().Term
		require.NoError(t, first.end())
		within(t, time.Second, "the two have ended the term", func() bool {
			return second.Status().Term == term+1
		})
		require.NoError(t, second.end())
	})
}
