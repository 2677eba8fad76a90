#!/usr/bin/env bash
# Checks the models with the Go checkers, in about two minutes on one core: complete searches that
# are small, and every mutation of the core. With "all" as argument everything that README.md lists,
# which takes about an hour. With TLC too, if java is there and TLA2TOOLS names tla2tools.jar.
set -euo pipefail
cd "$(dirname "$0")"
if [ "${1:-}" = all ]; then
	for part in check/results.sh check/mutants.sh member/results.sh member/mutants.sh; do
		echo "==== $part"
		bash "$part"
	done
else
	bin=$(mktemp -d)
	trap 'rm -rf "$bin"' EXIT
	export GOMAXPROCS=1
	go build -C check -o "$bin/check" .
	go build -C member -o "$bin/member" .
	all=strong,lockdata,avail,avail2,honest
	"$bin/check" -t 2 -l 1 -inv $all -expect complete
	"$bin/check" -t 2 -l 1 -rules catchup -inv $all -expect complete
	"$bin/check" -t 4 -l 3 -rules catchup -inv $all -sim 10s | tee "$bin/walks"
	grep -q 'no violation' "$bin/walks"
	"$bin/member" -half -t 3 -new bcd -inv later,split -tree 'J JK JR JKx' -expect complete
	"$bin/member" -bfs -t 3 -new def -tree 'J JK JR JKx' -mut j2 -expect VIOLATED
	bash check/mutants.sh fast
fi
if [ -n "${TLA2TOOLS:-}" ] && command -v java >/dev/null; then
	./run.sh 1 1 'u, v' 3 '' 'Safety LockData' 600
else
	echo "TLC not run: it needs java, and TLA2TOOLS naming tla2tools.jar"
fi
