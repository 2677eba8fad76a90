package report

import (
	"fmt"
	"os"
	"strings"

	"github.com/google/pprof/profile"

	"tangaroa/bench/run"
)

// The parts into which processor time is divided.
const (
	partCrypto   = "signatures and hashes"
	partDisk     = "disk"
	partNetwork  = "network"
	partApply    = "apply"
	partGarbage  = "garbage"
	partSchedule = "scheduling"
	partRest     = "the rest"
)

// Parts are the parts in the order of charts.
func Parts() []string {
	return []string{partCrypto, partDisk, partNetwork, partApply, partGarbage, partSchedule, partRest}
}

// owners says to which part a function belongs, by how its name begins. A sample belongs to the
// first of its functions, from the innermost outwards, that is here: a hash within TLS is network.
var owners = []struct{ prefix, part string }{
	{"tangaroa/crypto.", partCrypto}, {"github.com/oasisprotocol/", partCrypto},
	{"crypto/tls.", partNetwork}, {"tangaroa/p2p.", partNetwork},
	{"github.com/libp2p/", partNetwork}, {"google.golang.org/grpc", partNetwork},
	{"golang.org/x/net/http2", partNetwork}, {"net.(", partNetwork}, {"net/http.", partNetwork},
	{"github.com/hashicorp/raft.(*NetworkTransport)", partNetwork},
	{"github.com/hashicorp/raft.(*netPipeline)", partNetwork},
	{"github.com/hashicorp/go-msgpack", partNetwork},
	{"go.etcd.io/etcd/server/v3/etcdserver/api/rafthttp", partNetwork},
	{"github.com/dgraph-io/", partDisk}, {"tangaroa/bftraft/store.", partDisk},
	{"tangaroa/bench/plainraft.(*disk)", partDisk},
	{"go.etcd.io/bbolt", partDisk}, {"github.com/hashicorp/raft-boltdb", partDisk},
	{"github.com/hashicorp/raft-wal", partDisk}, {"os.(*File)", partDisk},
	{"go.etcd.io/etcd/server/v3/storage/wal", partDisk},
	{"go.etcd.io/etcd/server/v3/storage/backend", partDisk},
	{"tangaroa/bftraft/kv.", partApply}, {"tangaroa/bench/contestant.(*hashiMap)", partApply},
	{"go.etcd.io/etcd/server/v3/storage/mvcc", partApply},
	{"runtime.gcBgMarkWorker", partGarbage}, {"runtime.bgsweep", partGarbage},
	{"runtime.bgscavenge", partGarbage},
	{"runtime.schedule", partSchedule}, {"runtime.findRunnable", partSchedule},
	{"runtime.mcall", partSchedule}, {"runtime.mstart", partSchedule},
}

func ownerOf(function string) (string, bool) {
	for _, o := range owners {
		if strings.HasPrefix(function, o.prefix) {
			return o.part, true
		}
	}
	return "", false
}

// Divide reads the processor profile of a run and returns microseconds per operation by part. The
// shares are the profile's, the sum is what the kernel counted.
func Divide(path string, o *run.Outcome) (map[string]float64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read a profile: %w", err)
	}
	defer f.Close()
	p, err := profile.Parse(f)
	if err != nil {
		return nil, fmt.Errorf("read a profile: %w", err)
	}
	sums := map[string]float64{}
	total := 0.0
	for _, s := range p.Sample {
		value := float64(s.Value[len(s.Value)-1])
		sums[partOf(s)] += value
		total += value
	}
	if total == 0 {
		return nil, nil
	}
	for _, part := range Parts() {
		sums[part] *= CPU(o) / total
	}
	return sums, nil
}

func partOf(s *profile.Sample) string {
	for _, l := range s.Location {
		for _, line := range l.Line {
			if line.Function == nil {
				continue
			}
			if part, ok := ownerOf(line.Function.Name); ok {
				return part
			}
		}
	}
	return partRest
}
