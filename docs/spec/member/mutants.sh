#!/usr/bin/env bash
# What each mutation of the membership rules does; mutants.log is its output. About two minutes on one core.
# In a trace an honest node's letter is its own; B is never named: it signs whatever is wanted.
set -euo pipefail
cd "$(dirname "$0")"
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
export GOMAXPROCS=1
go build -o "$bin/member" .
c="$bin/member -bfs -time 60s"
S="J JK JR JKx"
echo "== sanity: one phase; a quorum less one"
$c -expect VIOLATED -t 3 -new bcd -tree "$S" -mut onephase
$c -expect VIOLATED -t 3 -new bcd -tree "$S" -mut q-1
echo "== j1: blocks beyond a configuration entry without its commit certificate"
$c -expect VIOLATED -t 3 -new def -tree "$S" -mut j1
"$bin/member" -expect VIOLATED -t 3 -new def -voters -inv '' -tree "$S" -mut j1
echo "== j2: in the joint phase C_new's quorum is enough"
$c -expect VIOLATED -t 3 -new def -tree "$S" -mut j2
"$bin/member" -expect VIOLATED -t 3 -new def -voters -inv '' -tree "$S" -mut j2
echo "== n4: a configuration entry's commit is counted by the configuration behind it"
$c -expect VIOLATED -t 2 -new bcd -inv '' -tree "J JK JR" -mut n4
echo "== j3n: K certified by C_new alone and R by C_old alone"
$c -expect VIOLATED -t 3 -new def -tree "$S" -mut j3n
echo "== j5: one entry D from C_old to C_new, certified by C_old"
$c -expect VIOLATED -t 3 -new bcd -tree "w D Dx Dy" -mut j5
"$bin/member" -expect VIOLATED -t 3 -new def -voters -inv '' -tree "w D Dx Dy" -mut j5
echo "== j3: R certified by C_old alone, K by both: NOT refuted"
"$bin/member" -expect complete -half -t 3 -new bcd -inv later,split -tree "$S" -mut j3
echo "== j4: the entry at the base counts as in force, committed or not: agreement holds, but two leaders in one term"
"$bin/member" -expect complete -half -t 3 -new bcd -tree "$S" -mut j4
$c -expect VIOLATED -half -t 3 -new bcd -inv later,split -tree "$S" -mut j4
echo "== j2old: in the joint phase C_old's quorum is enough, only K needs both: NOT refuted"
"$bin/member" -expect complete -half -t 3 -new bcd -inv later,split -tree "$S" -mut j2old
echo "== j5both: one entry D, certified by both: NOT refuted"
"$bin/member" -expect complete -half -t 3 -new bcd -inv later,split -tree "w D Dx Dy" -mut j5both
echo "== the model does something: these commits are reached"
for g in JKx JRu Jy; do $c -expect "VIOLATED reached" -t 3 -new bcd -voters -inv later,reach -goal $g -tree "w J Jy JK JR JKx JKz JRu"; done
