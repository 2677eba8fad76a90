package adversary

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"tangaroa/bftraft"
)

// ErrUnknown is returned when there is no attack of a name.
var ErrUnknown = errors.New("there is no such adversary")

// ErrOption is returned when an attack is given an option it does not have, or a value that the
// option does not take.
var ErrOption = errors.New("bad option of an adversary")

// Attack describes an attack on the cluster by one of its members.
type Attack struct {
	Name string `json:"name"`
	// Does says in half a sentence what it does.
	Does string `json:"does"`
	// Caught says in half a sentence what becomes of it.
	Caught string `json:"caught"`
	// Drops are the reasons for which honest members refuse what it sends, if they do.
	Drops []bftraft.Drop `json:"-"`
	// Proven says that it leaves proof against the liar, with its options as they are by default.
	Proven bool `json:"proven"`
	// Deposed says that it costs the liar its office when it leads.
	Deposed bool `json:"deposed"`
	// Options are what may follow its name.
	Options []Option `json:"options,omitempty"`

	make func(*values) Behaviour
}

// Option is something of an attack that may be chosen.
type Option struct {
	Name string `json:"name"`
	Does string `json:"does"`
	// Default is its value when it is not given.
	Default string `json:"default"`
	// Words are its values, if it does not take a number.
	Words []string `json:"words,omitempty"`
	// Least and Most bound its number.
	Least int `json:"least,omitempty"`
	Most  int `json:"most,omitempty"`
	// Free says that it takes any text.
	Free bool `json:"free,omitempty"`
}

// Spec is an attack as it is asked for: its name and the options that are not left as they are.
type Spec struct {
	Name string
	Args []Arg
}

// Arg is an option and its value.
type Arg struct{ Name, Value string }

// Get returns the value given to an option, "" for none.
func (s Spec) Get(name string) string {
	for _, a := range s.Args {
		if a.Name == name {
			return a.Value
		}
	}
	return ""
}

// String returns what Parse reads.
func (s Spec) String() string {
	var b strings.Builder
	b.WriteString(s.Name)
	for _, a := range s.Args {
		b.WriteString("," + a.Name + "=" + a.Value)
	}
	return b.String()
}

// All lists the attacks in alphabetical order.
func All() []Attack { return slices.Clone(attacks) }

// Names lists the names of the attacks in alphabetical order.
func Names() []string {
	names := make([]string, len(attacks))
	for i := range attacks {
		names[i] = attacks[i].Name
	}
	return names
}

// Find returns the attack of a name.
func Find(name string) (Attack, error) {
	a, err := find(name)
	if err != nil {
		return Attack{}, err
	}
	return *a, nil
}

func find(name string) (*Attack, error) {
	for i := range attacks {
		if attacks[i].Name == name {
			return &attacks[i], nil
		}
	}
	return nil, fmt.Errorf("%w as %q, only %s", ErrUnknown, name, strings.Join(Names(), ", "))
}

// Parse reads an attack as it stands on a command line: its name, then option=value, separated by
// commas. It refuses what New would refuse.
func Parse(text string) (Spec, error) {
	name, rest, more := strings.Cut(text, ",")
	s := Spec{Name: name}
	for more {
		var arg string
		arg, rest, more = strings.Cut(rest, ",")
		option, value, ok := strings.Cut(arg, "=")
		if !ok {
			return Spec{}, fmt.Errorf("%w %s: %q is not option=value", ErrOption, name, arg)
		}
		s.Args = append(s.Args, Arg{option, value})
	}
	_, err := s.behaviour()
	return s, err
}

// behaviour makes the behaviour that is asked for.
func (s Spec) behaviour() (Behaviour, error) {
	a, err := find(s.Name)
	if err != nil {
		return nil, err
	}
	v := &values{attack: a}
	for i, arg := range s.Args {
		if slices.ContainsFunc(s.Args[:i], func(b Arg) bool { return b.Name == arg.Name }) {
			return nil, fmt.Errorf("%w %s: %s is given twice", ErrOption, s.Name, arg.Name)
		}
		o := a.option(arg.Name)
		if o == nil {
			return nil, fmt.Errorf("%w %s: it has no %q, only %s", ErrOption, s.Name, arg.Name,
				a.optionNames())
		}
		if err := o.check(arg.Value); err != nil {
			return nil, fmt.Errorf("%w %s: %w", ErrOption, s.Name, err)
		}
		v.args = append(v.args, arg)
	}
	return a.make(v), nil
}

func (a *Attack) option(name string) *Option {
	for i := range a.Options {
		if a.Options[i].Name == name {
			return &a.Options[i]
		}
	}
	return nil
}

func (a *Attack) optionNames() string {
	if len(a.Options) == 0 {
		return "its name"
	}
	var names []string
	for _, o := range a.Options {
		names = append(names, o.Name)
	}
	return strings.Join(names, ", ")
}

func (o *Option) check(value string) error {
	switch {
	case o.Free:
		return nil
	case len(o.Words) > 0:
		if !slices.Contains(o.Words, value) {
			return fmt.Errorf("%s is one of %s, not %q", o.Name, strings.Join(o.Words, ", "), value)
		}
		return nil
	}
	if n, err := strconv.Atoi(value); err != nil || n < o.Least || n > o.Most {
		return fmt.Errorf("%s is a number from %d to %d, not %q", o.Name, o.Least, o.Most, value)
	}
	return nil
}

// values are the options of an attack, given or not.
type values struct {
	attack *Attack
	args   []Arg
}

func (v *values) word(name string) string {
	for _, a := range v.args {
		if a.Name == name {
			return a.Value
		}
	}
	return v.attack.option(name).Default
}

func (v *values) number(name string) int {
	n, err := strconv.Atoi(v.word(name))
	if err != nil {
		panic("adversary: a default that is no number")
	}
	return n
}

// number returns an option that takes a number.
func number(name, does string, value, least, most int) Option {
	return Option{
		Name: name, Does: does, Default: strconv.Itoa(value), Least: least, Most: most,
	}
}

// word returns an option that takes one of some words, the first if it is not given.
func word(name, does string, words ...string) Option {
	return Option{Name: name, Does: does, Default: words[0], Words: words}
}
