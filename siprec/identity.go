package siprec

import (
	"slices"
	"strings"
	"unicode/utf8"

	"siprecd/siprec/rsmeta"
)

// Headers is what identify reads of a request.
type Headers struct {
	RequestURI string
	Fields     map[string][]string // every header, by name in any case; From and To among them
}

// identify finds out who takes part in the recorded call. Where that stands
// depends on the make of the recording client; identity_table.go has a row
// for each place. st may be nil: no metadata yet. Everything in the result is
// clean enough to be shown on one line.
func identify(h Headers, st *rsmeta.State) Identity {
	v := newView(h, st)
	for _, r := range metadataRows() {
		v.apply(r)
	}
	v.headerCopies()
	for _, r := range callRows() {
		v.apply(r)
	}
	v.participants()
	for _, r := range envelopeRows() {
		v.apply(r)
	}
	id := v.id
	sides := [][]Candidate{v.calledSide, v.callerSide, v.agentSide}
	if id.Direction == outbound {
		sides[0], sides[1] = sides[1], sides[0]
	}
	id.Lines = distinct(slices.Concat(sides...))
	return id
}

const (
	inbound  = "inbound"
	outbound = "outbound"

	maxLines = 64 // candidates; a real call has less than a dozen
)

// view is one request with the metadata merged so far, and what has been
// found in them.
type view struct {
	uri     string
	fields  map[string][]string // by lower-case name
	exts    []rsmeta.Extension  // paths in lower case
	members []rsmeta.Member
	state   *rsmeta.State

	id                                Identity
	calledSide, callerSide, agentSide []Candidate // of Lines
}

func newView(h Headers, st *rsmeta.State) *view {
	if st == nil {
		st = &rsmeta.State{}
	}
	v := &view{uri: h.RequestURI, fields: map[string][]string{}, state: st,
		exts: st.Extensions(), members: st.Participants()}
	for name, values := range h.Fields {
		n := longName(strings.ToLower(name))
		v.fields[n] = append(v.fields[n], values...)
	}
	for i := range v.exts {
		v.exts[i].Path = strings.ToLower(v.exts[i].Path)
	}
	for _, m := range v.members {
		p := party(m.ID, m.Name, m.AoRs, m.Labels)
		p.Silent, p.Gone = m.StreamsStated && len(m.Sends) == 0, !m.Present
		v.id.Parties = append(v.id.Parties, p)
	}
	if len(v.members) == 0 {
		v.id.Parties = ciscoParties(v)
	}
	return v
}

// longName undoes the compact forms of RFC 3261 7.3.3 that matter here.
func longName(n string) string {
	switch n {
	case "f":
		return "from"
	case "t":
		return "to"
	case "i":
		return "call-id"
	}
	return n
}

func party(id, name string, aors, labels []string) Party {
	return Party{ID: display(id), Name: display(name), AoRs: displayAll(aors), Labels: displayAll(labels)}
}

// apply takes what a row finds. The first find for a role stays; every number
// is a candidate for the listed line.
func (v *view) apply(r row) {
	for _, raw := range r.find(v) {
		c := Candidate{Value: display(raw), Source: display(r.source)}
		if c.Value == "" {
			continue
		}
		switch r.gives {
		case callKey:
			setFirst(&v.id.CallKey, c)
			v.key(c)
		case direction:
			v.direct(raw)
		case agent:
			setFirst(&v.id.Agent, c)
			v.agentSide = append(v.agentSide, c)
		case caller:
			setFirst(&v.id.Caller, c)
			v.callerSide = append(v.callerSide, c)
		case called:
			setFirst(&v.id.Called, c)
			v.calledSide = append(v.calledSide, c)
		case calledLine:
			v.calledSide = append(v.calledSide, c)
		case callerLine:
			v.callerSide = append(v.callerSide, c)
		}
	}
}

// maxKeys caps the correlation keys of one session.
const maxKeys = 16

// key adds a correlation key, once.
func (v *view) key(c Candidate) {
	same := func(o Candidate) bool { return o.Value == c.Value }
	if len(v.id.Keys) < maxKeys && !slices.ContainsFunc(v.id.Keys, same) {
		v.id.Keys = append(v.id.Keys, c)
	}
}

// direct reads the words that clients have for the direction. Two that
// contradict each other (a call within the house) say nothing.
func (v *view) direct(word string) {
	dir := ""
	switch strings.ToLower(word) {
	case "inbound", "incoming", "terminating", "termcall":
		dir = inbound
	case "outbound", "outgoing", "originating", "origcall":
		dir = outbound
	default:
		return
	}
	if v.id.Direction != "" && v.id.Direction != dir {
		dir = "internal"
	}
	v.id.Direction = dir
}

// headerCopies reads the headers of the recorded call that Oracle copies into
// a participant: <apkt:header label="Diversion"><value>..</value>.
func (v *view) headerCopies() {
	name, root := "", ""
	for _, x := range v.exts {
		base, isLabel := strings.CutSuffix(x.Path, "/@label")
		switch {
		case isLabel && pathEnds(base, "header"):
			name, root = x.Value, base
		case root != "" && strings.HasPrefix(x.Path, root) && x.Value != "":
			gives := callerLine
			switch strings.ToLower(name) {
			case "to", "diversion", "history-info", "p-called-party-id":
				gives = calledLine
			}
			v.apply(row{gives, "apkt:header " + name, func(*view) []string { return addresses(x.Value) }})
		default:
			root = ""
		}
	}
}

// participants makes the parties candidates, and fills in who called whom
// from their order when nothing better has said it: the clients that say
// nothing write the caller first.
func (v *view) participants() {
	if v.id.Direction == "internal" {
		v.id.Direction = ""
	}
	for _, m := range v.members {
		if len(m.AoRs) == 0 {
			continue
		}
		first := Candidate{Value: display(m.AoRs[0]), Source: "participant"}
		isCaller := v.id.Caller.Value != "" && sameUser(v.id.Caller.Value, first.Value)
		switch {
		case v.id.Caller == Candidate{} && !sameUser(v.id.Called.Value, first.Value):
			v.id.Caller, isCaller = first, true
		case v.id.Called == Candidate{} && !isCaller:
			v.id.Called = first
		}
		for _, a := range m.AoRs {
			c := Candidate{Value: display(a), Source: "participant"}
			if isCaller {
				v.callerSide = append(v.callerSide, c)
			} else {
				v.calledSide = append(v.calledSide, c)
			}
		}
	}
}

func setFirst(c *Candidate, to Candidate) {
	if c.Value == "" {
		*c = to
	}
}

// distinct keeps the first candidate of each value, up to maxLines.
func distinct(list []Candidate) []Candidate {
	seen := map[string]bool{}
	var out []Candidate
	for _, c := range list {
		if c.Value != "" && !seen[c.Value] && len(out) < maxLines {
			seen[c.Value] = true
			out = append(out, c)
		}
	}
	return out
}

// userPart is what stands before the host, without scheme and parameters.
func userPart(addr string) string {
	if scheme, rest, ok := strings.Cut(addr, ":"); ok && !strings.ContainsAny(scheme, "@;") {
		addr = rest
	}
	addr, _, _ = strings.Cut(addr, "@")
	addr, _, _ = strings.Cut(addr, ";")
	return strings.ToLower(addr)
}

func sameUser(a, b string) bool { return userPart(a) != "" && userPart(a) == userPart(b) }

// addresses reads a header of addresses: the URIs of its values, without
// display name and header parameters.
func addresses(header string) []string {
	var out []string
	for rest := header; rest != ""; {
		var one string
		one, rest, _ = cutUnquoted(rest, ',')
		out = append(out, address(one))
	}
	return out
}

// address returns the URI of a name-addr or addr-spec. The parameters of a
// SIP URI say nothing about the party; those of a tel URI do.
func address(value string) string {
	bare, _, angled := cutUnquoted(value, '<')
	if angled {
		value, _, _ = strings.Cut(value[len(bare)+1:], ">")
	}
	value = strings.TrimSpace(value)
	if !strings.HasPrefix(strings.ToLower(value), "tel:") {
		value, _, _ = strings.Cut(value, ";")
	}
	return strings.TrimSpace(value)
}

// maxDisplay caps a value that is shown, in runes.
const maxDisplay = 256

// display makes foreign text fit for one line of a log, a page or a CSV: no
// control characters, no line separators, nothing that turns the direction of
// writing or hides, and not too long. Markup is left to whoever writes markup.
func display(s string) string {
	s = strings.TrimSpace(strings.Map(func(c rune) rune {
		switch {
		case c < 0x20, c >= 0x7f && c <= 0x9f, c == utf8.RuneError,
			c == 0x061c, c >= 0x200b && c <= 0x200f, c >= 0x2028 && c <= 0x202e,
			c >= 0x2060 && c <= 0x2069, c == 0xfeff:
			return -1
		}
		return c
	}, s))
	if n := 0; len(s) > maxDisplay {
		for i := range s {
			if n++; n > maxDisplay {
				return s[:i]
			}
		}
	}
	return s
}

func displayAll(list []string) []string {
	var out []string
	for _, s := range list {
		if s = display(s); s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
