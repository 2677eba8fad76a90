package replica

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/bftraft/store"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// group is a cluster of four whose messages the test may hold up and alter. It takes a checkpoint
// every ten entries, in chunks of 256 bytes, and keeps no log before it.
type group struct {
	t        *testing.T
	verifier *bftraft.Verifier
	client   crypto.PrivateKey
	mates    []*mate
	queue    []parcel
	requests uint64
	// alter, if set, returns what arrives instead of a message; nil: nothing.
	alter func(p parcel, m bftraft.Message) bftraft.Message
}

type parcel struct {
	from, to bftraft.NodeID
	frame    []byte
}

// mate is a member of a group.
type mate struct {
	*group
	id      bftraft.NodeID
	proc    *Replica
	tape    *tape
	disk    *store.Memory
	storage Storage // disk, or what a test puts around it
	served  int     // parts with data that it sent
}

func (m *mate) Send(to bftraft.NodeID, _ bftraft.Class, frame []byte) {
	m.queue = append(m.queue, parcel{m.id, to, frame})
}

func (m *mate) Reply(ClientID, []byte) {}

func newGroup(t *testing.T) *group {
	g := &group{t: t, client: crypto.KeyFromSeed([32]byte{99})}
	genesis := &bftraft.Genesis{
		Name: "group", Nonce: crypto.Digest{1},
		Clients: []bftraft.Enrolled{{Name: "c", Key: g.client.Public()}},
	}
	key := func(id bftraft.NodeID) crypto.PrivateKey { return crypto.KeyFromSeed([32]byte{byte(id)}) }
	for id := bftraft.NodeID(1); id <= 4; id++ {
		genesis.Voters = append(genesis.Voters, quorumcert.Voter{ID: id, Key: key(id).Public()})
	}
	var err error
	g.verifier, err = bftraft.NewVerifier(crypto.ZIP215(), genesis)
	require.NoError(t, err)
	for id := bftraft.NodeID(1); id <= 4; id++ {
		m := &mate{group: g, id: id}
		m.disk = store.NewMemory(store.Identity{
			Cluster: g.verifier.Cluster(), Node: id, Key: key(id).Public(),
		})
		m.storage = m.disk
		g.mates = append(g.mates, m)
		m.start()
	}
	return g
}

func (m *mate) signer() crypto.Signer {
	return crypto.NewSigner(m.id, crypto.KeyFromSeed([32]byte{byte(m.id)}))
}

// start starts a member on its disk.
func (m *mate) start() {
	m.tape = &tape{}
	core := bftraft.DefaultConfig()
	core.Cluster, core.Signer = m.verifier.Cluster(), m.signer()
	core.Verifier, core.Seed = m.verifier, uint64(m.id)
	var err error
	m.proc, err = New(Config{Core: core, Storage: m.storage, Transport: m, Machine: m.tape,
		Checkpoints: Checkpoints{Every: 10, ChunkBytes: 256, Store: m.storage.(Snapshots)}})
	require.NoError(m.t, err)
}

func (g *group) mate(id bftraft.NodeID) *mate { return g.mates[id-1] }

// ticks lets time pass; messages take none.
func (g *group) ticks(n int) {
	for range n {
		for _, m := range g.mates {
			if m.proc != nil {
				m.proc.Tick()
				m.flush()
			}
		}
		for len(g.queue) > 0 {
			p := g.queue[0]
			g.queue = g.queue[1:]
			g.deliver(p)
		}
	}
}

func (m *mate) flush() {
	if err := m.proc.Flush(); err != nil {
		require.ErrorIs(m.t, err, errPulled, "node %d", m.id)
		m.proc = nil
	}
}

func (g *group) deliver(p parcel) {
	to := g.mate(p.to)
	if to.proc == nil {
		return
	}
	if m, drop := bftraft.DecodeMessage(p.frame); drop == bftraft.Accepted {
		if g.alter != nil {
			if m = g.alter(p, m); m == nil {
				return
			}
		}
		if part, ok := m.(*bftraft.StatePart); ok {
			bftraft.SignMessage(g.mate(p.from).signer(), g.verifier.Cluster(), m)
			p.frame = bftraft.Encode(m)
			if len(part.Data) > 0 {
				g.mate(p.from).served++
			}
		}
	}
	if p.frame[0] == bftraft.FrameRequest || p.frame[0] == bftraft.FrameReply {
		return // clients speak to all members
	}
	v, drop := g.verifier.Verify(p.from, p.frame)
	require.Equal(g.t, bftraft.Accepted, drop)
	to.proc.Step(v)
	to.flush()
}

// write has n operations executed at a member, one after the other.
func (g *group) write(at bftraft.NodeID, n int) {
	for range n {
		g.requests++
		req := bftraft.SignRequest(g.verifier.Cluster(), g.client, 1, g.requests,
			[][]byte{fmt.Append(nil, "op", g.requests)})
		for _, m := range g.mates {
			if m.proc != nil {
				m.proc.Request(ClientID{Key: req.Client}, 0, req)
				m.flush()
			}
		}
		before := g.mate(at).proc.Executed().Index
		g.until(func() bool { return g.mate(at).proc.Executed().Index > before })
		g.ticks(8) // for a chunk of a checkpoint in each
	}
}

// until lets time pass until something holds.
func (g *group) until(holds func() bool) {
	for range 4000 {
		if holds() {
			return
		}
		g.ticks(1)
	}
	require.Fail(g.t, "it does not come to pass")
}

// without lets nothing pass to and from a member.
func without(id bftraft.NodeID) func(parcel, bftraft.Message) bftraft.Message {
	return func(p parcel, m bftraft.Message) bftraft.Message {
		if p.from == id || p.to == id {
			return nil
		}
		return m
	}
}

// lost returns a group whose node 4 has missed so much that nobody has the log any more that it
// lacks.
func lost(t *testing.T) *group {
	g := newGroup(t)
	g.write(1, 3)
	g.until(func() bool { return g.mate(4).proc.Executed().Index >= 3 })
	g.alter = without(4)
	g.write(1, 57)
	g.until(func() bool {
		for id := bftraft.NodeID(1); id <= 3; id++ {
			if g.mate(id).proc.core.Base().Index <= 3 {
				return false
			}
		}
		return true
	})
	require.Less(t, g.mate(4).proc.Executed().Index, bftraft.Index(10))
	return g
}

// same says whether two members have come to the same state.
func (g *group) same(a, b bftraft.NodeID) bool {
	return g.mate(a).proc.Executed() == g.mate(b).proc.Executed()
}

func (g *group) requireSame(a, b bftraft.NodeID) {
	g.until(func() bool { return g.same(a, b) })
	require.Equal(g.t, g.mate(a).tape.lines, g.mate(b).tape.lines)
	if _, some := g.mate(b).proc.Transfer(); !some {
		require.Nil(g.t, g.mate(b).tape.coming, "nothing is left of what was given up")
	}
	require.Equal(g.t, g.mate(a).proc.SessionsDigest(), g.mate(b).proc.SessionsDigest())
}

func TestK1NodeThatHasMissedTheLogTakesAState(t *testing.T) {
	g := lost(t)
	g.alter = nil
	g.until(func() bool { return g.mate(4).proc.Stats().Installed == 1 })
	at := g.mate(4).disk.Base()
	require.Zero(t, at.Index%10)
	g.requireSame(1, 4)
	serving := 0
	for id := bftraft.NodeID(1); id <= 3; id++ {
		if g.mate(id).served > 1 { // the manifest is one
			serving++
		}
	}
	require.Equal(t, 3, serving, "all have a part in it")
	_, fetching := g.mate(4).proc.Transfer()
	require.False(t, fetching)
	g.write(1, 25)
	g.requireSame(1, 4)
	require.Equal(t, uint64(1), g.mate(4).proc.Stats().Installed, "from there the log leads on")
	require.Greater(t, g.mate(4).disk.Base().Index, at.Index, "it lets go of its log as others do")
	g.mate(4).disk = g.mate(4).disk.Crash(0)
	g.mate(4).storage = g.mate(4).disk
	g.mate(4).start()
	g.requireSame(1, 4)
}

func TestK1WhoServesPoisonIsDroppedAndNamed(t *testing.T) {
	for what, poison := range map[string]func(m *bftraft.StatePart){
		"a bit":            func(m *bftraft.StatePart) { m.Data[len(m.Data)/2] ^= 1 },
		"a byte more":      func(m *bftraft.StatePart) { m.Data = append(m.Data, 0) },
		"the end is gone":  func(m *bftraft.StatePart) { m.Data = m.Data[:len(m.Data)-1] },
		"another's chunk":  func(m *bftraft.StatePart) { m.Data = []byte("another") },
		"a false manifest": nil,
	} {
		g := lost(t)
		g.alter = func(p parcel, m bftraft.Message) bftraft.Message {
			part, ok := m.(*bftraft.StatePart)
			switch {
			case !ok || p.from != 2 || len(part.Data) == 0:
			case poison == nil && part.Part == bftraft.ManifestPart:
				part.Data = append([]byte(nil), part.Data...)
				part.Data[40] ^= 1
			case poison != nil && part.Part != bftraft.ManifestPart:
				part.Data = append([]byte(nil), part.Data...)
				poison(part)
			}
			return m
		}
		g.until(func() bool { return g.mate(4).proc.Stats().Installed == 1 })
		require.Equal(t, quorumcert.SetOf(2), g.mate(4).proc.Stats().Poisoned, what)
		g.requireSame(1, 4)
	}
}

func TestK1WhoServesNothingIsNotWaitedFor(t *testing.T) {
	g := lost(t)
	g.alter = func(p parcel, m bftraft.Message) bftraft.Message {
		if part, ok := m.(*bftraft.StatePart); ok && p.from == 3 &&
			part.Part != bftraft.ManifestPart {
			return nil
		}
		return m
	}
	g.until(func() bool { return g.mate(4).proc.Stats().Installed == 1 })
	g.requireSame(1, 4)
	require.Zero(t, g.mate(4).proc.Stats().Poisoned)
}

// While a node fetches, the others go on, and hold what it has begun with.
func TestK1TransferGoesOnWhereItWasInterrupted(t *testing.T) {
	g := lost(t)
	g.alter = nil
	g.until(func() bool {
		p, some := g.mate(4).proc.Transfer()
		return some && p.Done > 4
	})
	p, _ := g.mate(4).proc.Transfer()
	require.Greater(t, p.Chunks, p.Done)
	g.alter = without(4)
	g.write(1, 30)
	info, _ := g.mate(1).disk.Snapshot()
	require.Greater(t, info.At.Index, p.At, "the others have newer ones")
	held, ok := g.mate(1).disk.HeldSnapshot()
	require.True(t, ok)
	require.Equal(t, p.At, held.At.Index)
	require.LessOrEqual(t, g.mate(1).disk.Base().Index, p.At, "with the log that follows it")
	asked := map[uint32]bool{}
	g.alter = func(_ parcel, m bftraft.Message) bftraft.Message {
		if f, ok := m.(*bftraft.FetchState); ok && f.Part != bftraft.ManifestPart {
			asked[f.Part] = true
		}
		return m
	}
	g.until(func() bool { return g.mate(4).proc.Stats().Installed == 1 })
	require.Equal(t, p.At, g.mate(4).proc.stable.Index)
	for k := range p.Done {
		require.False(t, asked[uint32(k)], "chunk %d was here", k)
	}
	g.requireSame(1, 4)
	require.Equal(t, uint64(1), g.mate(4).proc.Stats().Installed)
	g.ticks(holdIdle + 20)
	_, ok = g.mate(1).disk.HeldSnapshot()
	require.False(t, ok, "nobody fetches any more")
	require.Greater(t, g.mate(1).disk.Base().Index, p.At, "and the log goes")
}

// errPulled is what a disk says whose power is pulled.
var errPulled = fmt.Errorf("power is gone")

// pulled is a disk whose power is pulled before a state is installed.
type pulled struct{ *store.Memory }

func (pulled) InstallSnapshot(bftraft.HardState, *quorumcert.Commit) error { return errPulled }

func TestK1CrashBeforeAStateIsInstalledIsMadeGood(t *testing.T) {
	g := lost(t)
	four := g.mate(4)
	four.disk = four.disk.Crash(0)
	four.storage = pulled{four.disk}
	four.start()
	g.alter = nil
	g.until(func() bool { return four.proc == nil })
	four.disk = four.disk.Crash(0)
	info, ok := four.disk.Snapshot()
	require.False(t, ok, "before it is loaded")
	four.storage = four.disk
	g.alter = without(4)
	four.start()
	info, ok = four.disk.Snapshot()
	require.True(t, ok)
	require.Equal(t, info.At, four.disk.Base())
	require.Equal(t, info.At, four.proc.Executed())
	g.alter = nil
	g.requireSame(1, 4)
}

func TestK1PartsAreServedSoManyInAWhile(t *testing.T) {
	g := lost(t)
	one := g.mate(1)
	info, ok := one.disk.Snapshot()
	require.True(t, ok)
	ask := func(at bftraft.Index, part uint32) bftraft.Drop {
		m := &bftraft.FetchState{At: at, Part: part}
		bftraft.SignMessage(g.mate(4).signer(), g.verifier.Cluster(), m)
		v, drop := g.verifier.Verify(4, bftraft.Encode(m))
		require.Equal(t, bftraft.Accepted, drop)
		return one.proc.Step(v)
	}
	answer := func() *bftraft.StatePart {
		m, drop := bftraft.DecodeMessage(g.queue[len(g.queue)-1].frame)
		require.Equal(t, bftraft.Accepted, drop)
		return m.(*bftraft.StatePart)
	}
	g.ticks(repeatTicks)
	require.Equal(t, bftraft.Accepted, ask(0, bftraft.ManifestPart))
	require.Equal(t, info.Proof, answer().Data)
	require.Equal(t, bftraft.Accepted, ask(info.At.Index, 0))
	require.NotEmpty(t, answer().Data)
	require.Equal(t, bftraft.Accepted, ask(info.At.Index, uint32(info.Chunks)))
	require.Empty(t, answer().Data, "there is no such chunk")
	require.Equal(t, bftraft.Accepted, ask(info.At.Index-10, 0))
	require.Empty(t, answer().Data, "nor such a state")
	require.Equal(t, info.At.Index, answer().At, "but this")
	served := 4
	for range 4 * maxParts {
		if ask(info.At.Index, 0) == bftraft.Accepted {
			served++
		}
	}
	require.Equal(t, maxParts, served)
	g.ticks(repeatTicks)
	require.Equal(t, bftraft.Accepted, ask(info.At.Index, 0))
}

func TestK1PartsThatNobodyAskedForAreIgnored(t *testing.T) {
	g := lost(t)
	four := g.mate(4)
	say := func(from bftraft.NodeID, m *bftraft.StatePart) bftraft.Drop {
		bftraft.SignMessage(g.mate(from).signer(), g.verifier.Cluster(), m)
		v, drop := g.verifier.Verify(from, bftraft.Encode(m))
		require.Equal(t, bftraft.Accepted, drop)
		return four.proc.Step(v)
	}
	require.Equal(t, bftraft.Unasked, say(1, &bftraft.StatePart{Part: bftraft.ManifestPart}))
	g.alter = nil
	var p Transfer
	g.until(func() bool {
		p, _ = four.proc.Transfer()
		return p.Done > 0
	})
	g.queue, four.proc.transfer.sent = nil, [quorumcert.MaxVoters + 1]int{}
	four.proc.askParts()
	for _, part := range []uint32{0, uint32(p.Done) + fetchWindow, uint32(p.Chunks)} {
		m := &bftraft.StatePart{At: p.At, Part: part, Data: []byte("x")}
		require.Equal(t, bftraft.Unasked, say(1, m), part)
	}
	require.Equal(t, bftraft.Unasked,
		say(1, &bftraft.StatePart{At: p.At + 10, Part: uint32(p.Done), Data: []byte("x")}))
	asked := four.proc.transfer.parts[p.Done%fetchWindow].asked.Next(0)
	other := asked%3 + 1
	require.Equal(t, bftraft.Unasked,
		say(other, &bftraft.StatePart{At: p.At, Part: uint32(p.Done), Data: []byte("x")}))
	require.Equal(t, bftraft.PoisonedState,
		say(asked, &bftraft.StatePart{At: p.At, Part: uint32(p.Done), Data: []byte("x")}))
	data, ok := g.mate(1).disk.SnapshotChunk(p.Done)
	require.True(t, ok)
	for other = 1; other == asked ||
		four.proc.transfer.parts[p.Done%fetchWindow].asked.Has(other); other++ {
	}
	require.Equal(t, bftraft.Accepted,
		say(other, &bftraft.StatePart{At: p.At, Part: uint32(p.Done), Data: data}),
		"what is right is right, whoever sends it")
	require.Zero(t, four.proc.Executed().Index%10-3)
}

func TestK1NodeGoesOnLookingForAState(t *testing.T) {
	g := lost(t)
	four := g.mate(4)
	g.alter = func(_ parcel, m bftraft.Message) bftraft.Message {
		if _, ok := m.(*bftraft.StatePart); ok {
			return nil
		}
		return m
	}
	g.ticks(2000)
	p, some := four.proc.Transfer()
	require.True(t, some)
	require.Equal(t, Transfer{}, p)
	g.alter = nil
	g.until(func() bool { return four.proc.Stats().Installed == 1 })
	g.requireSame(1, 4)
}
