package store

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

// entered returns the hard state of a term that a certificate or an election led to.
func entered(s *Badger, t quorumcert.Term, elected bool) *bftraft.HardState {
	hard := s.written.hard
	hard.Term = t
	sigs := quorumcert.Signatures{Signers: quorumcert.SetOf(2)}
	sigs.Sigs = append(sigs.Sigs, [64]byte{byte(t)})
	hard.Proof = bftraft.TermProof{TC: &quorumcert.TC{Term: t - 1, Signatures: sigs}}
	if elected {
		hard.Proof.EC = &quorumcert.EC{Term: t, Leader: 2, Signatures: sigs}
	}
	return &hard
}

func save(t *testing.T, s *Badger, hard *bftraft.HardState, sync bool) {
	t.Helper()
	require.NoError(t, s.Save(&bftraft.Ready{HardState: hard, MustSync: sync}))
}

// again closes a store and opens it.
func again(t *testing.T, s *Badger) *Badger {
	t.Helper()
	require.NoError(t, s.Close())
	s, _, err := reopened(t, s.dir)
	require.NoError(t, err)
	return s
}

func TestStoreRemembersHowTermsBegan(t *testing.T) {
	s, _ := begun(t, 0)
	first := s.written.hard
	first.Proof.EC = entered(s, 1, true).Proof.EC
	save(t, s, &first, false)
	save(t, s, entered(s, 2, false), false)
	three := entered(s, 3, false)
	save(t, s, three, false)
	elected := entered(s, 3, true)
	save(t, s, elected, true)
	voted := *elected
	voted.Vote.Candidate = 1
	save(t, s, &voted, true)
	seven := entered(s, 7, false)
	save(t, s, seven, true)
	require.Equal(t, 4, s.count(t, keyTerm), "what tells nothing new is not kept again")
	s = again(t, s)
	got, err := s.Terms()
	require.NoError(t, err)
	require.Len(t, got, 4)
	require.Equal(t, TermRecord{1, first.Proof}, got[0])
	require.Equal(t, quorumcert.Term(2), got[1].Term)
	require.Nil(t, got[1].Proof.EC)
	require.Equal(t, TermRecord{3, elected.Proof}, got[2], "what was known last")
	require.Equal(t, TermRecord{7, seven.Proof}, got[3])
	restored := s.written.hard
	save(t, s, &restored, true)
	later := entered(s, 7, true)
	save(t, s, later, true)
	got, err = s.Terms()
	require.NoError(t, err)
	require.Equal(t, TermRecord{7, later.Proof}, got[3])
	require.Equal(t, 5, s.count(t, keyTerm), "a start adds nothing")
}

func TestTermsAreRememberedWhenASnapshotIsInstalled(t *testing.T) {
	s, tip := begun(t, 1)
	save(t, s, entered(s, 2, true), false)
	at := bftraft.Position{Index: tip.Index + 5, Hash: bftraft.Digest{5}}
	snapped(t, s, at)
	hard := entered(s, 4, true)
	commit := &quorumcert.Commit{Index: at.Index, Hash: at.Hash}
	require.NoError(t, s.InstallSnapshot(*hard, commit))
	got, err := s.Terms()
	require.NoError(t, err)
	require.Len(t, got, 2)
	require.Equal(t, quorumcert.Term(2), got[0].Term)
	require.Equal(t, TermRecord{4, hard.Proof}, got[1])
}

func TestOnlyTheNewestTermsAreRemembered(t *testing.T) {
	s, _ := begun(t, 0)
	for k := range quorumcert.Term(10) {
		save(t, s, entered(s, 2+k, true), true)
	}
	require.Equal(t, 10, s.count(t, keyTerm))
	save(t, s, entered(s, 3+keptTerms, true), true)
	require.Equal(t, 10+1-2, s.count(t, keyTerm), "2 and 3 are too old")
	save(t, s, entered(s, 50+keptTerms, true), true)
	require.Equal(t, 9+1-forgottenTerms, s.count(t, keyTerm), "a few at a time")
	save(t, s, entered(s, 51+keptTerms, true), true)
	got, err := s.Terms()
	require.NoError(t, err)
	require.Equal(t, quorumcert.Term(3+keptTerms), got[0].Term)
	require.Len(t, got, 3)
}

func TestTermOfABatchThatWasNotFinishedIsForgotten(t *testing.T) {
	s, _ := begun(t, 0)
	k := key(keyTerm, 9, s.written.seq+1)
	proof := entered(s, 9, true).Proof
	require.NoError(t, s.commit([]op{{k, s.seals.seal(k, proof.AppendTo(nil))}}))
	require.Equal(t, 1, s.count(t, keyTerm))
	s = again(t, s)
	require.Zero(t, s.count(t, keyTerm))
}

func TestDamagedTermIsNamed(t *testing.T) {
	s, _ := begun(t, 0)
	k := key(keyTerm, 9, s.written.seq)
	require.NoError(t, s.commit([]op{{k, s.seals.seal(k, []byte("no proof"))}}))
	_, err := s.Terms()
	require.ErrorIs(t, err, ErrDamaged)
	require.ErrorContains(t, err, "term 9")
	s, _ = begun(t, 0)
	proof := entered(s, 9, true).Proof
	require.NoError(t, s.commit([]op{{k, s.seals.seal(k, append(proof.AppendTo(nil), 0))}}))
	_, err = s.Terms()
	require.ErrorIs(t, err, ErrDamaged, "with more behind it")
}
