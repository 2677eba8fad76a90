package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tangaroa/bftraft"
	"tangaroa/bftraft/client"
	"tangaroa/cmd/internal/cli"
	"tangaroa/crypto"
)

// electorate is what a rollout needs of a cluster: a session is one.
type electorate interface {
	Follow(context.Context) (*bftraft.Membership, error)
	AwaitMembers(
		context.Context, func(*bftraft.Membership) bool,
	) (*bftraft.Membership, error)
	ReadyFor(context.Context, *bftraft.Change) (
		[]bftraft.Endorsement, map[bftraft.NodeID]string, error)
	// Carry brings a change into force, or says why it does not come into force.
	Carry(context.Context, *bftraft.Change) error
}

// rollout brings changes of the members into force, one after the other.
type rollout struct {
	electorate
	cluster crypto.Digest
	admins  []crypto.PrivateKey
	// park takes a change that too few have signed. It says what is to be done with it.
	park func(*bftraft.Membership, *bftraft.Change) error
	// progress is told what is waited for.
	progress func(string)
	// short is how long an answer of the cluster may take, patience how long the members.
	short, patience time.Duration

	said string // what progress was told last
}

// errParked is returned when a change has to be signed by others before anything goes on.
var errParked = errors.New("it is to be signed by other administrators")

const (
	// readyAttempt is how long nodes have to answer before it is said what is waited for.
	readyAttempt = 3 * time.Second
	// readyPause is how long they are left alone then.
	readyPause = 500 * time.Millisecond
)

// members returns who is in the cluster now.
func (r *rollout) members(ctx context.Context) (*bftraft.Membership, error) {
	ctx, cancel := context.WithTimeout(ctx, r.short)
	defer cancel()
	return r.Follow(ctx)
}

// reach brings changes into force until the voters are those of a plan, and returns the members
// then. It can be repeated: what has been done is not done again.
func (r *rollout) reach(
	ctx context.Context, p *plan, where func(bftraft.Node) string,
) (*bftraft.Membership, error) {
	for {
		m, err := r.members(ctx)
		if err == nil && m.Joint() {
			m, err = r.closed(ctx, m.Number)
		}
		if err != nil {
			return m, err
		}
		steps, err := p.next(m, where)
		if err != nil {
			return m, cli.WithCode(cli.Usage, err)
		}
		if len(steps) == 0 {
			return m, nil
		}
		if m, err = r.bring(ctx, m, steps); err != nil {
			return m, err
		}
	}
}

// bring brings one change of what is in force into force, waits until it is closed if it changes
// the voters, and returns the members then.
func (r *rollout) bring(
	ctx context.Context, m *bftraft.Membership, steps []bftraft.ChangeStep,
) (*bftraft.Membership, error) {
	ch := &bftraft.Change{Number: m.Number + 1, Replaces: m.At, Steps: steps}
	next, err := m.After(ch)
	if err != nil {
		return m, refused(err)
	}
	if err := r.sign(m, ch); err != nil {
		return m, err
	}
	if len(ch.Endorsements) < m.Quorum {
		if err := r.park(m, ch); err != nil {
			return m, err
		}
		return m, errParked
	}
	if next.Joint() {
		waiting, cancel := context.WithTimeout(ctx, r.patience)
		err := r.collect(waiting, ch, promoted(ch))
		cancel()
		if err != nil {
			return m, err
		}
	}
	carrying, cancel := context.WithTimeout(ctx, r.short)
	defer cancel()
	if err := r.Carry(carrying, ch); err != nil {
		return m, err
	}
	if next.Joint() {
		m, err := r.closed(ctx, ch.Number)
		if err == nil && !slices.Equal(m.Voters, next.Incoming) {
			err = cli.Errorf(cli.NotMet, "change %d was rolled back, or another followed it: see "+
				"bftclient member list", ch.Number)
		}
		return m, err
	}
	return r.AwaitMembers(carrying, func(m *bftraft.Membership) bool { return m.Number >= ch.Number })
}

// sign signs with the keys that are here.
func (r *rollout) sign(m *bftraft.Membership, ch *bftraft.Change) error {
	for _, key := range r.admins {
		holds := func(e bftraft.Enrolled) bool { return e.Key == key.Public() }
		if !slices.ContainsFunc(m.Admins, holds) {
			return cli.Errorf(cli.Usage, "the key %v is not that of an administrator in office: "+
				"see bftclient member list", key.Public())
		}
		ch.Endorse(r.cluster, key)
	}
	return nil
}

// promoted returns the keys of the nodes that a change makes voters.
func promoted(ch *bftraft.Change) []crypto.PublicKey {
	var keys []crypto.PublicKey
	for _, s := range ch.Steps {
		if s.Kind == bftraft.Promote {
			keys = append(keys, s.Key)
		}
	}
	return keys
}

// collect adds to a change the words of those that are ready, once a quorum of those is that would
// vote, and all of needed are. A new voter that is behind would count as one that has failed.
func (r *rollout) collect(
	ctx context.Context, ch *bftraft.Change, needed []crypto.PublicKey,
) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, readyAttempt)
		ready, why, err := r.ReadyFor(attempt, ch)
		cancel()
		if err != nil && !errors.Is(err, bftraft.ErrChangeNotReady) {
			return refused(err)
		}
		if err == nil && containsAll(ready, needed) {
			for _, e := range ready {
				ch.AddReady(e)
			}
			return nil
		}
		reasons := reasonsOf(why)
		r.tell("waiting until the new voters are ready: " + reasons)
		if !pause(ctx, readyPause) {
			return cli.Errorf(cli.NotReady, "%w (%s): see that these nodes run and can be reached, "+
				"and repeat it", bftraft.ErrChangeNotReady, reasons)
		}
	}
}

func containsAll(words []bftraft.Endorsement, keys []crypto.PublicKey) bool {
	for _, k := range keys {
		is := func(e bftraft.Endorsement) bool { return e.Key == k }
		if !slices.ContainsFunc(words, is) {
			return false
		}
	}
	return true
}

// reasonsOf lists who is not ready and why, ascending by node.
func reasonsOf(why map[bftraft.NodeID]string) string {
	var list []string
	for id := range bftraft.NodeID(crypto.MaxNodeID + 1) {
		if reason, ok := why[id]; ok {
			list = append(list, fmt.Sprintf("node %d: %s", id, reason))
		}
	}
	return strings.Join(list, "; ")
}

// tell tells what is waited for, unless that was told last.
func (r *rollout) tell(what string) {
	if what != r.said {
		r.said = what
		r.progress(what)
	}
}

// closed waits until a change of the voters, which is in force, is closed or given up.
func (r *rollout) closed(ctx context.Context, number uint64) (*bftraft.Membership, error) {
	ctx, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	r.tell(fmt.Sprintf("change %d is in force: waiting until the new voters have taken over", number))
	m, err := r.AwaitMembers(ctx, func(m *bftraft.Membership) bool {
		return m.Number >= number && !m.Joint()
	})
	if errors.Is(err, client.ErrNoQuorum) {
		return m, cli.Errorf(cli.NoQuorum, "change %d is in force, and the new voters have not taken "+
			"over yet: they will once they follow; bftclient member list shows it, and bftclient "+
			"member rollback gives it up", number)
	}
	return m, err
}

// refused gives the reason why a change cannot come into force its exit code, and says what to do.
func refused(err error) error {
	switch {
	case errors.Is(err, bftraft.ErrChangeJoint):
		return cli.Errorf(cli.NotMet, "%w: see bftclient member list and member rollback", err)
	case errors.Is(err, bftraft.ErrChangeStale):
		return cli.Errorf(cli.NotMet, "%w: another came first; repeat it", err)
	case errors.Is(err, bftraft.ErrChangeNotReady):
		return cli.WithCode(cli.NotReady, err)
	}
	for _, e := range []error{
		bftraft.ErrChangeKey, bftraft.ErrChangeUnknown, bftraft.ErrChangeEmpty,
		bftraft.ErrChangeLimit, bftraft.ErrChangeMalformed, bftraft.ErrChangeAuthority,
		bftraft.ErrChangeSignature, bftraft.ErrChangeCarrier,
	} {
		if errors.Is(err, e) {
			return cli.WithCode(cli.NotMet, err)
		}
	}
	return explain(err)
}
