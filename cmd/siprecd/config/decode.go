package config

import (
	"encoding"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// field is what a struct tag says about a key.
type field struct {
	name     string
	index    int
	fallback string // default in YAML
	has      bool   // there is a default
	oneof    []string
}

// fieldsOf lists the keys of a struct in order.
func fieldsOf(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		f := field{name: tag.Get("yaml"), index: i}
		if f.name == "-" {
			continue
		}
		f.fallback, f.has = tag.Lookup("default")
		if words := tag.Get("oneof"); words != "" {
			f.oneof = strings.Split(words, "|")
		}
		out = append(out, f)
	}
	return out
}

// mapping decodes a struct. Absent keys get their defaults; a mapping without
// content is an empty one, so that all its keys may be commented out.
func (l *loader) mapping(n *yaml.Node, key string, v reflect.Value) {
	if n.Kind != yaml.MappingNode && n.Tag != "!!null" {
		l.fail(n, key, "must be a mapping of keys to values, not "+kindOf(n))
		return
	}
	fields, seen := fieldsOf(v.Type()), map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		path := join(key, name.Value)
		if first, twice := seen[name.Value]; twice {
			l.fail(name, path, "this key stands twice, first at "+l.at(first))
			continue
		}
		seen[name.Value] = name
		f, known := fieldNamed(fields, name)
		if !known {
			l.fail(name, path, "unknown key; "+hint(key, name.Value, v.Type()))
			continue
		}
		l.value(value, path, v.Field(f.index), f)
	}
	for _, f := range fields {
		if seen[f.name] == nil {
			l.absent(n, join(key, f.name), v.Field(f.index), f)
		}
	}
}

func fieldNamed(fields []field, name *yaml.Node) (field, bool) {
	for _, f := range fields {
		if name.Kind == yaml.ScalarNode && f.name == name.Value {
			return f, true
		}
	}
	return field{}, false
}

// absent fills in what parent does not have.
func (l *loader) absent(parent *yaml.Node, key string, v reflect.Value, f field) {
	switch {
	case f.has:
		l.value(literal(f.fallback), key, v, f)
		delete(l.nodes, key) // it stands nowhere
	case v.Kind() == reflect.Struct && !isText(v):
		l.mapping(&yaml.Node{Kind: yaml.MappingNode, Line: parent.Line, Column: parent.Column}, key, v)
	default:
		l.fail(parent, key, "missing: this key is required and has no default")
	}
}

// literal is a default as a node.
func literal(text string) *yaml.Node {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil || len(doc.Content) == 0 {
		return &yaml.Node{} // decodes to a problem: a test reads every default
	}
	return doc.Content[0]
}

// value decodes one value of any kind.
func (l *loader) value(n *yaml.Node, key string, v reflect.Value, f field) {
	l.nodes[key] = n
	switch {
	case n.Kind == yaml.AliasNode:
		l.fail(n, key, "aliases are not read: write the value out")
	case v.Kind() == reflect.Struct && !isText(v):
		l.mapping(n, key, v)
	case v.Kind() == reflect.Slice:
		l.sequence(n, key, v)
	case n.Kind != yaml.ScalarNode:
		l.fail(n, key, "must be a single value, not "+kindOf(n))
	case n.Tag == "!!null":
		l.fail(n, key, "has no value: write one, or remove the key"+orDefault(f))
	default:
		if err := scalar(n, v, f); err != nil {
			l.fail(n, key, err.Error())
		}
	}
}

func orDefault(f field) string {
	if !f.has {
		return ""
	}
	return " for the default " + f.fallback
}

func (l *loader) sequence(n *yaml.Node, key string, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		l.fail(n, key, "must be a list, not "+kindOf(n))
		return
	}
	if len(n.Content) == 0 {
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		l.value(item, join(key, strconv.Itoa(i)), v.Index(i), field{})
	}
}

// isText is whether a type is written as one word although it is a struct.
func isText(v reflect.Value) bool {
	_, ok := v.Addr().Interface().(encoding.TextUnmarshaler)
	return ok
}

// scalar decodes one word.
func scalar(n *yaml.Node, v reflect.Value, f field) error {
	switch p := v.Addr().Interface().(type) {
	case *netip.Addr:
		return readAddr(n.Value, p)
	case *netip.Prefix:
		return readPrefix(n.Value, p)
	case *time.Duration:
		return readDuration(n.Value, p)
	case encoding.TextUnmarshaler:
		return p.UnmarshalText([]byte(n.Value))
	case *int:
		return readInt(n, p)
	case *bool:
		return readBool(n, p, f)
	case *string:
		return readString(n, p, f)
	}
	return fmt.Errorf("type %s cannot be configured", v.Type())
}

// readString takes words as they are written, also those that YAML takes for
// numbers or dates: 02088257050 keeps its zero.
func readString(n *yaml.Node, p *string, f field) error {
	if n.Tag == "!!bool" {
		return fmt.Errorf("must be a text, not %s: write it in quotes", n.Value)
	}
	if f.oneof != nil {
		if err := oneOf(n.Value, f.oneof); err != nil {
			return err
		}
	}
	*p = n.Value
	return nil
}

// readBool takes true and false, or the two words of the tag for false and
// true.
func readBool(n *yaml.Node, p *bool, f field) error {
	if f.oneof == nil {
		if n.Tag != "!!bool" {
			return fmt.Errorf("must be true or false, not %q", n.Value)
		}
		*p = strings.EqualFold(n.Value, "true")
		return nil
	}
	if err := oneOf(n.Value, f.oneof); err != nil {
		return err
	}
	*p = n.Value == f.oneof[1]
	return nil
}

func readInt(n *yaml.Node, p *int) error {
	i, err := strconv.Atoi(n.Value)
	if err != nil || n.Tag != "!!int" {
		return fmt.Errorf("must be a whole number, not %q", n.Value)
	}
	*p = i
	return nil
}

func readDuration(s string, p *time.Duration) error {
	d, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is not a duration: write a number with a unit, for example 60s or 2m", s)
	}
	*p = d
	return nil
}

func readAddr(s string, p *netip.Addr) error {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return fmt.Errorf("%q is not an IP address", s)
	}
	*p = a.Unmap()
	return nil
}

// readPrefix reads 10.0.0.0/8, or a single address.
func readPrefix(s string, p *netip.Prefix) error {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		*p = netip.PrefixFrom(a, a.BitLen())
		return nil
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil || prefix.Addr().Is4In6() {
		return fmt.Errorf("%q is neither an IP address nor a network such as 10.0.0.0/8", s)
	}
	if m := prefix.Masked(); m != prefix {
		return fmt.Errorf("%q has bits behind its mask: write %s for the network or %s for the address", s, m, prefix.Addr())
	}
	*p = prefix
	return nil
}

// kindOf names what stands in the place of something else.
func kindOf(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.AliasNode:
		return "an alias"
	case n.Tag == "!!null":
		return "nothing"
	}
	return "a single value"
}

func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}
