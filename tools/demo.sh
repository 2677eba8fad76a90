#!/usr/bin/env bash
# Tells in under a minute what the cluster is for: four processes, one of them a liar.
# "make demo" builds what it needs. It leaves nothing behind, whatever happens.
set -euo pipefail
cd "$(dirname "$0")/.."

bftnode=$PWD/bin/bftnode
bftclient=$PWD/bin/bftclient
if [ ! -x "$bftnode" ] || [ ! -x "$bftclient" ]; then
	mkdir -p bin
	go build -trimpath -o bin/ ./cmd/...
fi

work=$(mktemp -d)
net=$work/net
declare -a pids=()

cleanup() {
	status=$?
	trap - EXIT INT TERM
	for pid in "${pids[@]}"; do
		if [ -n "$pid" ]; then kill -9 "$pid" 2>/dev/null || true; fi
	done
	wait 2>/dev/null || true
	if [ "$status" -ne 0 ]; then
		echo
		echo "The demo failed. What the nodes said last:"
		tail -n 5 "$work"/*.log 2>/dev/null || true
	fi
	rm -rf "$work"
	exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if [ -t 1 ]; then bold=$'\e[1m' plain=$'\e[0m'; else bold='' plain=''; fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }

# show prints a command as one would type it, and runs it.
show() {
	echo "  \$ $(basename "$1") ${*:2}" | sed "s|$work/||g"
	"$@" 2>&1 | sed "s|$work/||g; s|^|    |"
}
client() { "$bftclient" --config "$net/client1/client.yaml" "$@"; }
show_client() {
	echo "  \$ bftclient $*" | sed "s|$work/||g"
	client "$@" 2>&1 | sed "s|$work/||g; s|^|    |"
}

start() { # NUMBER [flags]
	"$bftnode" start --dir "$net/node$1" "${@:2}" >>"$work/node$1.log" 2>&1 &
	pids[$1]=$!
}

# field NUMBER NAME: one field of a node's own status, which is JSON with a field a line.
field() {
	"$bftnode" status --dir "$net/node$1" -o json --timeout 1s 2>/dev/null |
		sed -n "s/^  \"$2\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}\$/\1/p"
}

# await SECONDS WHAT COMMAND...: until the command succeeds.
await() {
	local limit=$((SECONDS + $1)) what=$2
	shift 2
	until "$@"; do
		if [ $SECONDS -ge $limit ]; then
			echo "never: $what" >&2
			exit 1
		fi
		sleep 0.1
	done
}
ready() { [ "$(field "$1" ready)" = true ]; }
led_by_another() { # NUMBER FORMER
	local leader
	leader=$(field "$1" leader)
	[ -n "$leader" ] && [ "$leader" != 0 ] && [ "$leader" != "$2" ]
}
caught_up() { # NUMBER INDEX
	local applied
	applied=$(field "$1" applied)
	[ -n "$applied" ] && [ "$applied" -ge "$2" ]
}
names_liar() { grep -q 'voter is proven faulty.* peer=2 ' "$work/node$1.log"; }

say "1. Four nodes, each a process. They tolerate one that lies: node 2 will, and it leads first."
"$bftnode" testnet --nodes 4 --clients 1 --dir "$net" --base-port 0 >"$work/testnet.log"
for k in 1 3 4; do start $k; done
start 2 --adversary equivocate
for k in 1 2 3 4; do await 20 "node $k is ready" ready $k; done
echo "    leader: node $(field 1 leader)"

say "2. A client writes. The leader tells one half of the followers another story than the rest."
show_client put motto "in vain"
show_client put liar "node 2"
for k in 1 3 4; do await 10 "node $k convicts the liar" names_liar $k; done
await 10 "an honest leader" led_by_another 1 2
echo "    The write went through; what the client got is signed by f+1 nodes that agree."
echo "    The honest nodes found two acks that contradict each other, and told the operator:"
grep -h 'voter is proven faulty' "$work"/node[134].log | sed 's/^time=[^ ]* /    /'
echo "    They elected node $(field 1 leader) instead, and will not elect node 2 again."

say "3. Reads are linearizable and write nothing to the log."
show_client get motto

leader=$(field 1 leader)
[ "$leader" != 2 ] || { echo "the liar leads" >&2; exit 1; }
witness=1
[ "$leader" != 1 ] || witness=3
say "4. kill -9 the leader, node $leader. (With the liar that makes two of four: more than the
   cluster promises to stand. It goes on because this liar behaves while it does not lead.)"
kill -9 "${pids[$leader]}"
wait "${pids[$leader]}" 2>/dev/null || true
pids[leader]=
before=$(date +%s%N)
show_client put motto "goes on" --receipt "$work/receipt" --timeout 20s
echo "    took $((($(date +%s%N) - before) / 1000000)) ms, the election included;" \
	"node $(field $witness leader) leads now"

say "5. Restart it: it has forgotten nothing, and fetches what it missed, verifying as it goes."
start "$leader"
await 20 "node $leader is back" caught_up "$leader" "$(field $witness commit)"
await 20 "node $leader is ready" ready "$leader"
show_client status

say "6. Stop all. The proof against the liar is on every honest disk, for anybody to verify."
for k in 1 2 3 4; do kill "${pids[$k]}"; done
for k in 1 2 3 4; do
	wait "${pids[$k]}" 2>/dev/null || true
	pids[k]=
done
show "$bftnode" inspect --dir "$net/node1" --limit 3

say "7. So is the receipt of the write: offline, with nothing but the genesis."
show "$bftclient" verify "$work/receipt" --genesis "$net/genesis.json"

say "Done."
