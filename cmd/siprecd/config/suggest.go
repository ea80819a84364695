package config

import (
	"fmt"
	"reflect"
	"strings"
)

// hint names the nearest valid key for one that is not known: a neighbour
// with a similar name, else a key of that name elsewhere, else all that would
// be possible here.
func hint(parent, name string, t reflect.Type) string {
	var here []string
	for _, f := range fieldsOf(t) {
		here = append(here, f.name)
	}
	if best := nearest(name, here); best != "" {
		return "the nearest valid key is " + join(parent, best)
	}
	for _, key := range keysOf(reflect.TypeFor[Config](), "") {
		if last := key[strings.LastIndexByte(key, '.')+1:]; strings.EqualFold(last, name) {
			return "the nearest valid key is " + key
		}
	}
	return "valid keys here are " + strings.Join(here, ", ")
}

// keysOf lists the dotted paths of every key; N stands for an index.
func keysOf(t reflect.Type, parent string) []string {
	var out []string
	for _, f := range fieldsOf(t) {
		key, inner := join(parent, f.name), t.Field(f.index).Type
		out = append(out, key)
		if inner.Kind() == reflect.Slice {
			key, inner = key+".N", inner.Elem()
		}
		if inner.Kind() == reflect.Struct && !isText(reflect.New(inner).Elem()) {
			out = append(out, keysOf(inner, key)...)
		}
	}
	return out
}

// oneOf refuses what is not one of the words.
func oneOf(s string, words []string) error {
	for _, w := range words {
		if s == w {
			return nil
		}
	}
	text := fmt.Sprintf("%q is not one of %s", s, strings.Join(words, ", "))
	if best := nearest(s, words); best != "" {
		text += "; the nearest is " + best
	}
	return fmt.Errorf("%s", text)
}

// nearest gives the word that takes the fewest typing mistakes to become s, a
// word and its abbreviation counting as one; "" when none is near.
func nearest(s string, words []string) string {
	const abbreviation = 3 // shortest that is recognised
	s = strings.ToLower(s)
	best, least := "", max(2, len(s)/3)+1
	for _, w := range words {
		d := distance(s, w)
		if min(len(s), len(w)) >= abbreviation && (strings.HasPrefix(s, w) || strings.HasPrefix(w, s)) {
			d = min(d, 1)
		}
		if d < least && d < max(len(s), len(w)) {
			best, least = w, d
		}
	}
	return best
}

// distance counts insertions, deletions, replacements and swaps of neighbours
// between two words (optimal string alignment).
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+b2i(a[i-1] != b[j-1]))
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(a)][len(b)]
}
