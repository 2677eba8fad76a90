package main

import (
	"fmt"
	"strconv"
	"strings"

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

// describeOp puts an operation into one line.
func describeOp(raw []byte) string {
	op, err := kv.DecodeOp(raw)
	if err != nil {
		return fmt.Sprintf("unreadable, %d bytes", len(raw))
	}
	return describe(op)
}

func describe(op kv.Op) string {
	switch op := op.(type) {
	case kv.Put:
		return "put " + text(op.Key) + " " + text(op.Value)
	case kv.Delete:
		return "delete " + span(op.Span)
	case kv.Range:
		return "range " + span(op.Span)
	case kv.Compact:
		return fmt.Sprintf("compact to revision %d", op.Revision)
	case kv.Txn:
		return describeTxn(op)
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

func describeTxn(t kv.Txn) string {
	conditions := make([]string, len(t.Compares))
	for i := range t.Compares {
		conditions[i] = condition(&t.Compares[i])
	}
	return fmt.Sprintf("txn if %s then {%s} else {%s}", strings.Join(conditions, " and "),
		list(t.Then), list(t.Else))
}

func list(ops []kv.Op) string {
	lines := make([]string, len(ops))
	for i, op := range ops {
		lines[i] = describe(op)
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

func condition(c *kv.Compare) string {
	operand := strconv.FormatUint(c.Number, 10)
	if c.Target == kv.TargetValue {
		operand = text(c.Value)
	}
	return fmt.Sprintf("%s(%s) %s %s", targets[c.Target], text(c.Key), relations[c.Relation],
		operand)
}
