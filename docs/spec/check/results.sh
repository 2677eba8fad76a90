#!/usr/bin/env bash
# The searches of README.md's first table. About half an hour on one core.
set -euo pipefail
cd "$(dirname "$0")"
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
export GOMAXPROCS=1
go build -o "$bin/check" .
all=strong,lockdata,avail,avail2
"$bin/check" -t 1 -l 1 -inv $all
"$bin/check" -t 2 -l 1 -inv $all
"$bin/check" -t 3 -l 1 -inv $all
"$bin/check" -half -t 4 -l 1 -inv $all
"$bin/check" -t 2 -l 2 -time 10m -inv strong,lockdata,avail
"$bin/check" -t 4 -l 3 -sim 90s -inv $all
"$bin/check" -t 2 -l 1 -rules catchup -inv $all,honest
"$bin/check" -half -t 3 -l 1 -rules catchup -inv $all,honest
