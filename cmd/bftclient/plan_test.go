package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
)

// genesisMembers are four voters whose administrators are the test's.
func genesisMembers(t *testing.T) *bftraft.Membership {
	t.Helper()
	g := testGenesis()
	gate, err := bftraft.NewVerifier(crypto.ZIP215(), &g)
	require.NoError(t, err)
	return gate.Members()
}

func nodeKey(n byte) crypto.PublicKey { return testKey(n).Public() }

// wanted returns the plan of nodes by the numbers of their keys. Those above 4 have an address.
func wanted(numbers ...byte) *plan {
	p := &plan{}
	for _, n := range numbers {
		node := plannedNode{Key: nodeKey(n)}
		if n > 4 {
			node.Address = "new.example:1"
		}
		p.Nodes = append(p.Nodes, node)
	}
	return p
}

func nowhere(n bftraft.Node) string { return n.Address }

// joined returns members after learners have come.
func joined(t *testing.T, m *bftraft.Membership, numbers ...byte) *bftraft.Membership {
	t.Helper()
	ch := &bftraft.Change{Number: m.Number + 1, Replaces: m.At}
	for _, n := range numbers {
		ch.Steps = append(ch.Steps, stepOn(bftraft.AddNode, n))
	}
	next, err := m.After(ch)
	require.NoError(t, err)
	return next
}

func stepOn(kind bftraft.StepKind, n byte) bftraft.ChangeStep {
	s := bftraft.ChangeStep{Kind: kind, Key: nodeKey(n)}
	if kind == bftraft.AddNode {
		s.Name = "new.example:1"
	}
	return s
}

// TestPlanLeadsFromOneSetOfVotersToAnother names the steps of the next change.
func TestPlanLeadsFromOneSetOfVotersToAnother(t *testing.T) {
	four := genesisMembers(t)
	six := joined(t, four, 5, 6)
	const add, promote, remove = bftraft.AddNode, bftraft.Promote, bftraft.RemoveNode
	steps := func(list ...bftraft.ChangeStep) []bftraft.ChangeStep { return list }
	moved := wanted(1, 2, 3, 4)
	moved.Nodes[1].Address = "moved.example:1"
	same := wanted(1, 2, 3, 4, 5, 6)
	for name, c := range map[string]struct {
		members *bftraft.Membership
		plan    *plan
		want    []bftraft.ChangeStep
	}{
		"as it is":        {four, wanted(4, 3, 2, 1), nil},
		"learners stay":   {six, wanted(1, 2, 3, 4), nil},
		"one leaves":      {four, wanted(1, 2, 4), steps(stepOn(remove, 3))},
		"one comes":       {four, wanted(1, 2, 3, 4, 7), steps(stepOn(add, 7))},
		"first they come": {four, wanted(4, 5, 6), steps(stepOn(add, 5), stepOn(add, 6))},
		"some have come":  {six, wanted(5, 6, 7), steps(stepOn(add, 7))},
		"all have come":   {six, same, steps(stepOn(promote, 5), stepOn(promote, 6))},
		"then they vote": {six, wanted(3, 4, 6),
			steps(stepOn(promote, 6), stepOn(remove, 1), stepOn(remove, 2))},
		"disjoint": {six, wanted(5), steps(stepOn(promote, 5), stepOn(remove, 1),
			stepOn(remove, 2), stepOn(remove, 3), stepOn(remove, 4))},
		"one voter is won": {joined(t, four, 5), wanted(1, 2, 3, 4, 5), steps(stepOn(promote, 5))},
		"moved": {four, moved, steps(bftraft.ChangeStep{
			Kind: bftraft.SetAddress, Key: nodeKey(2), Name: "moved.example:1"})},
	} {
		got, err := c.plan.next(c.members, nowhere)
		require.NoError(t, err, name)
		require.Equal(t, c.want, got, name)
		if len(got) > 0 {
			ch := &bftraft.Change{Number: c.members.Number + 1, Replaces: c.members.At, Steps: got}
			_, err = c.members.After(ch)
			require.NoError(t, err, name)
		}
	}
	_, err := wanted(1, 2, 3).without(nodeKey(3)).next(four, nowhere)
	require.NoError(t, err)
	stranger := &plan{Nodes: []plannedNode{{Key: nodeKey(9)}}}
	_, err = stranger.next(four, nowhere)
	require.ErrorContains(t, err, "needs an address")
	got, err := moved.next(four, func(bftraft.Node) string { return "moved.example:1" })
	require.NoError(t, err)
	require.Empty(t, got, "it is known to be there")
	require.Equal(t, wanted(1, 2, 3, 4), planOf(four))
	require.Equal(t, wanted(1, 3, 4), planOf(four).without(nodeKey(2)))
}

// TestPlanIsReadWithCare refuses what cannot be meant.
func TestPlanIsReadWithCare(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plan.json")
	write := func(text string) error {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := readPlan(path)
		return err
	}
	text, err := json.Marshal(wanted(1, 2, 5))
	require.NoError(t, err)
	require.NoError(t, write(string(text)))
	got, err := readPlan(path)
	require.NoError(t, err)
	require.Equal(t, wanted(1, 2, 5), got)
	weak := &plan{Nodes: []plannedNode{{Key: crypto.PublicKey{0: 1}}}}
	bad := wanted(5)
	bad.Nodes[0].Address = "nowhere"
	many := &plan{}
	for n := range byte(65) {
		many.Nodes = append(many.Nodes, plannedNode{Key: nodeKey(n)})
	}
	for name, c := range map[string]struct {
		plan  *plan
		about string
	}{
		"nobody": {&plan{}, "0 nodes"}, "twice": {wanted(1, 2, 1), "nodes[2]: its key is in the plan"},
		"weak": {weak, "nodes[0]"}, "address": {bad, "nodes[0]"}, "many": {many, "65 nodes"},
	} {
		text, err := json.Marshal(c.plan)
		require.NoError(t, err)
		require.ErrorContains(t, write(string(text)), c.about, name)
	}
	require.ErrorContains(t, write(string(text)+"{}"), "more behind the plan")
	require.ErrorContains(t, write(`{"nodes": [], "voters": []}`), "unknown field")
	require.Error(t, write(`{`))
	_, err = readPlan(path + "x")
	require.ErrorIs(t, err, os.ErrNotExist)
}

// TestStepsOfNodesSurviveTheFile: who signs must see what.
func TestStepsOfNodesSurviveTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "change.json")
	cluster := crypto.Digest{7}
	ch := &bftraft.Change{Number: 3, Steps: []bftraft.ChangeStep{
		stepOn(bftraft.AddNode, 5), stepOn(bftraft.Promote, 5), stepOn(bftraft.RemoveNode, 1),
		{Kind: bftraft.SetAddress, Key: nodeKey(2), Name: "two.example:1"},
		{Kind: bftraft.AddClient, Key: nodeKey(6), Name: "bob", Role: bftraft.RoleRead},
		{Kind: bftraft.RollBack},
	}}
	require.NoError(t, writeChangeFile(path, cluster, ch))
	got, err := readChangeFile(path, cluster)
	require.NoError(t, err)
	require.Equal(t, ch, got)
	f := newChangeFile(cluster, ch)
	var out lines
	f.print(&out)
	require.Contains(t, out.String(), "add node at new.example:1 "+nodeKey(5).String())
	require.Contains(t, out.String(), "roll back\n")
	for name, bend := range map[string]func(*changeFile){
		"a name for a node":        func(f *changeFile) { f.Steps[0].Name = "five" },
		"an address for a removal": func(f *changeFile) { f.Steps[2].Address = "x:1" },
		"an address for a client":  func(f *changeFile) { f.Steps[4].Address = "x:1" },
		"a node without address":   func(f *changeFile) { f.Steps[0].Address = "" },
		"a key to roll back":       func(f *changeFile) { f.Steps[5].Key = f.Steps[0].Key },
	} {
		f := newChangeFile(cluster, ch)
		bend(f)
		_, err := f.change()
		require.Error(t, err, name)
	}
}
