package store

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"tangaroa/bftraft"
	"tangaroa/crypto"
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
	require.Equal(t, TermRecord{1, first.Proof, nil}, got[0])
	require.Equal(t, quorumcert.Term(2), got[1].Term)
	require.Nil(t, got[1].Proof.EC)
	require.Equal(t, TermRecord{3, elected.Proof, nil}, got[2], "what was known last")
	require.Equal(t, TermRecord{7, seven.Proof, nil}, got[3])
	restored := s.written.hard
	save(t, s, &restored, true)
	later := entered(s, 7, true)
	save(t, s, later, true)
	got, err = s.Terms()
	require.NoError(t, err)
	require.Equal(t, TermRecord{7, later.Proof, nil}, got[3])
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
	require.Equal(t, TermRecord{4, hard.Proof, nil}, got[1])
}

// endOf says why a term ended for the node that left it.
func endOf(t quorumcert.Term) *bftraft.TermEnd {
	return &bftraft.TermEnd{
		Term: t, Leader: 3, Cause: bftraft.CauseStarvation, By: bftraft.ProofTC, Started: true,
	}
}

// TestStoreRemembersWhyTermsEnded: it comes with the term, is kept when more is known of that, and
// is there after a crash, out of the journal or out of Badger.
func TestStoreRemembersWhyTermsEnded(t *testing.T) {
	for name, key := range map[string]crypto.SecretKey{
		"plain": {}, "encrypted": crypto.NewSecretKey([32]byte{7}),
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			require.NoError(t, CreateEncrypted(dir, owner, key))
			open := func(dir string, readOnly bool) *Badger {
				o := Options{Identity: owner, MinFreeBytes: 1, Master: key, ReadOnly: readOnly}
				s, err := Open(dir, o)
				require.NoError(t, err)
				t.Cleanup(func() { _ = s.Close() })
				_, err = s.Load()
				require.NoError(t, err)
				return s
			}
			s := open(dir, false)
			begins := &bftraft.Ready{HardState: entered(s, 2, false), Ended: endOf(1)}
			require.NoError(t, s.Save(begins))
			leads := &bftraft.Ready{HardState: entered(s, 2, true), MustSync: true}
			require.NoError(t, s.Save(leads))
			require.NotZero(t, s.journal.Number())
			require.Zero(t, s.count(t, keyTerm), "it waits in the journal")
			want := []TermRecord{{2, leads.HardState.Proof, endOf(1)}}
			told := func(s *Badger) {
				t.Helper()
				got, err := s.Terms()
				require.NoError(t, err)
				require.Equal(t, want, got)
			}
			told(s)
			image := filepath.Join(t.TempDir(), "image")
			require.NoError(t, os.CopyFS(image, os.DirFS(dir)))
			seen := open(image, true)
			told(seen)
			require.NoError(t, seen.Close())
			s = open(image, false)
			require.Equal(t, 1, s.count(t, keyTerm), "it is in Badger")
			told(s)
			hard := s.written.hard
			hard.Proof.EC = entered(s, 2, true).Proof.EC
			want[0].Proof = hard.Proof
			require.NoError(t, s.WithoutJournal().Save(
				&bftraft.Ready{HardState: &hard, MustSync: true}))
			require.Equal(t, 2, s.count(t, keyTerm), "the newer record does not say why")
			told(s)
		})
	}
}

// TestTermsOfStoresThatDidNotKeepWhyTheyEndedAreRead: as they were written before that was kept.
func TestTermsOfStoresThatDidNotKeepWhyTheyEndedAreRead(t *testing.T) {
	s, _ := begun(t, 0)
	proof := entered(s, 9, true).Proof
	old := TermRecord{Term: 9, Proof: proof}
	require.Equal(t, proof.AppendTo(nil), old.encode())
	k := key(keyTerm, 9, s.written.seq)
	require.NoError(t, s.commit([]op{{k, s.seals.seal(k, old.encode())}}))
	got, err := s.Terms()
	require.NoError(t, err)
	require.Equal(t, []TermRecord{old}, got)
	r := TermRecord{9, proof, endOf(8)}
	require.Equal(t, append(old.encode(), 0, 0, 0, 0, 0, 0, 0, 8, 3, 4, 1, 1), r.encode())
}

// TestWhyATermEndedIsAddedToItsRecord: a state that was installed was in the new term already.
func TestWhyATermEndedIsAddedToItsRecord(t *testing.T) {
	s, _ := begun(t, 0)
	hard := entered(s, 2, false)
	save(t, s, hard, true)
	require.NoError(t, s.Save(&bftraft.Ready{HardState: hard, Ended: endOf(1), MustSync: true}))
	s = again(t, s)
	got, err := s.Terms()
	require.NoError(t, err)
	require.Equal(t, []TermRecord{{2, hard.Proof, endOf(1)}}, got)
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
