package client

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// replaceAll puts nodes 5 to 8 in the place of nodes 1 to 4, one of which goes on for a while.
func (c *cluster) replaceAll() {
	c.change(joins(5), joins(6), joins(7), joins(8))
	c.change(promotes(5), promotes(6), promotes(7), leaves(1), leaves(2), leaves(3))
	c.close()
	c.setLeader(4)
}

func (c *cluster) setLeader(id bftraft.NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leader = id
}

func (c *cluster) members(t *testing.T) quorumcert.Set {
	t.Helper()
	return c.verifier().Configurations().Latest().Members()
}

// TestClientFollowsTheMembers has the cluster change under a client, until no voter is left that
// the client began with.
func TestClientFollowsTheMembers(t *testing.T) {
	playChanging(t, 4, func(s *scene) {
		s.put("a", "1")
		require.Equal(t, "1", s.read("a"))
		s.replaceAll()
		require.Equal(t, quorumcert.SetOf(4, 5, 6, 7), s.members(t))
		s.put("b", "2")
		require.Equal(t, "1", s.read("a"))
		s.change(promotes(8), leaves(4))
		s.close()
		s.setLeader(5)
		s.put("c", "3")
		require.Equal(t, "2", s.read("b"))
		require.Equal(t, "3", s.read("c"))
		got, err := s.client.ReadStale(s.within(time.Second), get(t, "c"))
		require.NoError(t, err)
		require.Equal(t, "3", valueOf(t, got.Value))
		require.Zero(t, got.Nodes&quorumcert.SetOf(1, 2, 3, 4))
		s.pass(time.Second)
		var ids []bftraft.NodeID
		for _, n := range s.client.Stats().Nodes {
			require.True(t, n.Up, "node %d", n.ID)
			ids = append(ids, n.ID)
		}
		require.Equal(t, []bftraft.NodeID{5, 6, 7, 8}, ids)
		_, reports := s.client.Status(s.within(time.Second))
		require.Len(t, reports, 4)
		require.Empty(t, s.dissents(), "nobody has lied")
	})
}

// TestClientOfAnOldGenesisFindsTheMembersByOneThatIsLeft connects when three of four are gone.
func TestClientOfAnOldGenesisFindsTheMembersByOneThatIsLeft(t *testing.T) {
	playChanging(t, 4, func(s *scene) {
		s.put("a", "1")
		s.replaceAll()
		cfg := DefaultConfig()
		cfg.Genesis, cfg.Key, cfg.Session = s.genesis, clientKey(), 9
		for name, use := range map[string]func(*Client) error{
			"follow": func(c *Client) error {
				m, err := c.Follow(s.within(10 * time.Second))
				if err == nil {
					require.Equal(t, uint64(3), m.Number)
				}
				return err
			},
			"read": func(c *Client) error {
				_, err := c.Read(s.within(10*time.Second), get(t, "a"))
				return err
			},
			"write": func(c *Client) error {
				_, err := c.Submit(s.within(10*time.Second), put(t, "b", "2"))
				return err
			},
			"leader": func(c *Client) error {
				l, err := c.Leadership(s.within(10 * time.Second))
				require.Equal(t, bftraft.NodeID(4), l.Leader)
				return err
			},
		} {
			client, err := NewWithLink(cfg, s.dial)
			require.NoError(t, err)
			require.NoError(t, use(client), name)
			require.NoError(t, client.Close())
		}
	})
}

// TestWhatIsInFlightGoesOnWithTheNewMembers has the old ones fall silent before they answer.
func TestWhatIsInFlightGoesOnWithTheNewMembers(t *testing.T) {
	playChanging(t, 4, func(s *scene) {
		s.put("a", "1")
		s.holdBack(true)
		written := s.client.Go(put(t, "b", "2"))
		for id := 1; id <= 4; id++ {
			s.node(id).bends(func(frame []byte) [][]byte {
				if frame[0] == bftraft.FrameReply || frame[0] == bftraft.FrameReadReply {
					return nil
				}
				return [][]byte{frame}
			})
		}
		read, stale := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := s.client.Read(s.within(time.Minute), get(t, "a"))
			read <- err
		}()
		go func() {
			_, err := s.client.ReadStale(s.within(time.Minute), get(t, "a"))
			stale <- err
		}()
		status := make(chan []NodeReport, 1)
		s.node(2).stopsHearing()
		go func() {
			_, reports := s.client.Status(s.within(time.Minute))
			status <- reports
		}()
		s.pass(time.Second)
		s.replaceAll()
		s.change(promotes(8), leaves(4))
		s.close()
		s.setLeader(5)
		s.holdBack(false)
		_, err := s.client.Follow(s.within(10 * time.Second))
		require.NoError(t, err)
		_, err = s.client.Wait(s.within(10*time.Second), written)
		require.NoError(t, err)
		require.NoError(t, <-read)
		require.NoError(t, <-stale)
		reports := <-status
		require.Len(t, reports, 4)
		for i, r := range reports {
			require.Equal(t, bftraft.NodeID(i+5), r.ID)
			require.NotNil(t, r.Status, "node %d", r.ID)
		}
	})
}

// TestRequestsAndTrustGoToVotersOnly: a learner hears of no request, and its word is none.
func TestRequestsAndTrustGoToVotersOnly(t *testing.T) {
	playChanging(t, 4, func(s *scene) {
		s.change(joins(5), joins(6))
		_, err := s.client.Follow(s.within(10 * time.Second))
		require.NoError(t, err)
		s.pass(time.Second)
		require.Equal(t, quorumcert.SetOf(1, 2, 3, 4, 5, 6), s.client.up)
		s.node(1).stopsHearing() // so that requests go to all
		s.holdBack(true)
		f := s.client.Go(put(t, "a", "1"))
		s.pass(10 * time.Second)
		s.client.mu.Lock()
		sent := s.client.flights[0]
		require.Zero(t, sent.sent&quorumcert.SetOf(5, 6))
		sent.sent = quorumcert.SetOf(5, 6) // as if it had gone to those that had their ids before
		s.client.mu.Unlock()
		for id := 5; id <= 6; id++ {
			require.Zero(t, s.node(id).heard(bftraft.FrameRequest), "node %d", id)
			require.Zero(t, s.node(id).heard(bftraft.FrameStatus), "node %d", id)
			s.client.Frame(bftraft.NodeID(id), refusalOf(sent.id, bftraft.RefusedMalformed))
			s.client.Frame(bftraft.NodeID(id), []byte{bftraft.FrameReply})
		}
		s.setLeader(2)
		s.holdBack(false)
		_, err = s.client.Wait(s.within(10*time.Second), f)
		require.NoError(t, err)
		require.Empty(t, s.dissents())
	})
}

// TestReadShowsThatTheMembersHaveChanged has a client sleep while those it does not know certify.
func TestReadShowsThatTheMembersHaveChanged(t *testing.T) {
	playChanging(t, 4, func(s *scene) {
		s.pass(time.Second)
		s.replaceAll()
		s.order(4, bftraft.SignRequest(s.id, clientKey(), 9, 1, [][]byte{put(t, "a", "1")}))
		s.pass(time.Second)
		require.Zero(t, s.client.Members().Number)
		require.Equal(t, "1", s.read("a"))
		require.Equal(t, uint64(3), s.client.Members().Number)
		require.Empty(t, s.dissents())
	})
}

// TestReadOfOneNodeIsAskedAgainOnceTheMembersAreKnown: its answer was judged by older ones.
func TestReadOfOneNodeIsAskedAgainOnceTheMembersAreKnown(t *testing.T) {
	playChanging(t, 4, func(s *scene) {
		s.pass(time.Second)
		began := time.Now()
		for k, change := range []func(){
			func() { s.change(joins(5), joins(6), joins(7)) },
			func() {
				s.change(promotes(5), promotes(6), promotes(7), leaves(1), leaves(2), leaves(3))
				s.close()
			},
		} {
			change()
			s.order(4, bftraft.SignRequest(s.id, clientKey(), 9, uint64(k+1),
				[][]byte{put(t, "a", "1")}))
			s.pass(10 * time.Millisecond)
			require.Equal(t, uint64(k), s.client.Members().Number)
			_, err := s.client.ReadFrom(s.within(time.Minute), 4, 0, get(t, "a"))
			require.NoError(t, err)
			s.pass(10 * time.Millisecond)
		}
		require.Less(t, time.Since(began), followPause, "one change after the other")
	})
}

// TestClientThatIsGivenTheChangesNeedsNobodyOfTheGenesis finds all where the changes say.
func TestClientThatIsGivenTheChangesNeedsNobodyOfTheGenesis(t *testing.T) {
	playChanging(t, 4, func(s *scene) {
		s.replaceAll()
		s.change(promotes(8), leaves(4))
		s.close()
		s.setLeader(5)
		cfg := DefaultConfig()
		cfg.Genesis, cfg.Key, cfg.Session = s.genesis, clientKey(), 9
		cfg.Changes = s.verifier().Changes()
		client, err := NewWithLink(cfg, s.dial)
		require.NoError(t, err)
		_, err = client.Submit(s.within(10*time.Second), put(t, "a", "1"))
		require.NoError(t, err)
		require.NoError(t, client.Close())
	})
}

// TestOnlyVotersSayWhatIsNewestAndWhoLeads: who joins has no say.
func TestOnlyVotersSayWhatIsNewestAndWhoLeads(t *testing.T) {
	playChanging(t, 4, func(s *scene) {
		s.change(joins(5), joins(6))
		s.change(promotes(5), promotes(6))
		_, err := s.client.Follow(s.within(10 * time.Second))
		require.NoError(t, err)
		s.pass(time.Second)
		for id := 1; id <= 2; id++ {
			s.node(id).stopsHearing()
		}
		_, err = s.client.Follow(s.within(10 * time.Second))
		require.ErrorIs(t, err, ErrNoQuorum)
		s.client.Frame(5, s.node(5).status())
		s.client.mu.Lock()
		defer s.client.mu.Unlock()
		require.Zero(t, s.client.leaders.terms[5])
		require.NotZero(t, s.client.leaders.terms[4])
	})
}

// TestWordOfTheHolderBeforeIsNotThatOfTheNext looks at what is kept of a node whose id comes round.
func TestWordOfTheHolderBeforeIsNotThatOfTheNext(t *testing.T) {
	w := &wire{}
	c := &Client{link: w, cfg: DefaultConfig()}
	c.known.gate.Store(newClusterOf(t, changingGenesis(4)).gate)
	c.up = quorumcert.SetOf(1, 2, 3, 4)
	c.nodes = append(c.nodes, c.Members().Nodes...)
	c.nodes[2].Key = testKey(90).Public() // who had the id before
	c.stats.follow(nil, c.nodes)
	for i := range c.stats.Nodes {
		c.stats.Nodes[i].Replies = 7
	}
	word := refusal{code: bftraft.RefusedMalformed}
	f := &flight{sent: quorumcert.SetOf(3), reach: quorumcert.SetOf(1, 3)}
	f.refusals[1], f.refusals[3] = word, word
	c.flights = []*flight{f}
	c.leaders.leaders[2], c.leaders.leaders[3] = 1, 1
	v := &survey{done: make(chan struct{})}
	v.follow(c.nodes, 0)
	v.reports[2].Status = &bftraft.NodeStatus{}
	p := &proofs{heard: quorumcert.SetOf(3, 4)}
	c.statuses, c.proofs = []*survey{v}, []*proofs{p}
	c.regroup()
	require.Equal(t, quorumcert.SetOf(1, 2, 4), c.up)
	require.Equal(t, uint64(quorumcert.SetOf(3)), c.gone.Load())
	require.Equal(t, [2]refusal{word, {}}, [2]refusal{f.refusals[1], f.refusals[3]})
	require.Equal(t, quorumcert.SetOf(3), f.sent, "it may have been forwarded")
	require.Equal(t, quorumcert.SetOf(1), f.reach)
	require.Equal(t, [2]bftraft.NodeID{1, 0}, [2]bftraft.NodeID(c.leaders.leaders[2:4]))
	require.Nil(t, v.reports[2].Status)
	require.Equal(t, quorumcert.SetOf(4), p.heard)
	for i, want := range []uint64{7, 7, 0, 7} {
		require.Equal(t, want, c.stats.Nodes[i].Replies)
	}
	c.Frame(3, []byte{bftraft.FrameReply})
	require.Zero(t, c.stats.Nodes[2].Invalid, "the link has not been told yet")
	c.tellLink()
	require.Equal(t, [][]bftraft.Node{c.Members().Nodes}, w.told)
	c.Frame(3, []byte{bftraft.FrameReply})
	require.Equal(t, uint64(1), c.stats.Nodes[2].Invalid)
	c.tellLink()
	require.Len(t, w.told, 1, "once is enough")
}

// TestProofAgainstOneThatIsGoneStillHolds: who is found out is removed.
func TestProofAgainstOneThatIsGoneStillHolds(t *testing.T) {
	playChanging(t, 4, func(s *scene) {
		s.replaceAll()
		_, err := s.client.Follow(s.within(10 * time.Second))
		require.NoError(t, err)
		proof := bftraft.Conviction{Index: 9, Evidence: twoVotes(s.id, 2)}
		s.shows(5, proof)
		found, heard := s.client.Evidence(s.within(10 * time.Second))
		require.Equal(t, []bftraft.Conviction{proof}, found)
		require.Equal(t, s.members(t), heard)
		s.shows(5, bftraft.Conviction{Index: 9, Evidence: twoVotes(crypto.Digest{1}, 2)})
		found, heard = s.client.Evidence(s.within(10 * time.Second))
		require.Empty(t, found)
		require.False(t, heard.Has(5))
	})
}

// TestJ2ReadyIsWhoSaysSoUnderItsKey asks those that would vote for their words.
func TestJ2ReadyIsWhoSaysSoUnderItsKey(t *testing.T) {
	playChanging(t, 4, func(s *scene) {
		s.change(joins(5), joins(6))
		_, err := s.client.Follow(s.within(10 * time.Second))
		require.NoError(t, err)
		s.pass(time.Second)
		ch := s.drafted(promotes(5), leaves(1))
		ask := func(limit time.Duration) ([]bftraft.Endorsement, map[bftraft.NodeID]string, error) {
			return s.client.ReadyFor(s.within(limit), ch)
		}
		for id := 2; id <= 6; id++ {
			s.node(id).says(bftraft.ReadyYes)
		}
		began := time.Now()
		ready, why, err := ask(time.Minute)
		require.NoError(t, err)
		require.Less(t, time.Since(began), DefaultConfig().Late)
		require.Empty(t, why)
		var want bftraft.Change
		for _, n := range []byte{2, 3, 4, 5} {
			want.AddReady(bftraft.SignReady(s.id, ch, testKey(n)))
		}
		require.Equal(t, want.Ready, ready)

		s.node(3).word = nil
		began = time.Now()
		ready, why, err = ask(time.Minute)
		require.NoError(t, err, "a quorum is enough")
		require.Less(t, time.Since(began), 2*readyPatience)
		require.Len(t, ready, 3)
		require.Equal(t, map[bftraft.NodeID]string{3: "it has not answered"}, why)

		s.node(5).says(bftraft.ReadyBehind)
		_, why, err = ask(2 * time.Second)
		require.ErrorIs(t, err, bftraft.ErrChangeNotReady)
		require.Len(t, why, 2)
		require.Contains(t, why[5], "keep up")

		forge := func(r *bftraft.Readiness) { r.Word.Sig[0]++ }
		for k, lie := range []func(*bftraft.Readiness){forge, func(r *bftraft.Readiness) {
			r.Word = bftraft.SignReady(s.id, ch, testKey(6))
		}, func(r *bftraft.Readiness) {
			r.Word.Key = testKey(6).Public()
		}, func(r *bftraft.Readiness) {
			other := s.drafted(promotes(5))
			r.Change, r.Word = other.Digest(s.id), bftraft.SignReady(s.id, other, testKey(5))
		}} {
			s.node(5).bends(func(frame []byte) [][]byte {
				if r, err := bftraft.DecodeReadiness(frame); err == nil {
					r.Code, r.Word = bftraft.ReadyYes, bftraft.SignReady(s.id, ch, testKey(5))
					lie(r)
					return [][]byte{r.Encode()}
				}
				return [][]byte{frame}
			})
			_, why, err = ask(2 * time.Second)
			require.ErrorIs(t, err, bftraft.ErrChangeNotReady, "lie %d", k)
			require.Equal(t, "it has not answered", why[5])
		}
	})
}

// TestWhoWouldNotVoteIsNotCounted has one answer that nobody has asked.
func TestWhoWouldNotVoteIsNotCounted(t *testing.T) {
	fake := newClusterOf(t, changingGenesis(4))
	fake.change(joins(5), joins(6))
	c := &Client{}
	c.known.gate.Store(fake.gate)
	ch := fake.drafted(promotes(5), leaves(1))
	next, err := fake.gate.Members().After(ch)
	require.NoError(t, err)
	v := &canvass{change: ch.Digest(fake.id), voters: next.Incoming, done: make(chan struct{}),
		answers: map[bftraft.NodeID]*bftraft.Readiness{}}
	c.canvasses = []*canvass{v}
	for _, id := range []bftraft.NodeID{1, 6, 2} {
		r := &bftraft.Readiness{Change: v.change, Word: bftraft.SignReady(fake.id, ch,
			testKey(byte(id)))}
		require.True(t, c.takeReadiness(id, r.Encode()))
	}
	require.Len(t, v.answers, 1)
	require.NotNil(t, v.answers[2])
}

// TestNobodyIsAskedForAChangeThatLeavesTheVoters covers what needs no words, or cannot be.
func TestNobodyIsAskedForAChangeThatLeavesTheVoters(t *testing.T) {
	playChanging(t, 4, func(s *scene) {
		ready, why, err := s.client.ReadyFor(s.within(time.Second), s.drafted(joins(5)))
		require.NoError(t, err)
		require.Empty(t, ready)
		require.Empty(t, why)
		_, _, err = s.client.ReadyFor(s.within(time.Second), s.drafted(promotes(5)))
		require.ErrorIs(t, err, bftraft.ErrChangeUnknown)
		_, why, err = s.client.ReadyFor(s.within(time.Second), s.drafted(joins(5), promotes(5)))
		require.ErrorIs(t, err, bftraft.ErrChangeNotReady)
		require.Equal(t, "it cannot be reached", why[5])
	})
}

func TestMembersAreAwaited(t *testing.T) {
	playChanging(t, 4, func(s *scene) {
		s.change(joins(5))
		s.change(promotes(5), leaves(1))
		closed := func(m *bftraft.Membership) bool { return m.Number >= 2 && !m.Joint() }
		_, err := s.client.AwaitMembers(s.within(5*time.Second), closed)
		require.ErrorIs(t, err, ErrNoQuorum)
		go func() {
			s.pass(3 * time.Second)
			s.close()
		}()
		m, err := s.client.AwaitMembers(s.within(5*time.Second), closed)
		require.NoError(t, err)
		require.Equal(t, uint64(3), m.Number)
		synctest.Wait()
		ctx, cancel := context.WithCancel(s.Context())
		cancel()
		_, err = s.client.AwaitMembers(ctx, closed)
		require.ErrorIs(t, err, ErrNoQuorum)
	})
}

// TestStatusIsOfAllMembersThatThereAre asks a client that knows of the genesis alone, as its first
// question: who came since answers under its key, whether it has a say or not.
func TestStatusIsOfAllMembersThatThereAre(t *testing.T) {
	playChanging(t, 4, func(s *scene) {
		s.change(joins(5), joins(6))
		members, reports := s.client.Status(s.within(10 * time.Second))
		require.Len(t, reports, 6)
		require.Len(t, members.Voters, 4)
		for i, r := range reports {
			require.Equal(t, members.Nodes[i].ID, r.ID)
			require.NotNil(t, r.Status, "node %d", r.ID)
		}
		s.change(promotes(5), leaves(1))
		s.close()
		s.setLeader(2)
		members, reports = s.client.Status(s.within(10 * time.Second))
		require.Len(t, reports, 5)
		require.Equal(t, s.verifier().Members(), members)
		require.Equal(t, bftraft.NodeID(2), reports[0].ID)
		forged := bftraft.SignNodeStatus(crypto.NewSigner(6, testKey(99)), s.id,
			&bftraft.NodeStatus{Term: 77})
		s.node(6).bends(func([]byte) [][]byte { return [][]byte{forged} })
		_, reports = s.client.Status(s.within(time.Second))
		require.Nil(t, reports[4].Status, "it is not its key")
		require.Empty(t, s.dissents(), "nor has it a say")
	})
}

// TestLeaderIsWhomVotersName: two learners that have agreed are none of f+1.
func TestLeaderIsWhomVotersName(t *testing.T) {
	by := newClusterOf(t, changingGenesis(4)).verifier().Configurations().Latest()
	named := func(id, leader bftraft.NodeID, term bftraft.Term) NodeReport {
		return NodeReport{ID: id, Status: &bftraft.NodeStatus{Term: term, Leader: leader}}
	}
	reports := []NodeReport{named(1, 3, 5), named(2, 3, 5), named(5, 4, 9), named(6, 4, 9)}
	require.Equal(t, Leadership{5, 3}, agreed(reports, by))
	require.Zero(t, agreed(reports[2:], by))
}

// TestClientThatAChangeHasRemovedIsNotAuthorised though nodes that are behind let it in, and say
// nothing that counts.
func TestClientThatAChangeHasRemovedIsNotAuthorised(t *testing.T) {
	playChanging(t, 4, func(s *scene) {
		s.change(bftraft.ChangeStep{Kind: bftraft.AddClient, Key: testKey(60).Public(), Name: "bob",
			Role: bftraft.RoleWrite})
		s.change(bftraft.ChangeStep{Kind: bftraft.RemoveClient, Key: testKey(60).Public()})
		cfg := DefaultConfig()
		cfg.Genesis, cfg.Key = s.genesis, testKey(60)
		bob, err := NewWithLink(cfg, s.dial)
		require.NoError(t, err)
		defer func() { require.NoError(t, bob.Close()) }()
		for id := 3; id <= 4; id++ {
			s.node(id).stopsHearing()
		}
		_, err = bob.Follow(s.within(time.Second))
		require.ErrorIs(t, err, ErrNotAuthorised)
		_, err = bob.Read(s.within(time.Second), get(t, "k"))
		require.ErrorIs(t, err, ErrNotAuthorised)
	})
}
