package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Problem is one mistake in the configuration.
type Problem struct {
	At   string // file:line:column, or --set key
	Key  string // dotted path, e.g. policy.lines.0.number; "" for the file as a whole
	Text string // a sentence without a full stop

	line, column int // 0 for a --set
}

// Warning is something that is allowed but probably not meant.
type Warning = Problem

// String is the problem as a line for a terminal.
func (p Problem) String() string {
	if p.Key == "" {
		return p.At + ": " + p.Text
	}
	return p.At + ": " + p.Key + ": " + p.Text
}

// Error is a configuration that is refused, with everything that is wrong.
type Error struct{ Problems []Problem }

// Error lists the problems, one a line.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the configuration has %d %s:", len(e.Problems), plural(len(e.Problems), "problem"))
	for _, p := range e.Problems {
		b.WriteString("\n" + p.String())
	}
	return b.String()
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

// loader is the reading of one configuration: where its values stand, and what
// is wrong with them.
type loader struct {
	file     string                // as the user names it
	origin   map[*yaml.Node]string // the --set that a node came by
	nodes    map[string]*yaml.Node // values by key
	bad      map[string]bool       // keys that have a problem
	problems []Problem
	warnings []Warning
}

func newLoader(file string) *loader {
	return &loader{file: file, origin: map[*yaml.Node]string{}, nodes: map[string]*yaml.Node{}, bad: map[string]bool{}}
}

// at says where a node stands.
func (l *loader) at(n *yaml.Node) string {
	if origin, ok := l.origin[n]; ok {
		return origin
	}
	return fmt.Sprintf("%s:%d:%d", l.file, max(n.Line, 1), max(n.Column, 1))
}

func (l *loader) problem(n *yaml.Node, key, text string) Problem {
	p := Problem{At: l.at(n), Key: key, Text: text}
	if _, set := l.origin[n]; !set {
		p.line, p.column = max(n.Line, 1), max(n.Column, 1)
	}
	return p
}

// fail notes a problem at a node.
func (l *loader) fail(n *yaml.Node, key, text string) {
	l.bad[key] = true
	l.problems = append(l.problems, l.problem(n, key, text))
}

// failKey notes a problem of a key that was decoded, unless the key has one
// already: the first is the cause.
func (l *loader) failKey(key, format string, args ...any) {
	if !l.known(key) {
		return
	}
	l.fail(l.node(key), key, fmt.Sprintf(format, args...))
}

// warnKey notes a warning.
func (l *loader) warnKey(key, format string, args ...any) {
	if l.known(key) {
		l.warnings = append(l.warnings, l.problem(l.node(key), key, fmt.Sprintf(format, args...)))
	}
}

// known is whether a key's value, and all above it, was read without a problem.
func (l *loader) known(key string) bool {
	for k := key; k != ""; k = parent(k) {
		if l.bad[k] {
			return false
		}
	}
	return true
}

// node is where a key's value stands; for an absent key, where its nearest
// parent does.
func (l *loader) node(key string) *yaml.Node {
	for k := key; k != ""; k = parent(k) {
		if n := l.nodes[k]; n != nil {
			return n
		}
	}
	return &yaml.Node{Line: 1, Column: 1}
}

func parent(key string) string {
	i := strings.LastIndexByte(key, '.')
	return key[:max(i, 0)]
}

// sorted gives problems and warnings in the order of the file, those of --set
// last.
func (l *loader) sorted() ([]Problem, []Warning) {
	order := func(a, b Problem) int {
		return cmp.Or(cmp.Compare(b2i(a.line == 0), b2i(b.line == 0)), cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column))
	}
	slices.SortStableFunc(l.problems, order)
	slices.SortStableFunc(l.warnings, order)
	return l.problems, l.warnings
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
