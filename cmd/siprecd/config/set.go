package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// set lays key=value over the tree. Problems with it, now and when the tree is
// decoded, name the --set by its key; values are not repeated, as they may be
// secret.
func (l *loader) set(root *yaml.Node, assignment string) {
	key, text, ok := strings.Cut(assignment, "=")
	key = strings.TrimSpace(key)
	origin := "--set " + key
	mark := &yaml.Node{}
	l.origin[mark] = origin
	switch {
	case !ok:
		l.fail(mark, "", "must be written as --set key=value, for example --set http.listen=127.0.0.1:8080")
		return
	case key == "" || slices.Contains(strings.Split(key, "."), ""):
		l.fail(mark, "", "the key is empty, or a part of it: write it as in media.ports")
		return
	case root == nil:
		return // the file is not YAML; that is told already
	}
	value, err := parseValue(text)
	if err != nil {
		l.fail(mark, key, "the value is not YAML: "+err.Error())
		return
	}
	if err := l.replace(root, strings.Split(key, "."), value, origin); err != nil {
		l.fail(mark, key, err.Error())
	}
}

// parseValue reads the value; nothing at all is the empty text.
func parseValue(text string) (*yaml.Node, error) {
	if strings.TrimSpace(text) == "" {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str"}, nil
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return nil, fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(doc.Content) == 0 { // only a comment
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}, nil
	}
	return doc.Content[0], nil
}

// replace puts value at the path, making what is missing on the way.
func (l *loader) replace(root *yaml.Node, path []string, value *yaml.Node, origin string) error {
	slot := root
	for i, name := range path {
		if slot.Kind == 0 || slot.Tag == "!!null" {
			l.makeContainer(slot, name, origin)
		}
		next, err := l.step(slot, name, origin)
		if err != nil {
			return fmt.Errorf("%w (at %s)", err, strings.Join(path[:i+1], "."))
		}
		slot = next
	}
	*slot = *value
	l.claim(slot, origin)
	return nil
}

// makeContainer turns an empty slot into a list or a mapping, as the name of
// its first item asks.
func (l *loader) makeContainer(slot *yaml.Node, name, origin string) {
	*slot = yaml.Node{Kind: yaml.MappingNode, Line: slot.Line, Column: slot.Column}
	if allDigits(name) {
		slot.Kind = yaml.SequenceNode
	}
	if slot.Line == 0 {
		l.origin[slot] = origin
	}
}

// step goes down by one name or index, making it when it is absent.
func (l *loader) step(n *yaml.Node, name, origin string) (*yaml.Node, error) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == name {
				return n.Content[i+1], nil
			}
		}
		key, value := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: name}, &yaml.Node{}
		l.origin[key] = origin
		l.origin[value] = origin
		n.Content = append(n.Content, key, value)
		return value, nil
	case yaml.SequenceNode:
		return l.item(n, name, origin)
	}
	return nil, fmt.Errorf("there is %s where a mapping or a list would have to be", kindOf(n))
}

func (l *loader) item(n *yaml.Node, name, origin string) (*yaml.Node, error) {
	i, err := strconv.Atoi(name)
	if err != nil || i < 0 || i > len(n.Content) {
		return nil, fmt.Errorf("%q is not an index of this list: write 0 to %d, the last to add an item", name, len(n.Content))
	}
	if i == len(n.Content) {
		value := &yaml.Node{}
		l.origin[value] = origin
		n.Content = append(n.Content, value)
	}
	return n.Content[i], nil
}

// claim marks a value and all below it as given by a --set.
func (l *loader) claim(n *yaml.Node, origin string) {
	l.origin[n] = origin
	for _, c := range n.Content {
		l.claim(c, origin)
	}
}

func allDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
