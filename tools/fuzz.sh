#!/usr/bin/env bash
# Runs every fuzz target of the module for FUZZTIME each: a duration ("10s") or a
# number of inputs ("5000x"). Targets are found, not listed, so that a new one
# cannot be forgotten. Usage: tools/fuzz.sh FUZZTIME [go build flags]
set -euo pipefail
cd "$(dirname "$0")/.."

fuzztime=$1
shift
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# The go command stops a duration with a race that fails the target though nothing
# was found (go.dev/issue/75804; counts do not have it). Only a failure that wrote
# no input and says nothing but that is let pass.
only_the_deadline() {
	grep -q 'context deadline exceeded' "$log" &&
		! grep -qE 'Failing input written|panic:|_test\.go:' "$log"
}

found=0
for package in $(go list "$@" ./...); do
	# With -list, the names stand on lines of their own before the package's line.
	for target in $(go test "$@" -run '^$' -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
		found=$((found + 1))
		if go test "$@" -run '^$' -fuzz "^$target\$" -fuzztime "$fuzztime" \
			-timeout 0 "$package" >"$log" 2>&1; then
			echo "ok    $package $target: $(grep -o 'execs: [0-9]*' "$log" | tail -1)"
		elif only_the_deadline; then
			echo "ok    $package $target: stopped at its deadline"
		else
			cat "$log"
			echo "FAIL  $package $target"
			exit 1
		fi
	done
done
echo "$found fuzz targets, $fuzztime each"
[ "$found" -gt 0 ]
