package replica

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// readyCore wants things done, one after another, and notes what it was told.
type readyCore struct {
	stuckCore
	wants    []bftraft.Ready
	advanced int
	broken   error
	resigned bool
	picture  bftraft.State
}

func (c *readyCore) Room() bool { return false }
func (c *readyCore) Resign()    { c.resigned = true }
func (c *readyCore) Err() error { return c.broken }

func (c *readyCore) Quarantined() bool { return len(c.wants) > 0 && c.wants[0].Forgot }

func (c *readyCore) State() bftraft.State                 { return c.picture }
func (c *readyCore) Step(v bftraft.Verified) bftraft.Drop { return bftraft.Duplicate }

func (c *readyCore) Ready() (bftraft.Ready, bool) {
	if len(c.wants) == 0 {
		return bftraft.Ready{}, false
	}
	return c.wants[0], true
}

func (c *readyCore) Advance(bftraft.Ready) {
	c.wants = c.wants[1:]
	c.advanced++
}

// brittle is a disk whose reads fail when the test says so, after so many saves.
type brittle struct {
	disk
	readFails error
	after     int
}

func (d *brittle) Err() error {
	if d.saves >= d.after {
		return d.readFails
	}
	return nil
}

func working(t *testing.T, wants ...bftraft.Ready) (*Replica, *readyCore, *brittle, sentFrames) {
	core, store, sent := &readyCore{wants: wants}, &brittle{}, sentFrames{}
	r := follower(t, &stuckCore{}, sent)
	r.core, r.cfg.Storage = core, store
	r.cfg.Machine = &tape{}
	r.cfg.Core.Signer = crypto.NewSigner(1, crypto.KeyFromSeed([32]byte{1}))
	return r, core, store, sent
}

func said(to ...bftraft.NodeID) []bftraft.Outbound {
	return []bftraft.Outbound{{To: quorumcert.SetOf(to...), Msg: &bftraft.Resign{Term: 1}}}
}

func TestWhateverMustNotBeForgottenIsSaved(t *testing.T) {
	b := bftraft.NewBlock(bftraft.Position{}, []bftraft.Entry{ask(1, 1, 1).Entry()})
	for name, c := range map[string]struct {
		ready bftraft.Ready
		saved int
	}{
		"hard state": {bftraft.Ready{HardState: &bftraft.HardState{}}, 1},
		"truncation": {bftraft.Ready{Truncated: true}, 1},
		"blocks":     {bftraft.Ready{Blocks: []*bftraft.Block{b}}, 1},
		"commits":    {bftraft.Ready{Commits: []*quorumcert.Commit{{}}}, 1},
		"evidence":   {bftraft.Ready{Evidence: make([]quorumcert.Evidence, 1)}, 1},
		"messages":   {bftraft.Ready{Messages: said(2)}, 0},
		"committed":  {bftraft.Ready{Committed: []*bftraft.Block{b}}, 0},
	} {
		for _, sync := range []bool{false, true} {
			c.ready.MustSync = sync
			r, core, store, _ := working(t, c.ready)
			require.NoError(t, r.Flush(), name)
			require.Equal(t, 1, core.advanced)
			require.Equal(t, c.saved, store.saves, name)
			require.Equal(t, uint64(c.saved), r.Stats().Saves, name)
			if !sync {
				require.Zero(t, r.Stats().Synced)
			} else {
				require.Equal(t, uint64(c.saved), r.Stats().Synced, name)
			}
		}
	}
}

func TestReadyIsSentToEachReceiverAndApplied(t *testing.T) {
	b := bftraft.NewBlock(bftraft.Position{}, []bftraft.Entry{ask(1, 1, 1).Entry()})
	r, core, _, sent := working(t, bftraft.Ready{Messages: said(2, 4)},
		bftraft.Ready{Messages: append(said(3), said(4)...), Committed: []*bftraft.Block{b}})
	require.NoError(t, r.Flush())
	require.Equal(t, 2, core.advanced)
	require.Equal(t, sentFrames{2: 1, 3: 1, 4: 2}, sent)
	require.Equal(t, b.End(), r.Executed())
	require.Equal(t, Stats{Blocks: 1, Requests: 1, Ops: 1}, r.Stats())
	r.Resign()
	require.True(t, core.resigned)
}

func TestC1EveryCommittedBlockIsExecuted(t *testing.T) {
	one := bftraft.NewBlock(bftraft.Position{}, []bftraft.Entry{ask(1, 1, 1).Entry()})
	two := bftraft.NewBlock(one.End(), []bftraft.Entry{ask(2, 1, 1).Entry()})
	r, _, _, _ := working(t, bftraft.Ready{Committed: []*bftraft.Block{one, two}})
	require.NoError(t, r.Flush())
	require.Equal(t, two.End(), r.Executed())
	require.Equal(t, Stats{Blocks: 2, Requests: 2, Ops: 2}, r.Stats())
}

// TestNothingIsSaidOnceTheStoreFailedInAnyWay has saves and reads fail, before and after a save.
func TestNothingIsSaidOnceTheStoreFailedInAnyWay(t *testing.T) {
	b := bftraft.NewBlock(bftraft.Position{}, []bftraft.Entry{ask(1, 1, 1).Entry()})
	ready := bftraft.Ready{HardState: &bftraft.HardState{}, Messages: said(2, 3, 4),
		Committed: []*bftraft.Block{b}}
	bad := errors.New("bad sector")
	for name, fail := range map[string]func(*brittle){
		"save": func(d *brittle) { d.fail = bad },
		"read": func(d *brittle) { d.readFails = bad },
		"late": func(d *brittle) { d.readFails, d.after = bad, 1 },
	} {
		r, core, store, sent := working(t, ready)
		fail(store)
		require.ErrorIs(t, r.Flush(), bad, name)
		require.Empty(t, sent, name)
		require.Zero(t, r.Executed(), name)
		require.Zero(t, core.advanced, name)
		require.ErrorIs(t, r.Flush(), ErrStopped, name)
	}
	r, _, store, _ := working(t)
	store.readFails = bad
	require.ErrorIs(t, r.Flush(), bad, "though there is nothing to do")
	store.readFails = errors.New("another")
	require.ErrorIs(t, r.Flush(), bad, "the first reason stands")
}

func TestReplicaStopsForGoodWhenAccusedOrBroken(t *testing.T) {
	ready := bftraft.Ready{Messages: said(2)}
	r, core, _, sent := working(t, ready, ready)
	core.broken = bftraft.ErrBroken
	require.ErrorIs(t, r.Flush(), bftraft.ErrBroken)
	require.Equal(t, 1, core.advanced)
	clear(sent)
	stopped := func() {
		before := r.stats
		r.Tick()
		require.Zero(t, r.now)
		require.Equal(t, bftraft.Stale, r.Step(bftraft.Verified{}))
		r.Request(ClientID{}, 0, ask(1, 1, 1))
		r.Read(ClientID{}, &bftraft.ReadRequest{MinIndex: 5})
		require.Empty(t, r.reads)
		require.Empty(t, held(r))
		require.Empty(t, sent)
		require.Equal(t, before, r.stats)
	}
	stopped()
	accused := bftraft.Ready{Accused: true, Messages: said(2),
		Evidence: []quorumcert.Evidence{twoVotes(crypto.Digest{}, 1, 1)}}
	r, core, store, sent := working(t, accused)
	require.ErrorIs(t, r.Flush(), ErrAccused)
	require.Equal(t, 1, store.saves, "the proof is kept")
	require.Len(t, r.Convictions(), 1)
	require.Zero(t, core.advanced)
	require.Empty(t, sent)
	stopped()
	// What comes in behind the message that shows it, before the next Flush, is not answered.
	r, _, store, sent = working(t, bftraft.Ready{Forgot: true,
		HardState: &bftraft.HardState{Forgot: true}})
	require.Equal(t, bftraft.Duplicate, r.Step(bftraft.Verified{}))
	require.Equal(t, 1, store.saves)
	stopped()
	require.ErrorIs(t, r.Flush(), ErrForgot)
	forgot := bftraft.Ready{Forgot: true, Messages: said(2),
		HardState: &bftraft.HardState{Forgot: true}}
	r, core, store, sent = working(t, forgot)
	require.ErrorIs(t, r.Flush(), ErrForgot)
	require.Equal(t, 1, store.saves, "it will know again")
	require.Zero(t, core.advanced)
	require.Empty(t, sent)
	stopped()
	r, _, _, _ = working(t)
	require.Equal(t, bftraft.Duplicate, r.Step(bftraft.Verified{}), "what the core says")
}

// TestStatusOfANodeSaysWhatItKnowsOfOthers sets a peer for each thing that can be said.
func TestStatusOfANodeSaysWhatItKnowsOfOthers(t *testing.T) {
	r, core, _, _ := working(t)
	at := func(i bftraft.Index) bftraft.Position { return bftraft.Position{Index: i} }
	core.picture = bftraft.State{
		ID: 1, Term: 7, Leader: 2, Commit: at(9), Tip: at(11), Backoff: 3,
		Lock: bftraft.Lock{Term: 6, Index: 10}, Suspects: bftraft.CauseSilence,
		Faulty: quorumcert.SetOf(4),
		Peers: []bftraft.PeerState{
			{ID: 2, Suspects: true, Status: bftraft.Status{Commit: at(9)}},
			{ID: 3, Silent: true, Status: bftraft.Status{Commit: at(10)}},
			{ID: 4, Status: bftraft.Status{Commit: at(8)}},
		},
	}
	r.executed = at(8)
	r.cluster = crypto.Digest{1}
	m, err := bftraft.DecodeNodeStatus(r.NodeStatus(), r.cluster,
		r.configs().Latest().Keyring())
	require.NoError(t, err)
	m.Sig, m.From = crypto.Signature{}, 0
	require.Equal(t, &bftraft.NodeStatus{
		Term: 7, Leader: 2, Lock: core.picture.Lock, Tip: at(11), Commit: at(9), Executed: 8,
		Backoff: 3, Suspects: bftraft.CauseSilence, Faulty: quorumcert.SetOf(4),
		Accuses: quorumcert.SetOf(2), Behind: quorumcert.SetOf(4), Silent: quorumcert.SetOf(3),
		State: r.cfg.Machine.Digest(),
	}, m)
}

// places is a state machine that writes down at which index it is told what.
type places struct {
	tape
	at []uint64
}

func (m *places) Apply(index uint64, op []byte) []byte {
	m.at = append(m.at, index)
	return m.tape.Apply(index, op)
}

// TestEntriesAreExecutedAtTheirIndexAndOnlyThere has a proof between two requests.
func TestEntriesAreExecutedAtTheirIndexAndOnlyThere(t *testing.T) {
	r, _, _, _ := working(t)
	machine := &places{}
	r.cfg.Machine, r.executed = machine, bftraft.Position{Index: 10}
	proof := twoVotes(crypto.Digest{1}, 3, 1)
	b := bftraft.NewBlock(r.executed, []bftraft.Entry{
		ask(1, 1, 1).Entry(), bftraft.EvidenceEntry(&proof), ask(1, 2, 2).Entry(),
	})
	require.Len(t, r.execute(b), 2)
	require.Equal(t, []uint64{11, 13}, machine.at)
	require.Equal(t, []bftraft.Conviction{{Index: 12, Evidence: proof}}, r.Convictions())
	require.Panics(t, func() { r.execute(b) }, "each block once")
	require.Panics(t, func() {
		r.execute(bftraft.NewBlock(r.executed, []bftraft.Entry{{Kind: bftraft.EntryRequest}}))
	})
}

// startWith starts a cluster of one on a disk that was tampered with.
func startWith(t *testing.T, tamper func(*alone, *Config)) error {
	a := newAlone(t)
	for k := range uint64(3) {
		a.submit(a.request(1, k+1, "op"))
	}
	cfg := a.r.cfg
	cfg.Machine = &tape{}
	tamper(a, &cfg)
	_, err := New(cfg)
	return err
}

func TestReplicaStartsOnlyWithALogThatItCanReplay(t *testing.T) {
	bad := errors.New("bad sector")
	var heard [][2]bftraft.Index
	require.NoError(t, startWith(t, func(_ *alone, c *Config) {
		c.Progress = func(done, total bftraft.Index) {
			heard = append(heard, [2]bftraft.Index{done, total})
		}
	}))
	require.Equal(t, [][2]bftraft.Index{{1, 3}, {2, 3}, {3, 3}}, heard)
	require.NoError(t, startWith(t, func(_ *alone, c *Config) {
		c.BlockBytes = bftraft.MaxBlockBytes / 2
	}))
	for name, tamper := range map[string]func(*alone, *Config){
		"too large": func(_ *alone, c *Config) { c.BlockBytes = bftraft.MaxBlockBytes/2 + 1 },
		"negative":  func(_ *alone, c *Config) { c.BlockBytes = -1 },
		"no core":   func(_ *alone, c *Config) { c.Core.HeartbeatTicks = 0 },
		"missing block": func(a *alone, c *Config) {
			c.Storage = &gappy{disk: a.disk, without: 2}
		},
		"another block": func(a *alone, c *Config) {
			at := bftraft.Position{Index: 1, Hash: crypto.Digest{1}}
			b := bftraft.NewBlock(at, []bftraft.Entry{ask(1, 1, 1).Entry()})
			c.Storage = &gappy{disk: a.disk, without: 2, instead: b}
		},
		"no load": func(a *alone, c *Config) { c.Storage = &gappy{disk: a.disk, loads: bad} },
	} {
		require.Error(t, startWith(t, tamper), name)
	}
	require.ErrorIs(t, startWith(t, func(a *alone, c *Config) {
		c.Storage = &gappy{disk: a.disk, loads: bad}
	}), bad)
	a := newAlone(t)
	cfg := a.r.cfg
	cfg.Storage = &gappy{disk: a.disk, proofs: make([]quorumcert.Evidence, 1)}
	cfg.Storage.(*gappy).proofs[0] = twoVotes(a.verifier.Cluster(), 1, 1)
	r, err := New(cfg)
	require.NoError(t, err)
	require.Len(t, r.Convictions(), 1, "proofs are restored")
}

// gappy is a disk that lacks the block at an index, or holds another one instead.
type gappy struct {
	*disk
	without bftraft.Index
	instead *bftraft.Block
	loads   error
	proofs  []quorumcert.Evidence
}

func (g *gappy) Load() (bftraft.Restored, error) {
	r, _ := g.disk.Load()
	r.Evidence = g.proofs
	return r, g.loads
}

func (g *gappy) Block(i bftraft.Index) (*bftraft.Block, bool) {
	if i == g.without {
		return g.instead, g.instead != nil
	}
	return g.disk.Block(i)
}

// countedSigner counts signatures.
type countedSigner struct {
	crypto.Signer
	made int
}

func (s *countedSigner) Sign(d crypto.Domain, msg []byte) crypto.Signature {
	s.made++
	return s.Signer.Sign(d, msg)
}

func TestReplyIsSignedOnceHoweverOftenItIsAskedFor(t *testing.T) {
	a := newAlone(t)
	var requests []*bftraft.Request
	for i := range uint64(rememberedReplies + 1) {
		requests = append(requests, a.request(1+i/MaxResults, 1+i%MaxResults, "x"))
		require.Len(t, a.submit(requests[i]), 1)
	}
	signer := &countedSigner{Signer: a.r.cfg.Core.Signer}
	a.r.cfg.Core.Signer = signer
	for _, req := range requests[1:] {
		a.reply(a.submit(req)[0])
	}
	require.Zero(t, signer.made, "the newest are remembered")
	a.submit(requests[0])
	a.submit(requests[0])
	require.Equal(t, 1, signer.made, "the oldest was forgotten")
}

func TestSignatureStandsUnderItsOwnStatementOnly(t *testing.T) {
	a := newAlone(t)
	base := quorumcert.Reply{Cluster: a.verifier.Cluster(), Index: 5, Hash: bftraft.Digest{1}}
	list := []quorumcert.Reply{base, base, base, base, base, base}
	list[1].Cluster[0]++
	list[2].Configuration++
	list[3].Index++
	list[4].Hash[0]++
	list[5].Results[0]++
	for range 2 { // the second time all are remembered
		for i, reply := range list {
			sig := a.r.signReply(reply)
			cfg := a.verifier.Configurations().Latest()
			require.NoError(t, cfg.VerifyOne(1, reply, sig), "statement %d", i)
		}
	}
}

// TestNothingIsAnsweredOnceTheDiskHasFailed: a read may fail between two flushes. What the node
// has signed before, or could sign, it does not send either.
func TestNothingIsAnsweredOnceTheDiskHasFailed(t *testing.T) {
	for name, ask := range map[string]func(a *alone, done *bftraft.Request){
		"a request again": func(a *alone, done *bftraft.Request) {
			a.r.Request(ClientID{Key: done.Client, Conn: 7}, 0, done)
		},
		"a read": func(a *alone, done *bftraft.Request) {
			a.r.Read(ClientID{Key: done.Client, Conn: 7}, &bftraft.ReadRequest{})
		},
	} {
		a := newAlone(t)
		done := a.request(1, 1, "x")
		require.Len(t, a.submit(done), 1)
		ask(a, done)
		require.Len(t, a.out.frames, 2, name)
		a.r.cfg.Storage = &brittle{readFails: errors.New("no sector")}
		ask(a, done)
		require.Len(t, a.out.frames, 2, name)
		require.ErrorIs(t, a.r.Flush(), ErrStopped, name)
	}
}
