package client

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte"

	"tangaroa/bftraft"
	"tangaroa/bftraft/client/judge"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// ErrEvidence is returned when bytes are no proof against a voter of this cluster.
var ErrEvidence = errors.New("evidence does not verify")

// evidenceType is the PEM type of a proof; the layout changes only together with it.
const evidenceType = "TANGAROA EVIDENCE V1"

// MaxEvidenceBytes bounds the text of a proof: two statements, the most headers between them, and
// all the changes there can be.
const MaxEvidenceBytes = 1<<20 + judge.MaxChangesText

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
		if _, err := known.Accusing(c.cluster, &list[i].Evidence); err != nil {
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

// EncodeEvidence returns the text of a proof: one PEM block. It holds the changes that led from the
// genesis to a configuration in which the culprit had a say, as the verifier knows them, so that
// whoever has the genesis can judge it.
func EncodeEvidence(e *quorumcert.Evidence, v *bftraft.Verifier) []byte {
	by, err := v.Configurations().Accusing(v.Cluster(), e)
	if err != nil {
		return encodeEvidence(e, nil)
	}
	return encodeEvidence(e, v.ChangesUpTo(by.Entry()))
}

func encodeEvidence(e *quorumcert.Evidence, changes []*bftraft.ChangeProof) []byte {
	b := e.AppendTo(nil)
	if len(changes) > 0 {
		b = bftraft.AppendChangeProofs(b, changes)
	}
	return pem.EncodeToMemory(&pem.Block{Type: evidenceType, Bytes: b})
}

// IsEvidence says whether a text claims to be a proof, as EncodeEvidence writes it.
func IsEvidence(text []byte) bool {
	return bytes.HasPrefix(text, []byte("-----BEGIN "+evidenceType))
}

// VerifyEvidence reads what EncodeEvidence wrote, and nothing else, and verifies it by what the
// verifier of a genesis knows and the changes beside the proof. It returns the oldest configuration
// in which the culprit had a say under its key, too. Where nothing tells of such a configuration
// the error is an ErrNewerConfiguration as well.
func VerifyEvidence(
	text []byte, v *bftraft.Verifier,
) (*quorumcert.Evidence, *quorumcert.Configuration, error) {
	if len(text) > MaxEvidenceBytes {
		return nil, nil, fmt.Errorf("%w: it is longer than %d bytes", ErrEvidence, MaxEvidenceBytes)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != evidenceType {
		return nil, nil, fmt.Errorf("%w: it is no proof", ErrEvidence)
	}
	e, changes, ok := decodeEvidence(block.Bytes)
	if !ok || !bytes.Equal(encodeEvidence(e, changes), text) {
		return nil, nil, fmt.Errorf("%w: it is damaged", ErrEvidence)
	}
	if !v.AgreesWith(changes) {
		return nil, nil, fmt.Errorf("%w: %w", ErrEvidence, judge.ErrOtherChanges)
	}
	v, err := v.Following(changes)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrEvidence, err)
	}
	by, err := v.Configurations().Accusing(v.Cluster(), e)
	if errors.Is(err, crypto.ErrUnknownSigner) {
		return nil, nil, fmt.Errorf("%w: node %d has never had a say: %w", ErrEvidence, e.Culprit(),
			ErrNewerConfiguration)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrEvidence, err)
	}
	return e, by, nil
}

// decodeEvidence reads a proof and the changes beside it, if there are any.
func decodeEvidence(
	data []byte,
) (e *quorumcert.Evidence, changes []*bftraft.ChangeProof, ok bool) {
	e = &quorumcert.Evidence{}
	s := cryptobyte.String(data)
	if !quorumcert.ReadEvidence(&s, e) {
		return nil, nil, false
	}
	if s.Empty() {
		return e, nil, true
	}
	changes, ok = bftraft.ReadChangeProofs(&s)
	return e, changes, ok && s.Empty() && len(changes) > 0
}
