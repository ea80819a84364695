package rsmeta

import (
	"slices"
	"strings"
)

// What a State keeps at most: far more than any call has, but a client that
// invents ids with every request must not fill the memory.
const (
	maxKept = 512 // groups, sessions, streams, participants; further ones are ignored
	maxEach = 32  // addresses and streams of one participant
)

// State is the merged view of the documents of one recording session. Its
// zero value is an empty session. It is not safe for concurrent use.
//
// A complete document replaces what was known, a partial one changes only
// what it mentions (RFC 7865 5.1.2); a partial one before any complete one is
// taken as it is. Participants are never forgotten: one that a complete
// document no longer names, or that has a disassociate-time, is marked as
// left and sends nothing.
type State struct {
	groups     []Group
	sessions   []Session
	streams    []Stream
	members    []Member
	extensions []Extension

	calls   int      // communication sessions that followed one another
	current string   // id of the one that goes on
	over    bool     // it has a stop-time
	beside  []string // ids of the sessions that belong to the present call
}

// Member is a participant in the merged view.
type Member struct {
	Participant
	Present bool     // false once it has left; Left has the raw time if one was sent
	Labels  []string // SDP labels of the streams it sends now
}

// Dummy says that the participant only stands in for a party that is not
// known yet: Avaya SBCE opens a session with sip:ASBCE@asbce.com.
func (p Participant) Dummy() bool {
	return slices.ContainsFunc(p.AoRs, func(a string) bool {
		return strings.HasSuffix(strings.ToLower(a), "asbce@asbce.com")
	})
}

// Apply merges a document. nil changes nothing. Streams that no document
// defines, or that another client defined, are no error (RFC 7866 9.2).
func (s *State) Apply(d *Document) {
	if d == nil {
		return
	}
	if !d.Partial {
		s.replace(d)
	}
	for _, g := range d.Groups {
		if !slices.Contains(s.groups, g) && len(s.groups) < maxKept {
			s.groups = append(s.groups, g)
		}
	}
	for _, n := range d.Sessions {
		s.session(n)
	}
	for _, n := range d.Streams {
		s.stream(n)
	}
	for _, p := range d.Participants {
		s.participant(p)
	}
	s.extend(d.Extensions)
	s.follow()
}

// follow counts the calls. Another session is another call only after the one
// before was stopped: a complete document under new ids, and a second session
// beside the first, are the same one.
func (s *State) follow() {
	if i := s.find(s.current); i >= 0 && s.sessions[i].Stop != "" {
		s.over = true
	}
	goesOn := s.goesOn()
	switch known := slices.Contains(s.beside, goesOn); {
	case goesOn == "" || goesOn == s.current:
	case s.calls == 0, s.over && !known:
		s.calls++
		s.current, s.over, s.beside = goesOn, false, nil
		if s.calls > 1 {
			s.leave()
		}
	case s.over, s.find(s.current) < 0:
		s.current, s.over = goesOn, false
	}
	if !s.over {
		s.accompany()
	}
}

// accompany notes the sessions that belong to the present call.
func (s *State) accompany() {
	for _, o := range s.sessions {
		if o.Stop == "" && len(s.beside) < maxKept {
			s.beside = addNew(s.beside, o.ID)
		}
	}
}

func (s *State) find(session string) int {
	return slices.IndexFunc(s.sessions, func(o Session) bool { return o.ID == session })
}

// goesOn is the first session without a stop-time, "" when there is none. One
// that was stopped stays so, whatever a later document leaves out.
func (s *State) goesOn() string {
	for _, o := range s.sessions {
		if o.Stop == "" && !(s.over && o.ID == s.current) {
			return o.ID
		}
	}
	return ""
}

// leave forgets the parties that the call before had for itself.
func (s *State) leave() {
	s.members = slices.DeleteFunc(s.members, func(m Member) bool {
		return !m.Present || len(m.Sessions) > 0 && !slices.Contains(m.Sessions, s.current)
	})
}

// Calls is how many recorded calls have followed one another in the session:
// each began after the one before had a stop-time (RFC 8068).
func (s *State) Calls() int { return s.calls }

// Current is the communication session that goes on, or the last that did;
// its ID is "" when none was named.
func (s *State) Current() Session {
	i := s.find(s.current)
	if i < 0 {
		return Session{ID: s.current}
	}
	return s.sessions[i]
}

// replace clears what a complete document states anew. Clients make up new
// ids in mid-call (BroadWorks on redirect), so a participant whose id is
// unknown but whose address is that of one the document no longer names is
// the same party under another id.
func (s *State) replace(d *Document) {
	s.groups, s.sessions, s.streams, s.extensions = nil, nil, nil, nil
	known := map[string]bool{}
	for _, m := range s.members {
		known[m.ID] = true
	}
	named, fresh := map[string]bool{}, map[string]string{} // ids of d; address to new id
	for _, p := range d.Participants {
		named[p.ID] = true
		for _, a := range p.AoRs {
			if !known[p.ID] {
				fresh[a] = p.ID
			}
		}
	}
	for i := range s.members {
		m := &s.members[i]
		if !named[m.ID] {
			missing(m, fresh)
		}
	}
}

// missing renames a member that the new document has under a fresh id, or
// marks it as left.
func missing(m *Member, fresh map[string]string) {
	for _, a := range m.AoRs {
		if id, ok := fresh[a]; ok && m.Present {
			m.ID = id
			delete(fresh, a)
			return
		}
	}
	m.Present = false
	m.Sends, m.Receives = nil, nil
}

func (s *State) session(n Session) {
	i := slices.IndexFunc(s.sessions, func(o Session) bool { return o.ID == n.ID })
	if i < 0 {
		if len(s.sessions) < maxKept {
			s.sessions = append(s.sessions, n)
		}
		return
	}
	o := &s.sessions[i]
	o.GroupID = firstOf(n.GroupID, o.GroupID)
	o.Start, o.Stop = firstOf(n.Start, o.Start), firstOf(n.Stop, o.Stop)
	for _, id := range n.SIPSessionID {
		o.SIPSessionID = addNew(o.SIPSessionID, id)
	}
}

func (s *State) stream(n Stream) {
	i := slices.IndexFunc(s.streams, func(o Stream) bool { return o.ID == n.ID })
	if i < 0 || n.ID == "" {
		if len(s.streams) < maxKept {
			s.streams = append(s.streams, n)
		}
		return
	}
	o := &s.streams[i]
	o.SessionID, o.Label = firstOf(n.SessionID, o.SessionID), firstOf(n.Label, o.Label)
}

func (s *State) participant(p Participant) {
	i := slices.IndexFunc(s.members, func(o Member) bool { return o.ID == p.ID })
	if i < 0 || p.ID == "" {
		if len(s.members) == maxKept {
			return
		}
		s.members = append(s.members, Member{})
		i = len(s.members) - 1
	}
	m := &s.members[i]
	back := !m.Present && p.Left == ""
	m.ID = p.ID
	m.Name = firstOf(p.Name, m.Name)
	m.Joined = firstOf(p.Joined, m.Joined)
	m.Present = p.Left == ""
	if m.Left = firstOf(p.Left, m.Left); back {
		m.Left = ""
	}
	if len(p.AoRs) > 0 {
		m.AoRs = capped(p.AoRs)
	}
	for _, id := range p.Sessions {
		m.Sessions = addNew(m.Sessions, id)
	}
	if p.StreamsStated || !m.Present {
		m.Sends, m.Receives = capped(p.Sends), capped(p.Receives)
		m.StreamsStated = m.StreamsStated || p.StreamsStated
	}
}

// extend replaces the extensions of every owner that the document extends.
func (s *State) extend(xs []Extension) {
	type owner struct{ kind, id string }
	again := map[owner]bool{}
	for _, x := range xs {
		again[owner{x.Owner, x.ID}] = true
	}
	kept := slices.DeleteFunc(slices.Clone(s.extensions), func(x Extension) bool {
		return again[owner{x.Owner, x.ID}]
	})
	s.extensions = append(kept, xs...)
	if over := len(s.extensions) - MaxElements; over > 0 {
		s.extensions = s.extensions[over:]
	}
}

// capped copies at most maxEach values.
func capped(list []string) []string {
	return slices.Clone(list[:min(len(list), maxEach)])
}

// Participants returns every party ever named, in the order in which they
// were first named, without dummies.
func (s *State) Participants() []Member {
	var out []Member
	for _, m := range s.members {
		if m.Dummy() {
			continue
		}
		m.Labels = nil
		if m.Present {
			m.Labels = s.labels(m.Sends)
		}
		out = append(out, m)
	}
	return out
}

// labels resolves stream ids; an id without a stream, a stream without a
// label and the empty id (Avaya's placeholder) resolve to nothing.
func (s *State) labels(ids []string) []string {
	var out []string
	for _, id := range ids {
		for _, st := range s.streams {
			if st.ID == id && id != "" {
				out = addNew(out, st.Label)
			}
		}
	}
	return out
}

// Groups returns the communication session groups in force.
func (s *State) Groups() []Group { return slices.Clone(s.groups) }

// Sessions returns the communication sessions in force.
func (s *State) Sessions() []Session { return slices.Clone(s.sessions) }

// Streams returns the streams in force.
func (s *State) Streams() []Stream { return slices.Clone(s.streams) }

// Extensions returns the vendor data in force, flattened, in document order.
func (s *State) Extensions() []Extension { return slices.Clone(s.extensions) }
