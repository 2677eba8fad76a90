#!/usr/bin/env bash
# What each mutation of the core's rules does; mutants.log is its output. About four minutes on one
# core. With "fast" as argument, only what ends within seconds. Ends non-zero when an outcome is not
# the one expected.
set -euo pipefail
cd "$(dirname "$0")"
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
export GOMAXPROCS=1
go build -o "$bin/check" .
c="$bin/check -bfs -time 10m -max 20000000"
for m in m1 m2 m3 m4 m5 m7 m12 m13; do
	echo "== $m"
	$c -t 2 -l 1 -mut $m -inv strong -expect VIOLATED
done
echo "== m6"
$c -t 4 -l 1 -mut m6 -inv strong -expect VIOLATED
echo "== m8"
$c -t 2 -l 2 -mut m8 -inv '' -expect VIOLATED
echo "== m9: two votes in a term make two leaders"
$c -t 2 -l 1 -mut m9 -inv oneleader -expect VIOLATED
echo "== m11, a schedule written by hand; without the mutation it cannot be followed"
"$bin/check" -t 4 -l 2 -mut m11 -inv strong -follow m11.steps -expect VIOLATED
"$bin/check" -t 4 -l 2 -inv strong -follow m11.steps -expect 'no such step' | tail -1
echo "== draft: a lock survives the loss of its entries"
$c -t 4 -l 1 -mut keeplock -inv avail2 -expect VIOLATED
echo "== draft: a lock without entries"
$c -t 4 -l 1 -mut emptylock -inv avail2 -expect VIOLATED
echo "== an honest node brought to replace what it counts as committed"
$c -t 2 -l 1 -inv nostop -expect VIOLATED
all=strong,lockdata,avail,avail2,honest
echo "== d14cert: catch-up by a certificate, where a commit is needed"
$c -t 3 -l 1 -rules catchup -mut d14cert -inv $all -expect VIOLATED
echo "== d16acks, d16claims: a node that left what it acked goes on acking, or claiming"
$c -t 3 -l 1 -rules catchup -mut d16acks -inv $all -expect VIOLATED
$c -t 3 -l 1 -rules catchup -mut d16claims -inv $all -expect VIOLATED
echo "== the model does something: commits, hidden locks, floors, silence, two elections of one"
$c -t 2 -l 1 -inv nocommit -expect VIOLATED
$c -t 3 -l 1 -inv nohidden -expect VIOLATED
$c -t 2 -l 1 -rules catchup -inv nofloor -expect VIOLATED
$c -t 2 -l 1 -rules catchup -inv nosilence -expect VIOLATED
$c -t 2 -l 1 -inv oneec -expect VIOLATED
[ "${1:-}" != fast ] || exit 0
echo "== m9: two leaders in a term do not break agreement"
"$bin/check" -t 2 -l 1 -mut m9 -inv strong,lockdata,avail -expect complete
echo "== d14stand: a candidate may stand with a lock without entries; nobody elects it"
"$bin/check" -half -t 3 -l 1 -rules catchup -mut d14stand -inv $all -expect complete
