#!/usr/bin/env bash
# Runs every fuzz target of the module for FUZZTIME each: a duration ("10s") or a
# number of inputs ("5000x"). Targets are found, not listed, so that a new one
# cannot be forgotten. Usage: tools/fuzz.sh FUZZTIME [go build flags]
set -euo pipefail
cd "$(dirname "$0")/.."

fuzztime=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
corpus=$(go env GOCACHE)/fuzz
log=$work/log

# The go command stops a duration with a race that fails the target though nothing
# was found (go.dev/issue/75804; counts do not have it). Only a failure that wrote
# no input and says nothing but that is let pass.
only_the_deadline() {
	grep -q 'context deadline exceeded' "$log" &&
		! grep -qE 'Failing input written|panic:|_test\.go:' "$log"
}

# run PACKAGE TARGET runs a target in its package's folder, where a failing input is
# kept under testdata/fuzz.
run() {
	if "$work/fuzz.test" -test.run '^$' -test.fuzz "^$2\$" -test.fuzztime "$fuzztime" \
		-test.fuzzcachedir "$corpus/$1" -test.fuzzminimizetime 20x -test.timeout 0 >"$log" 2>&1; then
		echo "ok    $1 $2: $(grep -o 'execs: [0-9]*' "$log" | tail -1)"
	elif only_the_deadline; then
		echo "ok    $1 $2: stopped at its deadline"
	else
		cat "$log"
		echo "FAIL  $1 $2"
		exit 1
	fi
	if grep -q 'without coverage' "$log"; then
		echo "FAIL  $1 $2: it ran without coverage, does -d=libfuzzer mean something else now?"
		exit 1
	fi
}

module=$(go list -m)
packages=$(go list -f '{{.ImportPath}} {{.Dir}}' "$@" ./...)
found=0
while read -r package dir; do
	# A package without tests has no file to read, which is no failure.
	targets=$(find "$dir" -maxdepth 1 -name '*_test.go' -exec cat {} + |
		sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p')
	[ -n "$targets" ] || continue
	# One binary for all targets of a package: linking takes longer than a slice. What
	# guides the inputs is counted in our packages alone: "-fuzz ." would compile every
	# library once more for it.
	go test "$@" -c -vet=off -gcflags="$module/...=-d=libfuzzer" -o "$work/fuzz.test" "$package"
	cd "$dir"
	for target in $targets; do
		found=$((found + 1))
		run "$package" "$target"
	done
	cd - >/dev/null
done <<<"$packages"
echo "$found fuzz targets, $fuzztime each"
[ "$found" -gt 0 ]
