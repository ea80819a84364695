package rsmeta

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Parse reads one metadata document in any of the dialects. The error wraps
// ErrTooLarge, ErrMalformed, ErrDoctype or ErrNotMetadata.
func Parse(b []byte) (*Document, error) {
	if len(b) > MaxBytes {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(b))
	}
	root, err := readTree(b)
	if err != nil {
		return nil, err
	}
	if !root.is("recording") && !root.is("recording_metadata") {
		return nil, fmt.Errorf("%w: its root is %.64q", ErrNotMetadata, root.name)
	}
	r := reader{
		d:         &Document{Raw: bytes.Clone(b), Partial: isPartial(root)},
		broadWork: root.is("recording_metadata"),
	}
	for _, e := range root.kids {
		r.top(e)
	}
	r.giveOwners()
	if r.full {
		return nil, fmt.Errorf("%w: vendor extensions", ErrTooLarge)
	}
	return r.d, nil
}

// isPartial looks for datamode (the schema), dataMode (the prose) as element
// or attribute.
func isPartial(root *element) bool {
	mode := root.child("datamode")
	if mode == "" {
		mode = root.attr("datamode")
	}
	return strings.EqualFold(mode, "partial")
}

// reader turns the elements of one document into its Document.
type reader struct {
	d         *Document
	broadWork bool // a participant without <send> sends nothing (not "unchanged")
	full      bool // too many extensions, or a path too long
}

// top reads a child of the root.
func (r *reader) top(e *element) {
	switch strings.ToLower(e.name) {
	case "group":
		g := Group{ID: e.attr("group_id", "id")}
		r.d.Groups = append(r.d.Groups, g)
		r.vendor(e, "group", g.ID)
	case "session":
		r.session(e)
	case "participant":
		r.participant(e)
	case "stream":
		r.stream(e)
	case "participantstreamassoc":
		if id := e.attr("participant_id", "id"); id != "" {
			r.streamAssoc(r.of(id), e)
		}
	case "participantsessionassoc":
		if id := e.attr("participant_id", "id"); id != "" {
			r.sessionAssoc(r.of(id), e)
		}
	case "sessionrecordingassoc", "datamode", "requestor", "type":
	case "recording": // BroadWorks: about the recording session itself
		r.vendor(e, "recording", "")
	default:
		r.extension(e, "recording", "")
	}
}

func (r *reader) session(e *element) {
	s := Session{
		ID:      e.attr("session_id", "id"),
		GroupID: firstOf(e.child("group-ref"), e.attr("group_id", "group"), e.child("group")),
		Start:   firstOf(e.child("start-time"), e.child("associate-time")),
		Stop:    firstOf(e.child("stop-time"), e.child("disassociate-time")),
	}
	for _, k := range e.kids {
		if k.is("sipSessionID") && k.text != "" {
			s.SIPSessionID = append(s.SIPSessionID, k.text)
		}
	}
	r.d.Sessions = append(r.d.Sessions, s)
	r.vendor(e, "session", s.ID)
}

func (r *reader) stream(e *element) {
	s := Stream{
		ID:        e.attr("stream_id", "id"),
		SessionID: e.attr("session_id", "session"),
		Label:     firstOf(e.attr("media_label"), e.child("label"), e.attr("label")), // media_label: one client puts a name into label
	}
	r.d.Streams = append(r.d.Streams, s)
	r.vendor(e, "stream", s.ID)
}

func (r *reader) participant(e *element) {
	p := r.of(e.attr("participant_id", "id"))
	p.Sessions = addNew(p.Sessions, e.attr("session_id", "session"))
	r.streams(p, e)
	p.StreamsStated = p.StreamsStated || r.broadWork
	for _, k := range e.kids {
		switch strings.ToLower(k.name) {
		case "nameid":
			p.AoRs = addNew(p.AoRs, k.attr("aor"))
			p.Name = firstOf(p.Name, k.child("name"))
			for _, kk := range k.kids {
				if kk.is("aor") {
					p.AoRs = addNew(p.AoRs, kk.text)
				}
			}
		case "aor":
			p.AoRs = addNew(p.AoRs, k.text)
		case "name":
			p.Name = firstOf(p.Name, k.text)
		case "associate-time", "start-time":
			p.Joined = firstOf(p.Joined, k.text)
		case "disassociate-time", "stop-time":
			p.Left = firstOf(p.Left, k.text)
		}
	}
	r.vendor(e, "participant", p.ID)
}

// streamAssoc reads RFC 7865 6.8. An association that has ended carries no
// stream any more; another one of the same participant may.
func (r *reader) streamAssoc(p *Participant, e *element) {
	p.StreamsStated = true
	if e.child("disassociate-time") == "" {
		r.streams(p, e)
	}
}

func (r *reader) sessionAssoc(p *Participant, e *element) {
	p.Sessions = addNew(p.Sessions, e.attr("session_id", "session"))
	p.Joined = firstOf(p.Joined, e.child("associate-time"))
	p.Left = firstOf(p.Left, e.child("disassociate-time"))
}

// streams reads <send> and <recv>, as text or as <id> inside.
func (r *reader) streams(p *Participant, e *element) {
	for _, k := range e.kids {
		id := firstOf(k.text, k.child("id"), k.attr("id"))
		switch strings.ToLower(k.name) {
		case "send":
			p.Sends, p.StreamsStated = addNew(p.Sends, id), true
		case "recv":
			p.Receives, p.StreamsStated = addNew(p.Receives, id), true
		}
	}
}

// of returns the participant of that id, made when the document has not named
// it yet: a partial document may hold nothing but an association. An element
// without id is a participant of its own.
func (r *reader) of(id string) *Participant {
	i := slices.IndexFunc(r.d.Participants, func(p Participant) bool { return p.ID == id })
	if i < 0 || id == "" {
		r.d.Participants = append(r.d.Participants, Participant{ID: id})
		i = len(r.d.Participants) - 1
	}
	return &r.d.Participants[i]
}

// vendor flattens the children of e that none of the dialects defines there.
func (r *reader) vendor(e *element, owner, id string) {
	for _, k := range e.kids {
		if !defined(owner, k.name) {
			r.extension(k, owner, id)
		}
	}
}

// defined says that a dialect gives the child element of an owner a meaning.
func defined(owner, name string) bool {
	switch strings.ToLower(name) {
	case "associate-time", "disassociate-time", "start-time", "stop-time":
		return true
	case "group-ref", "group", "sipsessionid":
		return owner == "session"
	case "nameid", "aor", "name", "send", "recv":
		return owner == "participant"
	case "label":
		return owner == "stream"
	}
	return false
}

// extension flattens one vendor element. <extensiondata> is only a wrapper;
// BroadWorks says by its parent attribute what it belongs to.
func (r *reader) extension(e *element, owner, id string) {
	if !e.is("extensiondata") {
		r.flatten(e, Extension{Owner: owner, ID: id, Path: e.name})
		return
	}
	if p := e.attr("parent"); p != "" && id == "" {
		id = p
	}
	if len(e.kids) == 0 && e.text != "" {
		r.leaf(Extension{owner, id, e.name, e.text})
	}
	for _, k := range e.kids {
		r.flatten(k, Extension{Owner: owner, ID: id, Path: k.name})
	}
}

func (r *reader) flatten(e *element, at Extension) {
	if len(at.Path) > maxPath {
		r.full = true
		return
	}
	for _, a := range e.attrs {
		r.leaf(Extension{at.Owner, at.ID, at.Path + "/@" + a.name, a.value})
	}
	if len(e.kids) == 0 || e.text != "" {
		r.leaf(Extension{at.Owner, at.ID, at.Path, e.text})
	}
	for _, k := range e.kids {
		r.flatten(k, Extension{Owner: at.Owner, ID: at.ID, Path: at.Path + "/" + k.name})
	}
}

func (r *reader) leaf(x Extension) {
	if len(r.d.Extensions) == MaxElements {
		r.full = true
		return
	}
	r.d.Extensions = append(r.d.Extensions, x)
}

// giveOwners resolves the parent ids of BroadWorks extensions.
func (r *reader) giveOwners() {
	kinds := map[string]string{}
	for _, g := range r.d.Groups {
		kinds[g.ID] = "group"
	}
	for _, s := range r.d.Sessions {
		kinds[s.ID] = "session"
	}
	for _, p := range r.d.Participants {
		kinds[p.ID] = "participant"
	}
	for i, x := range r.d.Extensions {
		if x.Owner != "recording" || x.ID == "" {
			continue
		}
		if kind, ok := kinds[x.ID]; ok {
			r.d.Extensions[i].Owner = kind
		} else {
			r.d.Extensions[i].ID = ""
		}
	}
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// addNew appends v unless it is empty or there already.
func addNew(list []string, v string) []string {
	if v == "" || slices.Contains(list, v) {
		return list
	}
	return append(list, v)
}
