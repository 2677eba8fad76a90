package bftraft

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"golang.org/x/crypto/cryptobyte"

	"tangaroa/crypto"
)

// Why a change does not come into force. Who carried it is told the same.
var (
	// ErrChangeMalformed is returned when the bytes are no canonical change, or when one of its
	// steps says nothing that can be done.
	ErrChangeMalformed = errors.New("change is malformed")
	// ErrChangeStale is returned when a change does not follow the configuration in force: another
	// came first, or it was made for another cluster.
	ErrChangeStale = errors.New("change does not follow the configuration in force")
	// ErrChangeAuthority is returned when fewer administrators than needed have signed.
	ErrChangeAuthority = errors.New("change is not signed by enough administrators")
	// ErrChangeSignature is returned when a signature is not that of an administrator in office.
	ErrChangeSignature = errors.New("change has a signature of nobody in office")
	// ErrChangeKey is returned when a key is enrolled already, was once, or is not fit to sign.
	ErrChangeKey = errors.New("change enrols a key that may not be enrolled")
	// ErrChangeUnknown is returned when a key that is to be removed or altered is not enrolled.
	ErrChangeUnknown = errors.New("change names a key that is not enrolled")
	// ErrChangeEmpty is returned when too few administrators or too many names would be left.
	ErrChangeEmpty = errors.New("change would leave too few administrators, or too many names")
	// ErrChangeLimit is returned when the cluster has had as many changes as it can have.
	ErrChangeLimit = errors.New("the cluster has had as many changes as it can prove to newcomers")
	// ErrChangeJoint is returned when another change of the voters is not closed yet, which only a
	// roll-back can be asked for then, or when there is none to roll back.
	ErrChangeJoint = errors.New("the voters are being changed: wait for that, or roll it back")
	// ErrChangeNotReady is returned when no quorum of those that are to vote says that it is ready.
	ErrChangeNotReady = errors.New("no quorum of the new voters has said that it is ready")
	// ErrChangeCarrier is returned when the client that carries a change may not.
	ErrChangeCarrier = errors.New("a change must be carried by a client with the role admin")
)

// Role says what a client may do. Each may do what those before it may.
type Role uint8

// The roles. Values are part of what is signed and never change.
const (
	RoleRead  Role = 1 // ask for values
	RoleWrite Role = 2 // have operations executed
	RoleAdmin Role = 3 // carry changes that administrators have signed
)

var roleNames = [...]string{RoleRead: "read", RoleWrite: "write", RoleAdmin: "admin"}

// String returns the word people use.
func (r Role) String() string {
	if r < RoleRead || r > RoleAdmin {
		return "unknown"
	}
	return roleNames[r]
}

// ParseRole reads what String returned.
func ParseRole(s string) (Role, bool) {
	i := slices.Index(roleNames[:], s)
	return Role(i), i >= int(RoleRead)
}

// StepKind says what a step of a change does.
type StepKind uint8

// The kinds of steps. Values are part of what is signed and never change.
const (
	AddClient    StepKind = 1  // enrols Key under Name with Role
	RemoveClient StepKind = 2  // takes the client with Key away for ever
	SetRole      StepKind = 3  // gives the client with Key another Role
	AddAdmin     StepKind = 4  // makes the holder of Key an administrator under Name
	RemoveAdmin  StepKind = 5  // takes the administrator with Key away for ever
	SetQuorum    StepKind = 6  // makes Quorum administrators together the authority
	AddNode      StepKind = 7  // lets the node with Key follow the log as a learner, at address Name
	RemoveNode   StepKind = 8  // takes the node with Key away for ever
	Promote      StepKind = 9  // makes the learner with Key a voter
	SetAddress   StepKind = 10 // says that the node with Key is to be reached at Name now
	RollBack     StepKind = 11 // gives up the change of voters that is not closed yet
)

// ofNodes says whether a step is about members rather than clients or administrators.
func (k StepKind) ofNodes() bool { return k >= AddNode && k <= RollBack }

// ChangeStep is one step of a change; its kind says which fields count. The others are zero.
type ChangeStep struct {
	Kind   StepKind
	Name   string
	Key    crypto.PublicKey
	Role   Role
	Quorum uint16
}

// Endorsement is one signature under a change: an administrator's, or a node's that is ready.
type Endorsement struct {
	Key crypto.PublicKey
	Sig crypto.Signature
}

// Change is what administrators want to be otherwise (J5): steps that lead from the configuration
// that the block at Replaces brought (the genesis: index 0 and the cluster's id) to the next. Its
// number is one above that of the change before, so that it can be used once.
type Change struct {
	Number       uint64
	Replaces     Position
	Steps        []ChangeStep
	Endorsements []Endorsement // ascending by key
	// Ready are the signatures of those that are to vote behind a change of the voters, ascending by
	// key: each says that it follows the log and is ready to (J2). Administrators do not sign them.
	Ready []Endorsement
}

// Limits of a change, and of all changes that a cluster can ever have: who joins is shown them all
// in one message.
const (
	// MaxChangeSteps is the largest number of steps in a change.
	MaxChangeSteps = 128
	// MaxChangeBytes is the size of the largest, encoded.
	MaxChangeBytes = 32 << 10
	// MaxChanges is how many there can be.
	MaxChanges = 1024
	// MaxChangesBytes is their size together.
	MaxChangesBytes = 3 << 20

	maxChangeEndorsements = 64
)

// changeMark is what the operation that carries a change begins with. No operation of a state
// machine may.
var changeMark = []byte("tangaroa change 1\x00")

// IsChange says whether an operation is a change, or would like to be taken for one.
func IsChange(op []byte) bool { return bytes.HasPrefix(op, changeMark) }

func (c *Change) appendBody(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, c.Number)
	b = appendPosition(b, c.Replaces)
	b = binary.BigEndian.AppendUint16(b, uint16(len(c.Steps)))
	for i := range c.Steps {
		s := &c.Steps[i]
		b = appendString(append(b, byte(s.Kind)), s.Name)
		b = append(append(b, s.Key[:]...), byte(s.Role))
		b = binary.BigEndian.AppendUint16(b, s.Quorum)
	}
	return b
}

// Digest returns what an administrator signs: it names the cluster and all but the signatures.
func (c *Change) Digest(cluster Digest) Digest {
	return crypto.Hash(crypto.DomainChange, cluster[:], c.appendBody(nil))
}

// Endorse adds an administrator's signature, in the place of one of the same key if there is one.
func (c *Change) Endorse(cluster Digest, key RequestSigner) {
	d := c.Digest(cluster)
	c.Endorsements = withEndorsement(c.Endorsements,
		Endorsement{key.Public(), key.Sign(crypto.DomainChange, d[:])})
}

// AddReady adds what a node that is to vote has signed: see SignReady.
func (c *Change) AddReady(e Endorsement) { c.Ready = withEndorsement(c.Ready, e) }

// SignReady returns a node's word that it follows the log up to the configuration that the change
// replaces, and is ready to vote by what the change leads to (J2).
func SignReady(cluster Digest, c *Change, key RequestSigner) Endorsement {
	d := c.Digest(cluster)
	return Endorsement{key.Public(), key.Sign(crypto.DomainReadyToVote, d[:])}
}

func withEndorsement(list []Endorsement, e Endorsement) []Endorsement {
	i, found := slices.BinarySearchFunc(list, e.Key,
		func(x Endorsement, k crypto.PublicKey) int { return compareKeys(x.Key, k) })
	if found {
		list[i] = e
		return list
	}
	return slices.Insert(list, i, e)
}

// Op returns the operation that carries the change: the only one of its request.
func (c *Change) Op() []byte {
	b := c.appendBody(bytes.Clone(changeMark))
	return appendEndorsements(appendEndorsements(b, c.Endorsements), c.Ready)
}

func appendEndorsements(b []byte, list []Endorsement) []byte {
	b = append(b, byte(len(list)))
	for i := range list {
		b = append(append(b, list[i].Key[:]...), list[i].Sig[:]...)
	}
	return b
}

// DecodeChange reads what Op returned. It judges neither signatures nor whether the steps can be
// taken.
func DecodeChange(op []byte) (*Change, error) {
	if !IsChange(op) || len(op) > MaxChangeBytes {
		return nil, ErrChangeMalformed
	}
	c := &Change{}
	s := cryptobyte.String(op[len(changeMark):])
	var n uint16
	if !s.ReadUint64(&c.Number) || !s.ReadUint64((*uint64)(&c.Replaces.Index)) ||
		!s.CopyBytes(c.Replaces.Hash[:]) || !s.ReadUint16(&n) || n == 0 || n > MaxChangeSteps {
		return nil, ErrChangeMalformed
	}
	c.Steps = make([]ChangeStep, n)
	for i := range c.Steps {
		if !c.Steps[i].read(&s) || !c.Steps[i].sound() {
			return nil, ErrChangeMalformed
		}
	}
	if !readEndorsements(&s, &c.Endorsements) || !readEndorsements(&s, &c.Ready) || !s.Empty() {
		return nil, ErrChangeMalformed
	}
	return c, nil
}

func readEndorsements(s *cryptobyte.String, list *[]Endorsement) bool {
	var n uint8
	if !s.ReadUint8(&n) || n > maxChangeEndorsements {
		return false
	}
	for i := range int(n) {
		var e Endorsement
		if !s.CopyBytes(e.Key[:]) || !s.CopyBytes(e.Sig[:]) ||
			i > 0 && compareKeys((*list)[i-1].Key, e.Key) >= 0 {
			return false
		}
		*list = append(*list, e)
	}
	return true
}

func (st *ChangeStep) read(s *cryptobyte.String) bool {
	var name cryptobyte.String
	ok := s.ReadUint8((*uint8)(&st.Kind)) && s.ReadUint8LengthPrefixed(&name) &&
		s.CopyBytes(st.Key[:]) && s.ReadUint8((*uint8)(&st.Role)) && s.ReadUint16(&st.Quorum)
	st.Name = string(name)
	return ok
}

// sound says whether the fields that count for the kind are there, and only those.
func (st *ChangeStep) sound() bool {
	named, keyed, ranked, counted := st.Name != "", !st.Key.IsZero(), st.Role != 0, st.Quorum != 0
	if st.Role > RoleAdmin {
		return false
	}
	switch st.Kind {
	case AddClient:
		return named && keyed && ranked && !counted
	case RemoveClient, RemoveAdmin, RemoveNode, Promote:
		return !named && keyed && !ranked && !counted
	case SetRole:
		return !named && keyed && ranked && !counted
	case AddAdmin, AddNode, SetAddress:
		return named && keyed && !ranked && !counted
	case SetQuorum:
		return !named && !keyed && !ranked && counted
	case RollBack:
		return !named && !keyed && !ranked && !counted
	}
	return false
}

// changeErrors are the errors of changes by their codes in results; 0: it is in force.
var changeErrors = [...]error{
	1: ErrChangeMalformed, 2: ErrChangeStale, 3: ErrChangeAuthority, 4: ErrChangeSignature,
	5: ErrChangeKey, 6: ErrChangeUnknown, 7: ErrChangeEmpty, 8: ErrChangeLimit,
	9: ErrChangeCarrier, 10: ErrChangeJoint, 11: ErrChangeNotReady,
}

// ChangeResult returns the result of a request whose change has come into force (nil), or has not
// for the reason given. Number is that of the newest change then.
func ChangeResult(number uint64, why error) []byte {
	code := byte(0)
	for k, err := range changeErrors {
		if err != nil && errors.Is(why, err) {
			code = byte(k)
			break
		}
	}
	return append(binary.BigEndian.AppendUint64(nil, number), code)
}

// DecodeChangeResult reads what ChangeResult returned: the number, and why the change did not come
// into force. It returns ErrChangeMalformed also for bytes that are no such result.
func DecodeChangeResult(b []byte) (number uint64, why error) {
	if len(b) != 9 || int(b[8]) >= len(changeErrors) {
		return 0, ErrChangeMalformed
	}
	return binary.BigEndian.Uint64(b), changeErrors[b[8]]
}

// changeOf returns the change that a request carries, nil for none. A request that carries one has
// no other operation, see DecodeRequest.
func changeOf(r *Request) (*Change, error) {
	if !IsChange(r.Ops[0]) {
		return nil, nil
	}
	return DecodeChange(r.Ops[0])
}
