# "make" or "make help" lists the targets. All of them need Go, make and a C
# compiler (for the race detector) and nothing else.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Expensive assertions are on in every test and off in what is shipped.
TAGS := -tags invariants

# How long "make fuzz" runs each target: a duration, or a number of inputs ("5000x").
FUZZTIME ?= 10s
# The same for "make test". A number, so that a slow machine is only slower.
FUZZSLICE ?= 5000x
# "make sim" runs SEEDS seeds from FIRST on; with SEED=… or SCHEDULE=… only that one, telling all.
SEEDS ?= 2000
FIRST ?= 1
# "make twins" plays the K-th of N parts: PART=K/N.
PART ?= 1/1
# "make model MODEL=all" takes an hour.
MODEL ?=
# "make chaos" troubles real processes for DURATION; SEED=… repeats a plan.
DURATION ?= 10m
# "make bench" hands these to the comparison: "--contestants ours,wal --outstanding 1024".
BENCHFLAGS ?=
# "make microbench" runs the benchmarks that match BENCH, COUNT times each.
BENCH ?= .
COUNT ?= 1

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/bftnode and bin/bftclient
	mkdir -p bin
	go build -trimpath -o bin/ ./cmd/...

.PHONY: test
test: ## everything CI runs: lint, all tests, the mutants, a slice of each fuzz target
test: export TANGAROA_NOT_DONE := $(CURDIR)/bin/not-done
test: lint
	rm -f $(TANGAROA_NOT_DONE)
	go test $(TAGS) -vet=off -timeout 20m ./...
	$(MAKE) --no-print-directory killers
	tools/fuzz.sh $(FUZZSLICE) $(TAGS)
	$(MAKE) --no-print-directory bench-gate
	@if [ -s $(TANGAROA_NOT_DONE) ]; then \
		echo "NOT DONE here, and so neither passed nor failed:"; sed 's/^/    /' $(TANGAROA_NOT_DONE); \
	else echo "all tests were done"; fi

.PHONY: mutants
mutants: ## break the protocol on purpose, rule by rule: every check must notice
mutants: killers
	go test -tags 'invariants mutant' -count=1 -timeout 30m ./tests/sim -run '^TestM'

.PHONY: killers
killers: ## the fast part of it: the test of each rule, and schedules that once killed
	go test -tags 'invariants mutant' -count=1 -timeout 20m ./tests/mutants \
		-run '^TestMutantsAreKilledByTheTests'
	go test -tags 'invariants mutant' -count=1 -timeout 20m ./tests/sim \
		-run '^(TestMutantsAreKilled|TestSchedulesKill)' -args -quick

.PHONY: race
race: ## all tests under the race detector
	go test $(TAGS) -race -timeout 30m ./...

# staticcheck is built from the version that tools/go.mod pins.
bin/staticcheck: tools/go.mod tools/go.sum
	mkdir -p bin
	go build -C tools -o ../bin/staticcheck honnef.co/go/tools/cmd/staticcheck

.PHONY: lint
lint: ## gofmt, go vet, staticcheck
lint: bin/staticcheck
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then \
		echo "not formatted (run gofmt -w):"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	go vet $(TAGS) ./...
	bin/staticcheck $(TAGS) ./...
	cd bench && go vet ./... && ../bin/staticcheck ./...

.PHONY: sim
sim: ## simulate SEEDS=2000 seeds from FIRST=1, or tell all of SEED=… or SCHEDULE=…
ifdef SEED
	go test $(TAGS) ./tests/sim -run TestSweep -count=1 -v -timeout 0 -args -seed=$(SEED)
else ifdef SCHEDULE
	go test $(TAGS) ./tests/sim -run TestSweep -count=1 -v -timeout 0 \
		-args -schedule=$(abspath $(SCHEDULE))
else
	go test $(TAGS) ./tests/sim -run TestSweep -count=1 -timeout 0 \
		-args -seeds=$(SEEDS) -first=$(FIRST)
endif

.PHONY: twins
twins: ## play all scenarios of a member that runs twice, or PART=K/N of them
	go test $(TAGS) ./tests/twins -count=1 -v -timeout 0 -args -part=$(PART)

.PHONY: pace
pace: ## how fast the simulated cluster is under each attack, written into docs/TESTING.md
	go test $(TAGS) ./tests/sim -run TestNoAttackHoldsTheClusterUnderHalf -count=1 -timeout 0 \
		-args -pace -pace-report=$(abspath docs/TESTING.md)

.PHONY: chaos
chaos: ## trouble real processes and their network for DURATION=10m, as SEED=… decides
	go test $(TAGS) ./tests/processes -run '^TestChaos' -count=1 -v -timeout 0 \
		-args -chaos=$(DURATION) -seed=$(or $(SEED),0)

.PHONY: rolling
rolling: ## replace all servers under load, one by one, within DURATION=10m, as SEED=… decides
	go test $(TAGS) ./tests/processes -run '^TestServersAreReplacedUnderLoad' -count=1 -v \
		-timeout 0 -args -rolling=$(DURATION) -seed=$(or $(SEED),0)

.PHONY: bounded
bounded: ## write OPS=1000000 operations on four processes: disks stay bounded
	go test $(TAGS) ./tests/processes -run '^TestDiskStaysBounded$$' -count=1 -v -timeout 0 \
		-args -bounded=$(or $(OPS),1000000)

.PHONY: behind
behind: ## a node misses OPS=1000000 operations: it is back before its state is copied twice
	go test $(TAGS) ./tests/processes -run '^TestNodeFarBehindIsBack$$' -count=1 -v -timeout 0 \
		-args -behind=$(or $(OPS),1000000) -behind-slack=$(or $(SLACK),0s)

.PHONY: stall
stall: ## take checkpoints of STATE=1024 MiB under load on NODES=4: no turn longer than TURN=0.2 s;
stall: ## with CONTROL=true take none, to see what the machine does by itself
	go test $(TAGS) ./tests/processes -run '^TestCheckpointsHoldUpNobody$$' -count=1 -v -timeout 0 \
		-args -state=$(or $(STATE),1024) -turn=$(or $(TURN),0.2) -stall-nodes=$(or $(NODES),4) \
		-stall-control=$(or $(CONTROL),false)

.PHONY: model
model: ## check the models in docs/spec: small searches, all mutations; MODEL=all for everything
	nice docs/spec/model.sh $(MODEL)

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME=10s
	tools/fuzz.sh $(FUZZTIME) $(TAGS)

.PHONY: disk
disk: ## every fault of the disk, real and virtual; "NOT DONE" names what lacks a tool or root
	go test $(TAGS) ./tests/disk -count=1 -timeout 0 -args -seeds=200
	go test $(TAGS) ./tests/processes -count=1 -v -timeout 0 \
		-run 'Disk|ASync|PowerLoss|Corrupt|RolledBack' -args -disk

.PHONY: bench
bench: ## compare with plain Raft and etcd, 40 minutes; BENCHFLAGS="--help" tells what else it can
	cd bench && go run . $(BENCHFLAGS)
	@if [ -z "$(BENCHFLAGS)" ]; then cd bench && go run . docs; fi

.PHONY: bench-quick
bench-quick: ## the heart of it, in two minutes
	cd bench && go run . --quick $(BENCHFLAGS)

.PHONY: bench-test
bench-test: ## the tests of the comparison itself
	cd bench && go test -timeout 10m ./...

.PHONY: bench-attack
bench-attack: ## what a leaky or disruptive member and a bad boss cost plain Raft, and us
	cd bench && go run . attack --out results $(BENCHFLAGS)

.PHONY: bench-gate
bench-gate: ## count messages, signatures, flushes in fixed workloads; UPDATE=-update takes them over
	cd bench && go test ./gate -count=1 -v -run TestCounts -args $(UPDATE)

.PHONY: microbench
microbench: ## benchmarks of packages that match BENCH=., COUNT=1 times
	go test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) -timeout 0 ./...

.PHONY: demo
demo: ## four processes, one of them a liar: write, read, kill the leader, show the proof
demo: build
	tools/demo.sh

.PHONY: ci
ci: ## what .ci/run runs: lint and test
ci: lint test

.PHONY: clean
clean: ## remove what was built
	rm -rf bin
