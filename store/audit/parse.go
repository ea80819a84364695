package audit

import (
	"bytes"
	"fmt"
	"strconv"
	"time"
)

// ParseLeaf reads a leaf. It must be exactly what this package writes, byte for
// byte: one form only, so that what is shown is what was signed. Every start
// reads a month of leaves: a general JSON decoder would take ten times as long.
func ParseLeaf(leaf []byte) (e Event, err error) {
	p := parser{rest: leaf}
	e.N = p.number(`{"n":`)
	e.At = p.instant(`,"at":"`)
	e.Kind = Kind(p.text(`,"kind":"`))
	e.Recording = p.optional(`,"recording":"`)
	e.Actor = p.optional(`,"actor":"`)
	e.Result = p.optional(`,"result":"`)
	e.Hash = p.optional(`,"hash":"`)
	if bytes.HasPrefix(p.rest, []byte(`,"count":`)) {
		if e.Count = p.number(`,"count":`); e.Count == 0 {
			p.bad = true
		}
	}
	e.Detail = p.optional(`,"detail":"`)
	e.Prev = p.optional(`,"prev":"`)
	if p.skip("}"); p.bad || len(p.rest) > 0 {
		return Event{}, fmt.Errorf("%w: not as it is written", ErrLine)
	}
	return e, nil
}

// parser goes along a leaf; bad says that it is none.
type parser struct {
	rest []byte
	bad  bool
}

func (p *parser) skip(prefix string) {
	if !bytes.HasPrefix(p.rest, []byte(prefix)) {
		p.bad, p.rest = true, nil
		return
	}
	p.rest = p.rest[len(prefix):]
}

// number reads what is not negative.
func (p *parser) number(before string) int64 {
	p.skip(before)
	end := 0
	for end < len(p.rest) && p.rest[end] >= '0' && p.rest[end] <= '9' {
		end++
	}
	n, err := strconv.ParseInt(string(p.rest[:end]), 10, 64)
	p.bad = p.bad || err != nil || end > 1 && p.rest[0] == '0'
	p.rest = p.rest[end:]
	return n
}

// text reads a string with its closing quote. None of ours has a character that
// JSON would escape.
func (p *parser) text(before string) string {
	p.skip(before)
	for i, c := range p.rest {
		switch {
		case c == '"':
			s := string(p.rest[:i])
			p.rest = p.rest[i+1:]
			return s
		case c < ' ' || c > '~' || c == '\\' || c == '<' || c == '>' || c == '&':
			p.bad = true
			return ""
		}
	}
	p.bad = true
	return ""
}

// optional is text that is left out when it is empty.
func (p *parser) optional(before string) string {
	if !bytes.HasPrefix(p.rest, []byte(before)) {
		return ""
	}
	s := p.text(before)
	p.bad = p.bad || s == ""
	return s
}

// instant reads a time in UTC as JSON has it.
func (p *parser) instant(before string) time.Time {
	s := p.text(before)
	at, err := time.Parse(time.RFC3339Nano, s)
	var again [len(time.RFC3339Nano)]byte
	p.bad = p.bad || err != nil || at.Location() != time.UTC || string(at.AppendFormat(again[:0], time.RFC3339Nano)) != s
	return at
}
