package client

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// ErrEvidence is returned when bytes are no proof against a voter of this cluster.
var ErrEvidence = errors.New("evidence does not verify")

// evidenceType is the PEM type of a proof; the layout changes only together with it.
const evidenceType = "TANGAROA EVIDENCE V1"

// MaxEvidenceBytes bounds the text of a proof: two statements and the most headers between them.
const MaxEvidenceBytes = 1 << 20

// proofs collects what nodes know, until enough have answered. The client's mutex guards it.
type proofs struct {
	heard quorumcert.Set
	found []bftraft.Conviction // ascending by culprit, one each
	full  bool                 // all that can be reached have answered
	done  chan struct{}        // closed then
}

func (p *proofs) finish() {
	if !p.full {
		p.full = true
		close(p.done)
	}
}

// Evidence asks every node for the proofs that voters are faulty, and returns those that verify,
// one for each culprit in ascending order, with the log index at which it stands, 0 if no node says
// that it is in the log. It waits for all nodes that can be reached, or until ctx ends; who has
// answered is returned too. Proofs need nobody's word: each is two statements that the culprit has
// signed.
func (c *Client) Evidence(ctx context.Context) ([]bftraft.Conviction, quorumcert.Set) {
	p := &proofs{done: make(chan struct{})}
	c.mu.Lock()
	c.proofs = append(c.proofs, p)
	c.mu.Unlock()
	c.poll(ctx, p.done, func() { c.askEvidence(p) })
	c.mu.Lock()
	defer c.mu.Unlock()
	c.proofs = slices.DeleteFunc(c.proofs, func(o *proofs) bool { return o == p })
	return p.found, p.heard
}

// askEvidence asks the nodes that can be reached and have not answered. Once none are left the
// others are not waited for: they may be away for long.
func (c *Client) askEvidence(p *proofs) {
	absent := c.reachable() &^ p.heard
	if absent == 0 && p.heard != 0 {
		p.finish()
	}
	for id := absent.Next(0); id != 0; id = absent.Next(id) {
		c.link.Send(id, []byte{bftraft.FrameEvidence})
	}
}

// takeEvidence verifies a node's proofs on the goroutine of its link.
func (c *Client) takeEvidence(from bftraft.NodeID, frame []byte) bool {
	list, err := bftraft.DecodeConvictions(frame)
	if err != nil {
		return false
	}
	known := c.known.Configurations()
	for i := range list {
		if known.Accusing(c.cluster, &list[i].Evidence) == nil {
			return false
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.proofs {
		p.heard = p.heard.With(from)
		for _, conviction := range list {
			p.add(conviction)
		}
		if c.config().Members()&^p.heard == 0 {
			p.finish()
		}
	}
	return true
}

// add keeps one proof of each culprit, one that stands in the log before any other.
func (p *proofs) add(c bftraft.Conviction) {
	i, found := slices.BinarySearchFunc(p.found, c.Evidence.Culprit(),
		func(c bftraft.Conviction, id crypto.NodeID) int {
			return int(c.Evidence.Culprit()) - int(id)
		})
	switch {
	case !found:
		p.found = slices.Insert(p.found, i, c)
	case p.found[i].Index == 0 && c.Index > 0:
		p.found[i] = c
	}
}

// EncodeEvidence returns the text of a proof: one PEM block.
func EncodeEvidence(e *quorumcert.Evidence) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: evidenceType, Bytes: e.AppendTo(nil)})
}

// IsEvidence says whether a text claims to be a proof, as EncodeEvidence writes it.
func IsEvidence(text []byte) bool {
	return bytes.HasPrefix(text, []byte("-----BEGIN "+evidenceType))
}

// VerifyEvidence reads what EncodeEvidence wrote, and nothing else, and verifies it with nothing
// but the genesis.
func VerifyEvidence(text []byte, g *bftraft.Genesis) (*quorumcert.Evidence, error) {
	if len(text) > MaxEvidenceBytes {
		return nil, fmt.Errorf("%w: it is longer than %d bytes", ErrEvidence, MaxEvidenceBytes)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != evidenceType {
		return nil, fmt.Errorf("%w: it is no proof", ErrEvidence)
	}
	e, ok := bftraft.DecodeEvidence(block.Bytes)
	if !ok || !bytes.Equal(EncodeEvidence(e), text) {
		return nil, fmt.Errorf("%w: it is damaged", ErrEvidence)
	}
	v, err := bftraft.NewVerifier(crypto.ZIP215(), g)
	if err != nil {
		return nil, err
	}
	if err := e.Verify(v.Cluster(), v.Configurations().Latest()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEvidence, err)
	}
	return e, nil
}
