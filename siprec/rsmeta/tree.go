package rsmeta

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// element is one XML element; namespaces are dropped, since clients misspell
// them, swap them and forget to declare them.
type element struct {
	name  string // local name as sent
	attrs []attr // without namespace declarations
	kids  []*element
	text  string // character data of this element alone, trimmed
	chars []byte // the same while it is being read
}

type attr struct{ name, value string }

// readTree reads the one element at the top of b. What follows its end tag is
// not looked at: some bodies carry a stray boundary or NULs there.
func readTree(b []byte) (*element, error) {
	d := xml.NewDecoder(bytes.NewReader(cutProlog(toUTF8(b))))
	d.Strict = false // unquoted attributes, bare "&", HTML entities
	d.Entity = xml.HTMLEntity
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil } // see toUTF8
	t := treeReader{}
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%w: no element in it", ErrMalformed)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		if err := t.take(tok); err != nil {
			return nil, err
		}
		if t.root != nil && len(t.open) == 0 {
			return t.root, nil
		}
	}
}

type treeReader struct {
	root  *element
	open  []*element // from the root to the element being read
	count int
}

func (t *treeReader) take(tok xml.Token) error {
	switch tok := tok.(type) {
	case xml.Directive:
		return ErrDoctype
	case xml.StartElement:
		return t.start(tok)
	case xml.EndElement:
		e := t.open[len(t.open)-1]
		e.text, e.chars = strings.TrimSpace(string(e.chars)), nil
		t.open = t.open[:len(t.open)-1]
	case xml.CharData:
		if n := len(t.open); n > 0 && len(bytes.TrimSpace(tok)) > 0 {
			t.open[n-1].chars = append(t.open[n-1].chars, tok...)
		}
	}
	return nil
}

func (t *treeReader) start(s xml.StartElement) error {
	t.count++
	switch {
	case t.count > MaxElements:
		return fmt.Errorf("%w: more than %d elements", ErrTooLarge, MaxElements)
	case len(t.open) == MaxDepth:
		return fmt.Errorf("%w: nested deeper than %d", ErrTooLarge, MaxDepth)
	case len(s.Attr) > MaxAttrs:
		return fmt.Errorf("%w: an element with %d attributes", ErrTooLarge, len(s.Attr))
	case len(s.Name.Local) > maxName:
		return fmt.Errorf("%w: a name of %d bytes", ErrTooLarge, len(s.Name.Local))
	}
	e := &element{name: s.Name.Local}
	for _, a := range s.Attr {
		if len(a.Value) > MaxAttr || len(a.Name.Local) > maxName {
			return fmt.Errorf("%w: an attribute of %d bytes", ErrTooLarge, len(a.Name.Local)+len(a.Value))
		}
		if a.Name.Space != "xmlns" && a.Name.Local != "xmlns" {
			e.attrs = append(e.attrs, attr{a.Name.Local, strings.TrimSpace(a.Value)})
		}
	}
	if n := len(t.open); n > 0 {
		t.open[n-1].kids = append(t.open[n-1].kids, e)
	} else {
		t.root = e
	}
	t.open = append(t.open, e)
	return nil
}

// cutProlog drops what stands before the first tag and the XML declaration:
// its encoding has been dealt with, and its version is nobody's business.
func cutProlog(b []byte) []byte {
	i := bytes.IndexByte(b, '<')
	if i < 0 {
		return b
	}
	b = b[i:]
	if bytes.HasPrefix(b, []byte("<?xml")) {
		if end := bytes.Index(b, []byte("?>")); end >= 0 {
			b = b[end+2:]
		}
	}
	return b
}

// toUTF8 goes by the bytes and not by the declaration, which lies as often as
// not: UTF-16 shows itself by a byte order mark or by zero bytes around the
// first "<"; what is no valid UTF-8 is taken as ISO-8859-1.
func toUTF8(b []byte) []byte {
	switch {
	case bytes.HasPrefix(b, []byte{0xff, 0xfe}), bytes.HasPrefix(b, []byte{'<', 0}):
		return fromUTF16(b, 0)
	case bytes.HasPrefix(b, []byte{0xfe, 0xff}), bytes.HasPrefix(b, []byte{0, '<'}):
		return fromUTF16(b, 1)
	case utf8.Valid(b):
		return bytes.TrimPrefix(b, []byte("\ufeff"))
	}
	out := make([]rune, len(b))
	for i, c := range b {
		out[i] = rune(c)
	}
	return []byte(string(out))
}

// fromUTF16 decodes b, whose low bytes stand at index low of each pair.
func fromUTF16(b []byte, low int) []byte {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = uint16(b[2*i+low]) | uint16(b[2*i+1-low])<<8
	}
	return []byte(strings.TrimPrefix(string(utf16.Decode(units)), "\ufeff"))
}

// is compares the local name without case.
func (e *element) is(name string) bool { return strings.EqualFold(e.name, name) }

// attr returns the first attribute of one of the names, in the names' order.
func (e *element) attr(names ...string) string {
	for _, n := range names {
		for _, a := range e.attrs {
			if strings.EqualFold(a.name, n) {
				return a.value
			}
		}
	}
	return ""
}

// child returns the text of the first child element of that name.
func (e *element) child(name string) string {
	for _, k := range e.kids {
		if k.is(name) {
			return k.text
		}
	}
	return ""
}
