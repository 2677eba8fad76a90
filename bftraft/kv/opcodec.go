package kv

// EncodeOp returns the encoding of an operation, or an error that says which
// limit it exceeds.
func EncodeOp(op Op) ([]byte, error) {
	if op == nil {
		return nil, ErrMalformed
	}
	if err := op.check(); err != nil {
		return nil, err
	}
	w := newWriter(64)
	if !w.op(op) {
		return nil, ErrMalformed
	}
	b, err := w.Bytes()
	if err != nil {
		return nil, ErrMalformed
	}
	if len(b) > MaxOpBytes {
		return nil, ErrOpTooLarge
	}
	return b, nil
}

// DecodeOp returns the operation that the bytes encode, or an error that says
// what is wrong with it. The operation's keys and values alias the bytes.
func DecodeOp(b []byte) (Op, error) {
	if len(b) > MaxOpBytes {
		return nil, ErrOpTooLarge
	}
	r := newReader(b)
	op := r.op()
	if err := r.done(); err != nil {
		return nil, err
	}
	if err := op.check(); err != nil {
		return nil, err
	}
	return op, nil
}

// CheckOp says what is wrong with an encoded operation, whatever the state it
// meets. Clients call it before they sign an operation, and nodes before they
// order one: what it passes, Apply refuses only as compacted or in the future.
func CheckOp(b []byte) error {
	_, err := DecodeOp(b)
	return err
}

// op writes an operation and says whether it is one that can stand alone.
func (w writer) op(op Op) bool {
	switch op := op.(type) {
	case Txn:
		w.AddUint8(uint8(KindTxn))
		w.txn(op)
	case Compact:
		w.AddUint8(uint8(KindCompact))
		w.AddUint64(uint64(op.Revision))
	default:
		return w.plainOp(op)
	}
	return true
}

// plainOp writes an operation that may stand in a transaction.
func (w writer) plainOp(op Op) bool {
	switch op := op.(type) {
	case Put:
		w.AddUint8(uint8(KindPut))
		w.key(op.Key)
		w.value(op.Value)
		w.flag(op.PrevKV)
	case Delete:
		w.AddUint8(uint8(KindDelete))
		w.span(op.Span)
		w.flag(op.PrevKV)
	case Range:
		w.AddUint8(uint8(KindRange))
		w.rangeFields(op)
	default:
		return false
	}
	return true
}

func (w writer) rangeFields(o Range) {
	w.span(o.Span)
	w.AddUint64(uint64(o.Revision))
	w.AddUint32(o.Limit)
	w.flag(o.CountOnly)
}

func (w writer) txn(o Txn) {
	w.AddUint8(uint8(len(o.Compares)))
	for _, c := range o.Compares {
		w.key(c.Key)
		w.AddUint8(uint8(c.Target))
		w.AddUint8(uint8(c.Relation))
		if c.Target == TargetValue {
			w.value(c.Value)
		} else {
			w.AddUint64(c.Number)
		}
	}
	for _, list := range [][]Op{o.Then, o.Else} {
		w.AddUint8(uint8(len(list)))
		for _, op := range list {
			// The lists were checked: every element is a plain operation.
			w.plainOp(op)
		}
	}
}

func (r *reader) op() Op {
	switch kind := Kind(r.u8()); kind {
	case KindTxn:
		return r.txn()
	case KindCompact:
		return Compact{Revision: r.revision()}
	default:
		return r.plainOp(kind)
	}
}

func (r *reader) plainOp(kind Kind) Op {
	switch kind {
	case KindPut:
		return Put{Key: r.key(), Value: r.value(), PrevKV: r.flag()}
	case KindDelete:
		return Delete{Span: r.span(), PrevKV: r.flag()}
	case KindRange:
		return r.rangeFields()
	}
	r.must(false)
	return nil
}

func (r *reader) rangeFields() Range {
	return Range{Span: r.span(), Revision: r.revision(), Limit: r.u32(), CountOnly: r.flag()}
}

func (r *reader) txn() Txn {
	var o Txn
	for range r.u8() {
		if r.bad {
			return o
		}
		o.Compares = append(o.Compares, r.compare())
	}
	o.Then = r.list()
	o.Else = r.list()
	return o
}

func (r *reader) compare() Compare {
	c := Compare{Key: r.key(), Target: Target(r.u8()), Relation: Relation(r.u8())}
	if c.Target == TargetValue {
		c.Value = r.value()
	} else {
		c.Number = r.u64()
	}
	return c
}

func (r *reader) list() []Op {
	var list []Op
	for range r.u8() {
		if r.bad {
			return nil
		}
		list = append(list, r.plainOp(Kind(r.u8())))
	}
	return list
}
