#!/usr/bin/env bash
# How fast four processes serve one client while one of them, the first leader, attacks: operations
# a second as a share of what they do without it, in the same call. Arguments are attacks as for
# "bftnode start --adversary"; none stands for those that cost processors. SECONDS_EACH=10 is how
# long each is measured, after as long a time that counts for nothing. LOAD is what "bftclient load"
# gets besides.
set -euo pipefail
cd "$(dirname "$0")/.."

bftnode=$PWD/bin/bftnode
bftclient=$PWD/bin/bftclient
mkdir -p bin
go build -trimpath -o bin/ ./cmd/...

each=${SECONDS_EACH:-10}
read -r -a load <<<"${LOAD:---outstanding 64}"
[ $# -gt 0 ] || set -- flood fetchstorm votestorm suspectspam garbage replay forger slow drag
work=$(mktemp -d)
declare -a pids=()

stop() {
	for pid in "${pids[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
	wait 2>/dev/null || true
	pids=()
}
cleanup() {
	status=$?
	trap - EXIT INT TERM
	stop
	rm -rf "$work"
	exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# rate PLACE SECONDS: operations a second that the load comes to.
rate() {
	"$bftclient" --config "$1/client1/client.yaml" load --duration "$2s" "${load[@]}" -o json |
		sed -n 's/^ *"ops_per_second": \([0-9]*\).*/\1/p'
}

# field PLACE NODE NAME: one field of a node's status, which is JSON with a field a line.
field() {
	"$bftnode" status --dir "$1/node$2" -o json --timeout 2s |
		sed -n "s/^  \"$3\": \([^,]*\),\{0,1\}\$/\1/p"
}

measure() { # [attack]
	local place=$work/${1:-none}
	"$bftnode" testnet --nodes 4 --clients 1 --dir "$place" --base-port 0 >/dev/null
	for k in 1 2 3 4; do
		local extra=()
		if [ "$k" = 2 ] && [ $# -gt 0 ]; then extra=(--adversary "$1"); fi
		"$bftnode" start --dir "$place/node$k" "${extra[@]}" >"$place/node$k.log" 2>&1 &
		pids+=($!)
	done
	rate "$place" "$each" >/dev/null
	local ops
	ops=$(rate "$place" "$each")
	[ -n "$ops" ] || { echo "nothing was served under ${1:-no attack}" >&2; exit 1; }
	echo "$ops $(field "$place" 1 term) $(field "$place" 1 leader)"
}

measure >"$work/out"
read -r whole term leader <"$work/out"
stop
printf '%-24s %8s %6s %5s %6s\n' attack ops/s pace term leader
printf '%-24s %8d %6s %5s %6s\n' none "$whole" 100% "$term" "$leader"
worst=100
for attack in "$@"; do
	measure "$attack" >"$work/out"
	read -r ops term leader <"$work/out"
	stop
	share=$((100 * ops / whole))
	[ "$share" -ge "$worst" ] || worst=$share
	printf '%-24s %8d %5d%% %5s %6s\n' "$attack" "$ops" "$share" "$term" "$leader"
done
[ "$worst" -ge 50 ] || { echo "an attack holds the cluster under half its pace" >&2; exit 1; }
