package main

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/client"
	"tangaroa/cmd/internal/cli"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// fakeElectorate takes changes at once and closes them after a second. Nodes are ready unless they
// are behind.
type fakeElectorate struct {
	t       *testing.T
	members *bftraft.Membership
	carried []*bftraft.Change
	behind  map[bftraft.NodeID]time.Time // until when
	stuck   bool                         // nothing is closed
	undone  bool                         // what is joint is rolled back by somebody else
	first   bool                         // somebody else's change comes first
	due     time.Time
}

func (f *fakeElectorate) Follow(ctx context.Context) (*bftraft.Membership, error) {
	if ctx.Err() != nil {
		return nil, client.ErrNoQuorum
	}
	if f.members.Joint() && !f.stuck && !time.Now().Before(f.due) {
		next := *f.members
		if next.Number++; !f.undone {
			next.Voters = next.Incoming
		}
		next.Incoming = nil
		next.Nodes = slices.DeleteFunc(slices.Clone(next.Nodes), func(n bftraft.Node) bool {
			return !next.Votes(n.ID) && f.members.Votes(n.ID)
		})
		next.At.Index++
		f.members = &next
	}
	return f.members, nil
}

func (f *fakeElectorate) AwaitMembers(
	ctx context.Context, wanted func(*bftraft.Membership) bool,
) (*bftraft.Membership, error) {
	for {
		m, err := f.Follow(ctx)
		if err != nil || wanted(m) {
			return m, err
		}
		pause(ctx, 100*time.Millisecond)
	}
}

func (f *fakeElectorate) ReadyFor(_ context.Context, ch *bftraft.Change) (
	ready []bftraft.Endorsement, why map[bftraft.NodeID]string, err error,
) {
	next, err := f.members.After(ch)
	if err != nil {
		return nil, nil, err
	}
	said := &bftraft.Change{}
	why = map[bftraft.NodeID]string{}
	for _, v := range next.Incoming {
		if time.Now().Before(f.behind[v.ID]) {
			why[v.ID] = "it is behind"
			continue
		}
		said.AddReady(bftraft.Endorsement{Key: v.Key})
	}
	if len(said.Ready) < quorumcert.ForNodes(len(next.Incoming)).Q {
		err = bftraft.ErrChangeNotReady
	}
	return said.Ready, why, err
}

func (f *fakeElectorate) Carry(_ context.Context, ch *bftraft.Change) error {
	if f.first {
		return refused(bftraft.ErrChangeStale)
	}
	next, err := f.members.After(ch)
	require.NoError(f.t, err)
	require.GreaterOrEqual(f.t, len(ch.Endorsements), f.members.Quorum)
	if next.Joint() {
		require.GreaterOrEqual(f.t, len(ch.Ready), quorumcert.ForNodes(len(next.Incoming)).Q)
	}
	next.At.Index = f.members.At.Index + 10
	f.members, f.due = next, time.Now().Add(time.Second)
	f.carried = append(f.carried, ch)
	return nil
}

// stage is a rollout over a fake, and what it said.
type stage struct {
	*rollout
	fake   *fakeElectorate
	said   []string
	parked []*bftraft.Change
}

func rehearse(t *testing.T, plot func(t *testing.T, s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &stage{fake: &fakeElectorate{t: t, members: genesisMembers(t),
			behind: map[bftraft.NodeID]time.Time{}}}
		s.rollout = &rollout{
			electorate: s.fake, cluster: crypto.Digest{1}, short: 10 * time.Second,
			patience: time.Minute, progress: func(what string) { s.said = append(s.said, what) },
			admins: []crypto.PrivateKey{testKey(adminSeed), testKey(adminSeed + 2)},
			park: func(_ *bftraft.Membership, ch *bftraft.Change) error {
				s.parked = append(s.parked, ch)
				return nil
			},
		}
		plot(t, s)
	})
}

func (s *stage) kinds() (kinds [][]bftraft.StepKind) {
	for _, ch := range s.fake.carried {
		var one []bftraft.StepKind
		for _, step := range ch.Steps {
			one = append(one, step.Kind)
		}
		kinds = append(kinds, one)
	}
	return kinds
}

// TestVoterIsReplacedInTwoChanges waits for the new one although a quorum could do without it.
func TestVoterIsReplacedInTwoChanges(t *testing.T) {
	rehearse(t, func(t *testing.T, s *stage) {
		s.fake.behind[5] = time.Now().Add(20 * time.Second)
		began := time.Now()
		m, err := s.reach(t.Context(), wanted(1, 3, 4, 5), nowhere)
		require.NoError(t, err)
		require.Greater(t, time.Since(began), 20*time.Second)
		require.Equal(t, [][]bftraft.StepKind{
			{bftraft.AddNode}, {bftraft.Promote, bftraft.RemoveNode},
		}, s.kinds())
		require.False(t, m.Joint())
		require.Equal(t, wanted(1, 3, 4, 5).without(nodeKey(5)), planOf(m).without(nodeKey(5)))
		require.Len(t, m.Voters, 4)
		require.Equal(t, []string{
			"waiting until the new voters are ready: node 5: it is behind",
			"change 2 is in force: waiting until the new voters have taken over",
		}, s.said, "each once")
		m, err = s.reach(t.Context(), wanted(1, 3, 4, 5), nowhere)
		require.NoError(t, err)
		require.Equal(t, uint64(3), m.Number)
		require.Len(t, s.fake.carried, 2, "what has been done is not done again")
	})
}

// TestRolloutThatBeginsWhileTheVotersChangeWaits goes on from where another stopped.
func TestRolloutThatBeginsWhileTheVotersChangeWaits(t *testing.T) {
	rehearse(t, func(t *testing.T, s *stage) {
		s.fake.members = joined(t, s.fake.members, 5)
		m := s.fake.members
		next, err := m.After(&bftraft.Change{Number: 2, Replaces: m.At,
			Steps: []bftraft.ChangeStep{stepOn(bftraft.Promote, 5)}})
		require.NoError(t, err)
		s.fake.members, s.fake.due = next, time.Now().Add(time.Second)
		m, err = s.reach(t.Context(), wanted(2, 3, 4, 5), nowhere)
		require.NoError(t, err)
		require.Equal(t, [][]bftraft.StepKind{{bftraft.RemoveNode}}, s.kinds())
		require.Len(t, m.Voters, 4)
	})
}

// TestMembersStayAsTheyAreForAReason covers what keeps a change from coming into force or being
// closed, and the exit codes.
func TestMembersStayAsTheyAreForAReason(t *testing.T) {
	ever := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		bend    func(s *stage)
		plan    *plan
		code    cli.Code
		about   string
		carried int
	}{
		"no quorum is ready": {func(s *stage) { s.fake.behind[1], s.fake.behind[3] = ever, ever },
			wanted(1, 2, 3), cli.NotReady, "node 1: it is behind; node 3: it is behind", 0},
		"the new one is not ready": {func(s *stage) { s.fake.behind[5] = ever },
			wanted(1, 2, 3, 4, 5), cli.NotReady, "(node 5: it is behind)", 1},
		"nobody closes it": {func(s *stage) { s.fake.stuck = true }, wanted(1, 2, 3), cli.NoQuorum,
			"change 1 is in force, and the new voters have not taken over", 1},
		"somebody rolls it back": {func(s *stage) { s.fake.undone = true }, wanted(1, 2, 3),
			cli.NotMet, "change 1 was rolled back", 1},
		"another comes first": {func(s *stage) { s.fake.first = true }, wanted(1, 2, 3), cli.NotMet,
			"another came first; repeat it", 0},
		"a stranger signs": {func(s *stage) { s.admins = append(s.admins, testKey(99)) },
			wanted(1, 2, 3), cli.Usage, "not that of an administrator in office", 0},
		"a key that was here before": {func(s *stage) {
			s.fake.members.Retired = []crypto.PublicKey{nodeKey(5)}
		}, wanted(1, 2, 3, 5), cli.NotMet, "may not be enrolled", 0},
		"no address": {func(*stage) {}, &plan{Nodes: []plannedNode{{Key: nodeKey(5)}}}, cli.Usage,
			"needs an address", 0},
	} {
		t.Run(name, func(t *testing.T) {
			rehearse(t, func(t *testing.T, s *stage) {
				c.bend(s)
				_, err := s.reach(t.Context(), c.plan, nowhere)
				require.ErrorContains(t, err, c.about)
				require.Equal(t, c.code, cli.CodeOf(err))
				require.Len(t, s.fake.carried, c.carried)
			})
		})
	}
}

// TestWhatTooFewSignIsParked has the nodes not asked yet: their words would be old.
func TestWhatTooFewSignIsParked(t *testing.T) {
	rehearse(t, func(t *testing.T, s *stage) {
		s.admins = s.admins[:1]
		_, err := s.reach(t.Context(), wanted(1, 2, 3), nowhere)
		require.ErrorIs(t, err, errParked)
		require.Len(t, s.parked, 1)
		require.Len(t, s.parked[0].Endorsements, 1)
		require.Empty(t, s.parked[0].Ready)
		require.Empty(t, s.fake.carried)
		s.park = func(*bftraft.Membership, *bftraft.Change) error { return context.Canceled }
		_, err = s.reach(t.Context(), wanted(1, 2, 3), nowhere)
		require.ErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, errParked)
	})
}

// TestJointMembersTakeNoOtherChange: whoever asks for one is told what to do.
func TestJointMembersTakeNoOtherChange(t *testing.T) {
	rehearse(t, func(t *testing.T, s *stage) {
		s.fake.stuck = true
		m := s.fake.members
		_, err := s.bring(t.Context(), m, []bftraft.ChangeStep{stepOn(bftraft.RemoveNode, 1)})
		require.Equal(t, cli.NoQuorum, cli.CodeOf(err))
		m = s.fake.members
		require.True(t, m.Joint())
		_, err = s.bring(t.Context(), m, []bftraft.ChangeStep{stepOn(bftraft.RemoveNode, 2)})
		require.ErrorIs(t, err, bftraft.ErrChangeJoint)
		require.ErrorContains(t, err, "member rollback")
		require.Equal(t, cli.NotMet, cli.CodeOf(err))
		roles := func(m *bftraft.Membership) (list []string) {
			for _, n := range newMemberList(crypto.Digest{}, m, nowhere).Nodes {
				list = append(list, n.Role)
			}
			return list
		}
		require.Equal(t, []string{"leaving", "voter", "voter", "voter"}, roles(m))
		m, err = s.bring(t.Context(), m, []bftraft.ChangeStep{{Kind: bftraft.RollBack}})
		require.NoError(t, err)
		require.Equal(t, []string{"voter", "voter", "voter", "voter"}, roles(m))
		m = joined(t, m, 5, 6)
		m, err = m.After(&bftraft.Change{Number: m.Number + 1, Replaces: m.At,
			Steps: []bftraft.ChangeStep{stepOn(bftraft.Promote, 6)}})
		require.NoError(t, err)
		require.Equal(t, []string{"voter", "voter", "voter", "voter", "learner", "incoming"}, roles(m))
	})
}
