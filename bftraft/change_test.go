package bftraft

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/crypto"
)

// fakeAdmin is the number of the first of three administrators, of whom two have authority.
const fakeAdmin = 210

// changing returns a genesis with administrators.
func changing(n int) *Genesis {
	g := fakeGenesis(n)
	for k := range 3 {
		g.Admins = append(g.Admins, Enrolled{string(rune('a' + k)), fakePublic(byte(fakeAdmin + k))})
	}
	g.AdminQuorum = 2
	return g
}

// fakeHolder signs requests and changes with a fake key.
type fakeHolder byte

func (f fakeHolder) Public() crypto.PublicKey { return fakePublic(byte(f)) }

func (f fakeHolder) Sign(d crypto.Domain, msg []byte) crypto.Signature {
	return fakeKey(f.Public()).sign(d, msg)
}

// changeOn returns a change of what a gate knows, signed by two administrators.
func changeOn(v *Verifier, steps ...ChangeStep) *Change {
	m := v.Members()
	ch := &Change{Number: m.Number + 1, Replaces: m.At, Steps: steps}
	ch.Endorse(v.Cluster(), fakeHolder(fakeAdmin+1))
	ch.Endorse(v.Cluster(), fakeHolder(fakeAdmin))
	return ch
}

func enrols(n byte, role Role) ChangeStep {
	return ChangeStep{Kind: AddClient, Name: "client " + string(rune(n)), Key: fakePublic(n),
		Role: role}
}

func removes(n byte) ChangeStep { return ChangeStep{Kind: RemoveClient, Key: fakePublic(n)} }

// carried returns the request with which a client carries a change.
func carried(cluster Digest, client byte, sequence uint64, ch *Change) *Request {
	return SignRequest(cluster, fakeHolder(client), 1, sequence, [][]byte{ch.Op()})
}

func changeGate(t *testing.T) *Verifier {
	v, err := NewVerifier(fakeScheme{}, changing(4))
	require.NoError(t, err)
	return v
}

func TestChangeReadsBackAndHasOneForm(t *testing.T) {
	v := changeGate(t)
	ch := changeOn(v, enrols(1, RoleRead), removes(fakeClient),
		ChangeStep{Kind: SetRole, Key: fakePublic(2), Role: RoleAdmin},
		ChangeStep{Kind: AddAdmin, Name: "d", Key: fakePublic(3)},
		ChangeStep{Kind: RemoveAdmin, Key: fakePublic(4)}, ChangeStep{Kind: SetQuorum, Quorum: 1})
	got, err := DecodeChange(ch.Op())
	require.NoError(t, err)
	require.Equal(t, ch, got)
	for n := range ch.Op() {
		_, err := DecodeChange(ch.Op()[:n])
		require.ErrorIs(t, err, ErrChangeMalformed, "cut at %d", n)
	}
	_, err = DecodeChange(append(ch.Op(), 0))
	require.ErrorIs(t, err, ErrChangeMalformed)
	turned := *ch
	turned.Endorsements = slices.Clone(ch.Endorsements)
	slices.Reverse(turned.Endorsements)
	_, err = DecodeChange(turned.Op())
	require.ErrorIs(t, err, ErrChangeMalformed, "one order of signatures")
	before := ch.Op()
	ch.Endorse(v.Cluster(), fakeHolder(fakeAdmin))
	require.Equal(t, before, ch.Op(), "who signs twice has signed once")
}

// TestChangeStepsSayOnlyWhatCounts: a field that means nothing could else be signed two ways.
func TestChangeStepsSayOnlyWhatCounts(t *testing.T) {
	k := fakePublic(1)
	for name, s := range map[string]ChangeStep{
		"no kind": {Name: "x", Key: k, Role: RoleRead}, "kind unknown": {Kind: 7, Key: k},
		"client without role": {Kind: AddClient, Name: "x", Key: k},
		"client without name": {Kind: AddClient, Key: k, Role: RoleRead},
		"client without key":  {Kind: AddClient, Name: "x", Role: RoleRead},
		"role unknown":        {Kind: AddClient, Name: "x", Key: k, Role: 4},
		"removal with a name": {Kind: RemoveClient, Name: "x", Key: k},
		"removal with a role": {Kind: RemoveAdmin, Key: k, Role: RoleRead},
		"role with a quorum":  {Kind: SetRole, Key: k, Role: RoleRead, Quorum: 1},
		"admin with a role":   {Kind: AddAdmin, Name: "x", Key: k, Role: RoleRead},
		"quorum of nobody":    {Kind: SetQuorum},
		"quorum with a key":   {Kind: SetQuorum, Key: k, Quorum: 1},
	} {
		ch := &Change{Number: 1, Steps: []ChangeStep{s}}
		_, err := DecodeChange(ch.Op())
		require.ErrorIs(t, err, ErrChangeMalformed, name)
	}
	_, err := DecodeChange((&Change{Number: 1}).Op())
	require.ErrorIs(t, err, ErrChangeMalformed, "no step")
	long := &Change{Number: 1, Steps: make([]ChangeStep, MaxChangeSteps+1)}
	for i := range long.Steps {
		long.Steps[i] = removes(byte(i))
	}
	_, err = DecodeChange(long.Op())
	require.ErrorIs(t, err, ErrChangeMalformed, "too many steps")
}

// TestJ5ChangeNeedsAuthority goes through what keeps a change from coming into force.
func TestJ5ChangeNeedsAuthority(t *testing.T) {
	v := changeGate(t)
	add := enrols(1, RoleWrite)
	endorsed := func(ch *Change, by ...byte) *Change {
		ch.Endorsements = nil
		for _, n := range by {
			ch.Endorse(v.Cluster(), fakeHolder(n))
		}
		return ch
	}
	both := []byte{fakeAdmin, fakeAdmin + 1}
	altered := func(alter func(*Change)) *Change {
		ch := changeOn(v, add)
		alter(ch)
		return endorsed(ch, both...)
	}
	foreign := changeOn(v, add)
	foreign.Endorsements = nil
	for _, n := range both {
		foreign.Endorse(Digest{1}, fakeHolder(n))
	}
	forged := changeOn(v, add)
	forged.Steps[0].Role = RoleAdmin
	for name, c := range map[string]struct {
		ch   *Change
		want error
	}{
		"as it should be":    {changeOn(v, add), nil},
		"all three":          {endorsed(changeOn(v, add), fakeAdmin, fakeAdmin+1, fakeAdmin+2), nil},
		"one of two":         {endorsed(changeOn(v, add), fakeAdmin), ErrChangeAuthority},
		"nobody":             {endorsed(changeOn(v, add)), ErrChangeAuthority},
		"one and a stranger": {endorsed(changeOn(v, add), fakeAdmin, 9), ErrChangeSignature},
		"two and a stranger": {endorsed(changeOn(v, add), fakeAdmin, fakeAdmin+1, 9),
			ErrChangeSignature},
		"a client and one":     {endorsed(changeOn(v, add), fakeAdmin, fakeClient), ErrChangeSignature},
		"of another cluster":   {foreign, ErrChangeSignature},
		"altered behind it":    {forged, ErrChangeSignature},
		"number too high":      {altered(func(ch *Change) { ch.Number++ }), ErrChangeStale},
		"number of the past":   {altered(func(ch *Change) { ch.Number-- }), ErrChangeStale},
		"of another position":  {altered(func(ch *Change) { ch.Replaces.Index++ }), ErrChangeStale},
		"of another history":   {altered(func(ch *Change) { ch.Replaces.Hash[0]++ }), ErrChangeStale},
		"who is there already": {changeOn(v, enrols(fakeClient, RoleRead)), ErrChangeKey},
		"same name": {changeOn(v, ChangeStep{Kind: AddClient, Name: "client", Key: fakePublic(1),
			Role: RoleRead}), ErrChangeKey},
		"twice in one": {changeOn(v, add, add), ErrChangeKey},
		"back at once": {changeOn(v, removes(fakeClient), enrols(fakeClient, RoleRead)),
			ErrChangeKey},
		"who is not there": {changeOn(v, removes(9)), ErrChangeUnknown},
		"role of a nobody": {changeOn(v, ChangeStep{Kind: SetRole, Key: fakePublic(9),
			Role: RoleRead}), ErrChangeUnknown},
		"admin who is none": {changeOn(v, ChangeStep{Kind: RemoveAdmin, Key: fakePublic(9)}),
			ErrChangeUnknown},
		"too few left": {changeOn(v, ChangeStep{Kind: RemoveAdmin, Key: fakePublic(fakeAdmin)},
			ChangeStep{Kind: RemoveAdmin, Key: fakePublic(fakeAdmin + 1)}), ErrChangeEmpty},
		"quorum too high": {changeOn(v, ChangeStep{Kind: SetQuorum, Quorum: 4}), ErrChangeEmpty},
	} {
		require.ErrorIs(t, v.MayChange(fakePublic(fakeClient), c.ch), c.want, name)
		standsRight(t, v, c.ch, c.want == nil, name)
	}
	require.ErrorIs(t, v.MayChange(fakePublic(9), changeOn(v, add)), ErrChangeCarrier)
	nobody, err := NewVerifier(fakeScheme{}, fakeGenesis(4))
	require.NoError(t, err)
	none := &Change{Number: 1, Replaces: nobody.Members().At, Steps: []ChangeStep{add}}
	require.Error(t, nobody.MayChange(fakePublic(fakeClient), none), "nobody has authority")
}

// standsRight holds blocks to the kind of entry by which a change comes into force or does not.
func standsRight(t *testing.T, v *Verifier, ch *Change, inForce bool, name string) {
	kind := EntryRequest
	if inForce {
		kind = EntryConfiguration
	}
	r := carried(v.Cluster(), fakeClient, 1, ch)
	require.Equal(t, Entry{kind, r.Raw()}, v.Entry(r), name)
	wrong := Entry{EntryRequest + EntryConfiguration - kind, r.Raw()}
	require.Equal(t, entriesValid, judged(v, v.Entry(r)), name)
	require.Equal(t, entriesInvalid, judged(v, wrong), name+", as the other kind")
}

// judged returns the verdict on a block with an entry behind what the gate knows.
func judged(v *Verifier, entries ...Entry) checkState {
	raw := NewBlock(Position{v.Members().At.Index + 1, Digest{7}}, entries).Raw()
	b, _ := DecodeBlock(raw)
	v.CheckBlocks([]*Block{b})
	return b.checked
}

func TestJ1ChangeEndsItsBlock(t *testing.T) {
	v := changeGate(t)
	change := v.Entry(carried(v.Cluster(), fakeClient, 1, changeOn(v, enrols(1, RoleWrite))))
	plain := SignRequest(v.Cluster(), fakeHolder(fakeClient), 1, 2, [][]byte{{1}}).Entry()
	require.Equal(t, entriesValid, judged(v, plain, plain, change))
	require.Equal(t, entriesInvalid, judged(v, change, plain))
	require.Equal(t, entriesInvalid, judged(v, change, change))
	two := &Request{Client: fakePublic(fakeClient), Session: 1, Sequence: 1,
		Ops: [][]byte{changeOn(v, enrols(1, RoleWrite)).Op(), {1}}}
	_, err := DecodeRequest(append(two.appendBody(nil), make([]byte, 64)...))
	require.ErrorIs(t, err, ErrRequestMalformed, "it is carried alone")
}

func TestChangeResultsSayWhy(t *testing.T) {
	for _, want := range append(changeErrors[1:], nil) {
		number, why := DecodeChangeResult(ChangeResult(7, want))
		require.Equal(t, uint64(7), number)
		require.Equal(t, want, why)
	}
	for _, bad := range [][]byte{nil, {1}, append(ChangeResult(1, nil), 0), {8: 200}} {
		_, why := DecodeChangeResult(bad)
		require.ErrorIs(t, why, ErrChangeMalformed)
	}
}

// TestJ6KeysThatHaveLeftStayAway takes several changes to lead there.
func TestJ6KeysThatHaveLeftStayAway(t *testing.T) {
	m := changeGate(t).Members()
	follow := func(steps ...ChangeStep) error {
		next, err := m.After(&Change{Number: m.Number + 1, Replaces: m.At, Steps: steps})
		if err == nil {
			m = next
		}
		return err
	}
	require.NoError(t, follow(enrols(1, RoleRead), enrols(2, RoleWrite)))
	require.NoError(t, follow(removes(1)))
	require.NoError(t, follow(ChangeStep{Kind: RemoveAdmin, Key: fakePublic(fakeAdmin)}))
	for n, step := range []ChangeStep{
		enrols(1, RoleRead), enrols(fakeAdmin, RoleAdmin),
		{Kind: AddAdmin, Name: "x", Key: fakePublic(1)},
		{Kind: AddAdmin, Name: "x", Key: fakePublic(fakeAdmin)},
	} {
		require.ErrorIs(t, follow(step), ErrChangeKey, "%d", n)
	}
	require.NoError(t, follow(ChangeStep{Kind: AddAdmin, Name: "x", Key: fakePublic(3)}))
	c, ok := m.Client(fakePublic(2))
	require.True(t, ok)
	require.Equal(t, RoleWrite, c.Role)
	require.Equal(t, uint64(4), m.Number)
}

// TestChangesHaveALimit: whoever joins is shown all of them in one message.
func TestChangesHaveALimit(t *testing.T) {
	m := changeGate(t).Members()
	m.Number = MaxChanges - 1
	one := &Change{Number: MaxChanges, Replaces: m.At, Steps: []ChangeStep{enrols(1, RoleRead)}}
	_, err := m.After(one)
	require.NoError(t, err)
	m.Bytes = MaxChangesBytes - len(one.Op()) + 1
	_, err = m.After(one)
	require.ErrorIs(t, err, ErrChangeLimit)
	m.Bytes, m.Number = 0, MaxChanges
	one.Number++
	_, err = m.After(one)
	require.ErrorIs(t, err, ErrChangeLimit)
}

func TestRolesHaveNames(t *testing.T) {
	for _, r := range []Role{RoleRead, RoleWrite, RoleAdmin} {
		got, ok := ParseRole(r.String())
		require.True(t, ok)
		require.Equal(t, r, got)
	}
	for _, s := range []string{"", "owner", "unknown"} {
		_, ok := ParseRole(s)
		require.False(t, ok, s)
	}
	require.Equal(t, "unknown", Role(9).String())
}
