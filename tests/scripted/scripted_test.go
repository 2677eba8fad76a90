package scripted

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// attacks says which tests play an attack: directory and name.
var attacks = []struct {
	id    string
	tests []string
}{
	{"SA-01", []string{"bftraft.TestModelM6ClaimsOfEarlierTermsDoNotCount",
		"bftraft.TestN4ClaimsOfTwoTermsDoNotAddUp"}},
	{"SA-02", []string{"bftraft.TestModelM2ClaimedLogElectsNobody",
		"bftraft.TestE4RawLogLengthPlaysNoPart", "bftraft.TestE4LongerLockOfAnOlderTermIsRefused"}},
	{"SA-03", []string{"bftraft.TestModelM1OneRoundOfAcksCommitsNothing"}},
	{"SA-04", []string{"bftraft.TestE4CandidateWithALowerLockIsRefusedAndTaught",
		"bftraft.TestStories"}},
	{"SA-05", []string{"tests/twins.TestTwinsBreakNothing",
		"tests/twins.TestTwoTwinsOfFourBreakAgreement"}},
	{"SA-06", []string{"bftraft.TestJ3ElectionOnAClosingEntryNeedsBothQuorums",
		"bftraft.TestJ3NewLeaderDropsAClosingEntryThatIsNotCertified",
		"bftraft.TestJ2ClosingEntryNeedsBothQuorums"}},
	{"SA-07", []string{"bftraft.TestSA07VoteThatWasNotFlushedWasNotSent"}},
	{"SA-08", []string{"bftraft.TestSA08AmnesiacLosesNobodyACommit"}},
	{"SA-09", []string{"bftraft.TestJ4LeaderThatLeavesHandsOver"}},
	{"SA-10", []string{"bftraft.TestJ5WhatRetiredKeysCertifyIsNotGathered",
		"bftraft.TestJ5RetiredKeysCommitNothingAtWhoIsBehind",
		"tests/sim.TestWhoLooksForAStateIsOfferedOneByReplacedVoters"}},
	{"SA-11", []string{"bftraft/replica.TestK1WhoServesPoisonIsDroppedAndNamed"}},
	{"SA-12", []string{"bftraft.TestE3RanksHaveTheirWindows",
		"quorumcert.TestEveryVoterLeadsTheRanksInTurn"}},
	{"SA-13", []string{"bftraft.TestSA13BridgedNodesCommit"}},
	{"SA-14", []string{"bftraft/replica.TestE5LeaderThatServesEverybodyLateIsSuspected"}},
	{"SA-15", []string{"bftraft.TestN6LeaderThatServesOnlySomeStopsNobody"}},
	{"SA-16", []string{"bftraft.TestN6CaughtUpNodeHelpsOthersToCatchUp"}},
	{"SA-17", []string{"bftraft/replica.TestC1OutcomeOfEachPlaceInASessionIsFixed"}},
	{"SA-18", []string{"bftraft.TestSA18OldCertificatesMoveNobodyBack"}},
	{"SA-19", []string{"bftraft/client.TestStaleAnswersOfFLiarsAreNotAccepted"}},
	{"SA-20", []string{"bftraft.TestSA20NodeSetBackChangesNothing"}},
	{"SA-21", []string{"quorumcert.TestAnyTwoQuorumsShareAnHonestVoter",
		"quorumcert.TestQuorumArithmeticHoldsForEverySize"}},
	{"SA-22", []string{"bftraft.TestE4CandidateWithALowerLockIsRefusedAndTaught",
		"bftraft.TestSignaturesCannotBeMovedBetweenMessages"}},
	{"SA-23", []string{"quorumcert.TestDuplicateSignersCannotBeWrittenDown",
		"quorumcert.TestCollectorCountsSignersNotSignatures"}},
}

func TestEveryScriptedAttackIsPlayed(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	for _, a := range attacks {
		require.Contains(t, string(doc), "//\t"+a.id+" ", "the table of the package comment")
		require.NotEmpty(t, a.tests, a.id)
		for _, name := range a.tests {
			dir, test, found := strings.Cut(name, ".")
			require.True(t, found, name)
			require.True(t, hasTest(t, filepath.Join("..", "..", dir), test), "%s: no %s", a.id, name)
		}
	}
	require.Equal(t, len(attacks), strings.Count(string(doc), "//\tSA-"), "rows of the two tables")
}

// hasTest says whether a directory has a test function of that name.
func hasTest(t *testing.T, dir, name string) bool {
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	require.NoError(t, err)
	for _, file := range files {
		syntax, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, d := range syntax.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == name {
				return true
			}
		}
	}
	return false
}
