package judge

import (
	"bytes"
	"encoding/binary"
	"encoding/pem"
	"fmt"

	"golang.org/x/crypto/cryptobyte"

	"tangaroa/bftraft"
	"tangaroa/crypto"
	"tangaroa/quorumcert"
)

// receiptType is the PEM type of a receipt; the layout changes only together with it.
const receiptType = "TANGAROA RECEIPT V1"

// MaxChangesText bounds the text of all the changes there can be: they are in base64, in lines.
const MaxChangesText = bftraft.MaxChangeProofsBytes / 2 * 3

// MaxReceiptBytes bounds the text of a receipt: a largest request, its largest results and all
// changes, in base64, with what surrounds them.
const MaxReceiptBytes = 10<<20 + MaxChangesText

// Receipt proves to anybody who knows the genesis that the cluster executed a request, and with
// which results: the request, signed by the client; its results and their way up to the root of
// the block's results; and f+1 voters' signatures of that root (C2).
type Receipt struct {
	Request []byte   // as signed by the client: bftraft.Request.Raw
	Results [][]byte // one for each operation
	Place   uint32   // of the request in its block
	Leaves  uint32   // number of requests in the block
	Branch  []bftraft.Digest
	Proof   quorumcert.Receipt
	// Changes lead from the genesis to who had a say about the block, and which clients there were.
	Changes []*bftraft.ChangeProof
}

// Proven is what a receipt proves.
type Proven struct {
	Client  string // the name under which the client was enrolled
	Request *bftraft.Request
	Results [][]byte
	Block   bftraft.Position // the end of the block in which the request stands
	// Signers are voters of the configuration with the entry By, 0 for that of the genesis.
	Signers quorumcert.Set
	By      bftraft.Index
}

// NewReceipt returns the receipt of a settled request.
func NewReceipt(req *bftraft.Request, a *Answer) *Receipt {
	return &Receipt{
		Request: req.Raw(), Results: a.Reply.Results, Place: a.Reply.Place,
		Leaves: a.Reply.Leaves, Branch: a.Reply.Branch, Proof: a.Proof, Changes: a.Changes,
	}
}

// Verify checks everything a receipt claims, with nothing but the genesis: that the client is
// enrolled and signed the request, that f+1 voters signed one statement about one block of this
// cluster, and that the request with these results stands in it.
func (r *Receipt) Verify(g *bftraft.Genesis) (*Proven, error) {
	v, err := bftraft.NewVerifier(crypto.ZIP215(), g)
	if err != nil {
		return nil, err
	}
	return r.VerifyBy(v)
}

// VerifyBy is Verify for whoever has the cluster's verifier already. The changes that it knows of
// count as well as those of the receipt: one that tells of others is refused, and so is one by
// voters that had been replaced by then.
func (r *Receipt) VerifyBy(v *bftraft.Verifier) (*Proven, error) {
	if r.Proof.Cluster != v.Cluster() {
		return nil, fmt.Errorf("%w: it is of another cluster", ErrReceipt)
	}
	if !v.AgreesWith(r.Changes) {
		return nil, fmt.Errorf("%w: %w", ErrReceipt, ErrOtherChanges)
	}
	later, err := v.Following(r.Changes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	// Only its signers may be of a configuration that is not older than its block.
	v, err = later.Genesis().Following(later.ChangesUpTo(max(r.Proof.Index, 1) - 1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	req, err := v.VerifyRequest(r.Request)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	if len(r.Results) != len(req.Ops) {
		return nil, fmt.Errorf("%w: it has %d results for %d operations",
			ErrReceipt, len(r.Results), len(req.Ops))
	}
	by := r.Proof.Configuration
	cfg := later.Configurations().ForReply(r.Proof.Index, by)
	switch {
	case cfg == nil && by > later.Members().At.Index:
		return nil, fmt.Errorf("%w: it is signed by voters of the configuration at index %d: %w",
			ErrReceipt, by, ErrNewerConfiguration)
	case cfg == nil:
		return nil, fmt.Errorf("%w: it is signed by voters of the configuration at index %d, who had "+
			"no say at index %d any more", ErrReceipt, by, r.Proof.Index)
	}
	leaf := bftraft.ResultLeaf(req.Digest(v.Cluster()), bftraft.Executed, r.Results)
	if !crypto.VerifyBranch(r.Proof.Results, leaf, int(r.Place), int(r.Leaves), r.Branch) {
		return nil, fmt.Errorf("%w: the request with these results is not in the block", ErrReceipt)
	}
	if err := r.Proof.Verify(v.Cluster(), cfg); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	who, _ := v.Members().Client(req.Client)
	return &Proven{
		Client: who.Name, Request: req, Results: r.Results, Signers: r.Proof.Signers, By: by,
		Block: bftraft.Position{Index: r.Proof.Index, Hash: r.Proof.Hash},
	}, nil
}

// Encode returns the text of a receipt: one PEM block. There is exactly one text for a receipt.
func (r *Receipt) Encode() []byte {
	b := appendBytes(nil, r.Request)
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.Results)))
	for _, res := range r.Results {
		b = appendBytes(b, res)
	}
	b = binary.BigEndian.AppendUint32(b, r.Place)
	b = binary.BigEndian.AppendUint32(b, r.Leaves)
	b = append(b, byte(len(r.Branch)))
	for _, d := range r.Branch {
		b = append(b, d[:]...)
	}
	if b = r.Proof.AppendTo(b); len(r.Changes) > 0 {
		b = bftraft.AppendChangeProofs(b, r.Changes)
	}
	return pem.EncodeToMemory(&pem.Block{Type: receiptType, Bytes: b})
}

func appendBytes(b, part []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(part))), part...)
}

// DecodeReceipt reads what Encode wrote, and nothing else. It verifies nothing.
func DecodeReceipt(text []byte) (*Receipt, error) {
	if len(text) > MaxReceiptBytes {
		return nil, fmt.Errorf("%w: it is longer than %d bytes", ErrReceipt, MaxReceiptBytes)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != receiptType {
		return nil, fmt.Errorf("%w: it is no receipt", ErrReceipt)
	}
	r := &Receipt{}
	s := cryptobyte.String(block.Bytes)
	if !r.read(&s) || !s.Empty() || !bytes.Equal(r.Encode(), text) {
		return nil, fmt.Errorf("%w: it is damaged", ErrReceipt)
	}
	return r, nil
}

func (r *Receipt) read(s *cryptobyte.String) bool {
	var results uint16
	var branch uint8
	if !readBytes(s, &r.Request) || !s.ReadUint16(&results) || results > bftraft.MaxRequestOps {
		return false
	}
	for range results {
		var res []byte
		if !readBytes(s, &res) {
			return false
		}
		r.Results = append(r.Results, res)
	}
	if !s.ReadUint32(&r.Place) || !s.ReadUint32(&r.Leaves) || !s.ReadUint8(&branch) ||
		branch > 32 {
		return false
	}
	for range branch {
		var d bftraft.Digest
		if !s.CopyBytes(d[:]) {
			return false
		}
		r.Branch = append(r.Branch, d)
	}
	ok := quorumcert.ReadReceipt(s, &r.Proof)
	if !ok || s.Empty() {
		return ok
	}
	r.Changes, ok = bftraft.ReadChangeProofs(s)
	return ok && len(r.Changes) > 0
}

func readBytes(s *cryptobyte.String, out *[]byte) bool {
	var n uint32
	return s.ReadUint32(&n) && uint64(n) <= uint64(len(*s)) && s.ReadBytes(out, int(n))
}
