#!/usr/bin/env bash
# The searches of README.md's second table. About fifteen minutes on one core.
set -euo pipefail
cd "$(dirname "$0")"
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
export GOMAXPROCS=1
go build -o "$bin/member" .
S="J JK JR JKx"
B="w J Jy JK JR JKx JKz JRu"
"$bin/member" -t 2 -new bcd -tree "$S"
"$bin/member" -half -t 3 -new bcd -inv later,split -tree "$S"
"$bin/member" -half -t 3 -new bcd -inv later,split -tree "$B"
"$bin/member" -t 3 -new bcd -voters -tree "$S"
"$bin/member" -half -t 3 -new cde -voters -inv later,split -tree "$S"
"$bin/member" -half -t 3 -new def -voters -inv later,split -tree "$S"
"$bin/member" -half -t 3 -new def -voters -inv later -tree "J Jy JK JR JKx" -time 8m
"$bin/member" -t 4 -new def -tree "$B" -sim 60s
"$bin/member" -t 4 -new cde -tree "$B" -sim 60s -seed 5
for m in j3 j4 j2old; do
	"$bin/member" -half -t 3 -new def -voters -tree "$S" -mut $m
done
"$bin/member" -half -t 3 -new def -voters -tree "w D Dx Dy" -mut j5both
"$bin/member" -t 3 -new bcd -voters -mut j3 -tree "$S"
