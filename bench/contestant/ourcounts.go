package contestant

import (
	"io"
	"net/http"
	"strconv"
	"strings"

	"tangaroa/bftraft"
	"tangaroa/bftraft/replica"
	"tangaroa/crypto"
)

// watch counts what a replica asks of its key, disk and network.
func (m *member) watch(cfg *replica.Config) error {
	cfg.Core.Signer = countingSigner{cfg.Core.Signer, &m.counts}
	cfg.Storage = countingStorage{cfg.Storage, &m.counts}
	cfg.Transport = countingTransport{cfg.Transport, &m.counts}
	return nil
}

type countingSigner struct {
	crypto.Signer
	counts *memberCounts
}

func (s countingSigner) Sign(d crypto.Domain, msg []byte) crypto.Signature {
	s.counts.signed.Add(1)
	return s.Signer.Sign(d, msg)
}

type countingStorage struct {
	replica.Storage
	counts *memberCounts
}

func (s countingStorage) Save(r *bftraft.Ready) error {
	if r.MustSync {
		s.counts.saves.Add(1)
	}
	s.counts.blocks.Add(uint64(len(r.Committed)))
	return s.Storage.Save(r)
}

type countingTransport struct {
	replica.Transport
	counts *memberCounts
}

func (t countingTransport) Send(to bftraft.NodeID, class bftraft.Class, frame []byte) {
	if t.count(frame) {
		t.Transport.Send(to, class, frame)
	}
}

func (t countingTransport) Reply(to replica.ClientID, frame []byte) {
	if t.count(frame) {
		t.Transport.Reply(to, frame)
	}
}

// count is false when the node has been killed.
func (t countingTransport) count(frame []byte) bool {
	if t.counts.cut.Load() {
		return false
	}
	t.counts.frames.Add(1)
	t.counts.bytes.Add(uint64(len(frame)))
	return true
}

// Counts implements Cluster.
func (c *cluster) Counts() (Counts, error) {
	sum := Counts{}
	for _, m := range c.members {
		if m.dead {
			continue
		}
		sum[Signed] += float64(m.counts.signed.Load())
		sum[Flushes] += float64(m.counts.saves.Load())
		sum[Messages] += float64(m.counts.frames.Load())
		sum[Bytes] += float64(m.counts.bytes.Load())
		sum[Blocks] = max(sum[Blocks], float64(m.counts.blocks.Load()))
		page, err := m.page()
		if err != nil {
			return nil, err
		}
		sum[Verified] += sumOf(page, "bft_signatures_verified_total")
		sum[Refusals] += sumOf(page, "bft_client_refusals_total")
		sum[Slowed] += sumOf(page, "bft_peer_slowed_total")
	}
	for _, cl := range c.clients {
		s := cl.Stats()
		sum[Signed] += float64(s.Requests)
		sum[Repeats] += float64(s.Repeated + s.Busy)
	}
	return sum, nil
}

// page returns a node's page of metrics.
func (m *member) page() (string, error) {
	response, err := http.Get("http://" + m.node.HTTPAddr() + "/metrics")
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	return string(page), err
}

// sumOf adds up the counters of a page whose names, labels included, begin so.
func sumOf(page, prefix string) float64 {
	sum := 0.0
	for line := range strings.Lines(page) {
		words := strings.Fields(line)
		if len(words) < 2 || !strings.HasPrefix(line, prefix) {
			continue
		}
		if v, err := strconv.ParseFloat(words[len(words)-1], 64); err == nil {
			sum += v
		}
	}
	return sum
}

// kill ends the node without letting it hand over.
func (m *member) kill() error {
	m.dead = true
	m.counts.cut.Store(true)
	m.cancel()
	<-m.ended
	if m.err != nil {
		return m.err
	}
	return m.store.Close()
}
