package main

import (
	"fmt"
	"strconv"
	"strings"

	"tangaroa/bftraft"
	"tangaroa/bftraft/kv"
)

// shown is how many bytes of a key or value are shown.
const shown = 40

// text shows bytes in quotes, cut if they are many.
func text(b []byte) string {
	if len(b) <= shown {
		return strconv.Quote(string(b))
	}
	return strconv.Quote(string(b[:shown])) + fmt.Sprintf("... (%d bytes)", len(b))
}

// describer puts operations into one line each.
type describer struct {
	values bool // show them; else their length
}

func (d describer) op(raw []byte) string {
	if ch, err := bftraft.DecodeChange(raw); err == nil {
		return fmt.Sprintf("change %d of who may do what, of %d steps", ch.Number, len(ch.Steps))
	}
	op, err := kv.DecodeOp(raw)
	if err != nil {
		return fmt.Sprintf("unreadable, %d bytes", len(raw))
	}
	return d.decoded(op)
}

func (d describer) value(b []byte) string {
	if !d.values {
		return fmt.Sprintf("(%d bytes)", len(b))
	}
	return text(b)
}

func (d describer) decoded(op kv.Op) string {
	switch op := op.(type) {
	case kv.Put:
		return "put " + text(op.Key) + " " + d.value(op.Value)
	case kv.Delete:
		return "delete " + span(op.Span)
	case kv.Range:
		return "range " + span(op.Span)
	case kv.Compact:
		return fmt.Sprintf("compact to revision %d", op.Revision)
	case kv.Txn:
		return d.txn(op)
	}
	return fmt.Sprintf("%T", op)
}

func span(s kv.Span) string {
	switch {
	case len(s.End) == 0:
		return text(s.Key)
	case len(s.End) == 1 && s.End[0] == 0:
		return "from " + text(s.Key)
	}
	return text(s.Key) + " to " + text(s.End)
}

func (d describer) txn(t kv.Txn) string {
	conditions := make([]string, len(t.Compares))
	for i := range t.Compares {
		conditions[i] = d.condition(&t.Compares[i])
	}
	return fmt.Sprintf("txn if %s then {%s} else {%s}", strings.Join(conditions, " and "),
		d.list(t.Then), d.list(t.Else))
}

func (d describer) list(ops []kv.Op) string {
	lines := make([]string, len(ops))
	for i, op := range ops {
		lines[i] = d.decoded(op)
	}
	return strings.Join(lines, "; ")
}

var targets = map[kv.Target]string{
	kv.TargetValue: "value", kv.TargetVersion: "version", kv.TargetCreate: "create",
	kv.TargetMod: "mod",
}

var relations = map[kv.Relation]string{
	kv.Equal: "=", kv.NotEqual: "!=", kv.Greater: ">", kv.Less: "<",
}

func (d describer) condition(c *kv.Compare) string {
	operand := strconv.FormatUint(c.Number, 10)
	if c.Target == kv.TargetValue {
		operand = d.value(c.Value)
	}
	return fmt.Sprintf("%s(%s) %s %s", targets[c.Target], text(c.Key), relations[c.Relation],
		operand)
}
