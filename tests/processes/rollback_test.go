//go:build linux

package processes

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
)

// promised carries a change that has newcomers vote in the place of old nodes, and that they have
// signed to be ready for, who never come up. It stays open.
func (c *cluster) promised(u user, come, leave []crypto.NodeID) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	m, err := u.Follow(ctx)
	require.NoError(c.t, err)
	ch := &bftraft.Change{Number: m.Number + 1, Replaces: m.At}
	cluster := u.Verifier().Cluster()
	key := func(id crypto.NodeID) crypto.PrivateKey { return readKey(c.t, c.folder(id)) }
	for _, id := range come {
		ch.Steps = append(ch.Steps, bftraft.ChangeStep{Kind: bftraft.Promote, Key: key(id).Public()})
	}
	for _, id := range leave {
		ch.Steps = append(ch.Steps,
			bftraft.ChangeStep{Kind: bftraft.RemoveNode, Key: key(id).Public()})
	}
	for _, id := range come {
		ch.AddReady(bftraft.SignReady(cluster, ch, key(id)))
	}
	for k := 1; k <= m.Quorum; k++ {
		ch.Endorse(cluster, readKey(c.t, c.path(fmt.Sprintf("admin%d", k))))
	}
	got, err := u.Submit(ctx, ch.Op())
	require.NoError(c.t, err)
	_, why := bftraft.DecodeChangeResult(got.Value)
	require.NoError(c.t, why)
}

// TestChangeThatNobodyTakesOverIsRolledBack promotes three nodes that were never started. The old
// voters serve meanwhile, also after they were killed all at once, and so they do when the
// administrators have given the change up; the next change is one that works.
func TestChangeThatNobodyTakesOverIsRolledBack(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, "--admins", "3")
	old := c.all()
	c.startAll()
	s, u := shell{c, t, c.config(1)}, c.user(1)
	var signed []string
	for k := 1; k <= c.file.AdminQuorum; k++ {
		signed = append(signed, "--admin", c.path(fmt.Sprintf("admin%d", k), keyName))
	}
	var come []crypto.NodeID
	for range 3 {
		id, key, address := s.newcomer()
		s.do(ok, append([]string{"member", "add", "--key", key, "--address", address}, signed...)...)
		come = append(come, id)
	}
	c.promised(u, come, old[1:])
	require.Equal(t, true, s.json(ok, "member", "list")["joint"])
	s.do(ok, "put", "joint", "1")
	for _, id := range old {
		c.nodes[id].signal(syscall.SIGKILL)
	}
	for _, id := range old {
		c.nodes[id].wait()
		c.start(id)
	}
	c.awaitReady(old...)
	s.do(ok, "put", "joint", "2")
	s.do(notMet, append([]string{"member", "remove", "--node", "4"}, signed...)...)
	s.do(wrongUsage, "member", "rollback", "--admin", c.path("admin1", keyName))

	rolled := s.do(ok, append([]string{"member", "rollback"}, signed...)...)
	for _, id := range old {
		require.Regexp(t, fmt.Sprintf(`node +%d +voter `, id), rolled)
	}
	for _, id := range come {
		require.Regexp(t, fmt.Sprintf(`node +%d +learner `, id), rolled)
	}
	s.do(notMet, append([]string{"member", "rollback"}, signed...)...)
	require.Equal(t, "2\n", s.do(ok, "get", "joint"))
	s.do(ok, "put", "rolled", "back")
	for _, id := range old {
		await(t, fmt.Sprintf("node %d to go by the roll-back", id), func() bool {
			status, ok := c.status(id)
			return ok && !status.Joint && status.Role == "voter" && status.Change == 5
		})
	}

	s.do(ok, "member", "list", "--changes", c.path(fmt.Sprintf("node%d", come[0]), "changes.pem"))
	c.node(come[0], ok, "init")
	c.start(come[0])
	s.do(ok, append([]string{"member", "promote", "--node", fmt.Sprint(come[0])}, signed...)...)
	s.removesWhoWatches()
	s.do(ok, "put", "rolled", "on")
	five := append(old[:len(old):len(old)], come[0])
	u.awaitSame(t, five...)
	for _, id := range five {
		c.nodes[id].signal(syscall.SIGTERM)
		require.Zero(t, c.nodes[id].wait())
	}
}

// removesWhoWatches has all administrators remove client 2 while it watches, which ends that.
func (s shell) removesWhoWatches() {
	watch := spawn(s.t, s.path("watch.log"), "bftclient", "--config", s.cluster.config(2), "watch",
		"any/")
	await(s.t, "the watch to begin", func() bool {
		said, err := os.ReadFile(watch.log)
		require.NoError(s.t, err)
		return len(said) > 0
	})
	draft := s.path("change.json")
	s.do(ok, "change", "draft", "--out", draft, "--remove", "client2")
	for k := 1; k <= s.file.AdminQuorum; k++ {
		s.do(ok, "sign-change", "--key", s.path(fmt.Sprintf("admin%d", k), keyName), draft)
	}
	s.do(ok, "change", "apply", draft)
	require.Equal(s.t, notAuthorised, watch.wait(), "a watch of who is removed ends")
}
