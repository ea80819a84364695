package offer

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"time"
)

// Metadata is what a metadata document says. It is written anew for each
// request, with the same ids.
type Metadata struct {
	Group, Session UID
	CallID         string // of the recorded call
	From, To       string // numbers
	Start          time.Time
	Parties        []Party
}

// Party is a participant and the one stream it sends.
type Party struct {
	ID, Stream       UID
	Name, AoR, Label string
}

// Write writes a complete document in the dialect, nil for none.
func (m Metadata) Write(dialect string) []byte {
	var b bytes.Buffer
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\r\n")
	switch dialect {
	case RFC7865:
		m.rfc7865(&b)
	case Draft:
		m.draft(&b)
	case BroadWorks:
		m.broadWorks(&b)
	default:
		return nil
	}
	return b.Bytes()
}

// rfc7865 is the standard: ids are UUIDs in base64, associations are elements
// of their own.
func (m Metadata) rfc7865(b *bytes.Buffer) {
	at := m.Start.UTC().Format(time.RFC3339)
	fmt.Fprintf(b, "<recording xmlns=\"urn:ietf:params:xml:ns:recording:1\">\r\n <datamode>complete</datamode>\r\n")
	fmt.Fprintf(b, " <group group_id=%q><associate-time>%s</associate-time></group>\r\n", m.Group.base64(), at)
	fmt.Fprintf(b, " <session session_id=%q>\r\n  <sipSessionID>%s</sipSessionID>\r\n  <group-ref>%s</group-ref>\r\n  <start-time>%s</start-time>\r\n </session>\r\n",
		m.Session.base64(), text(m.CallID), m.Group.base64(), at)
	for _, p := range m.Parties {
		fmt.Fprintf(b, " <participant participant_id=%q>\r\n  <nameID aor=\"%s\">", p.ID.base64(), text(p.AoR))
		if p.Name != "" {
			fmt.Fprintf(b, "<name xml:lang=\"en\">%s</name>", text(p.Name))
		}
		fmt.Fprintf(b, "</nameID>\r\n </participant>\r\n")
		fmt.Fprintf(b, " <stream stream_id=%q session_id=%q><label>%s</label></stream>\r\n",
			p.Stream.base64(), m.Session.base64(), text(p.Label))
	}
	fmt.Fprintf(b, " <sessionrecordingassoc session_id=%q><associate-time>%s</associate-time></sessionrecordingassoc>\r\n",
		m.Session.base64(), at)
	for i, p := range m.Parties {
		fmt.Fprintf(b, " <participantsessionassoc participant_id=%q session_id=%q><associate-time>%s</associate-time></participantsessionassoc>\r\n",
			p.ID.base64(), m.Session.base64(), at)
		fmt.Fprintf(b, " <participantstreamassoc participant_id=%q>\r\n  <send>%s</send>\r\n", p.ID.base64(), p.Stream.base64())
		for j, q := range m.Parties {
			if i != j {
				fmt.Fprintf(b, "  <recv>%s</recv>\r\n", q.Stream.base64())
			}
		}
		fmt.Fprintf(b, " </participantstreamassoc>\r\n")
	}
	b.WriteString("</recording>\r\n")
}

// draft is the form before the RFC: short attribute names, send inside the
// participant, times without a zone.
func (m Metadata) draft(b *bytes.Buffer) {
	at := m.Start.UTC().Format("2006-01-02T15:04:05")
	fmt.Fprintf(b, "<recording xmlns='urn:ietf:params:xml:ns:recording'>\r\n <datamode>complete</datamode>\r\n")
	fmt.Fprintf(b, " <session id=%q>\r\n  <associate-time>%s</associate-time>\r\n </session>\r\n", m.Session.base64(), at)
	for _, p := range m.Parties {
		fmt.Fprintf(b, " <participant id=%q session=%q>\r\n  <nameID aor=\"%s\"><name>%s</name></nameID>\r\n",
			p.ID.base64(), m.Session.base64(), text(p.AoR), text(p.Name))
		fmt.Fprintf(b, "  <associate-time>%s</associate-time>\r\n  <send>%s</send>\r\n </participant>\r\n", at, p.Stream.base64())
		fmt.Fprintf(b, " <stream id=%q session=%q>\r\n  <label>%s</label>\r\n </stream>\r\n",
			p.Stream.base64(), m.Session.base64(), text(p.Label))
	}
	b.WriteString("</recording>\r\n")
}

// broadWorks has a root and namespace of its own, and the numbers in an
// extension.
func (m Metadata) broadWorks(b *bytes.Buffer) {
	at := m.Start.UTC().Format("2006-01-02T15:04:05.000+00:00")
	fmt.Fprintf(b, "<recording_metadata xmlns=\"urn:ietf:params:xml:ns:siprec\">\r\n <dataMode>complete</dataMode>\r\n")
	fmt.Fprintf(b, " <group id=%q>\r\n  <initiator>%s</initiator>\r\n </group>\r\n", m.Group.urn(), at)
	fmt.Fprintf(b, " <session id=%q>\r\n  <group>%s</group>\r\n  <start-time>%s</start-time>\r\n", m.Session.urn(), m.Group.urn(), at)
	fmt.Fprintf(b, "  <extensiondata><broadWorksRecordingMetadata version=\"3.0\">"+
		"<extTrackingID>%s</extTrackingID><callID>callhalf-1:0</callID><callType><termCall>"+
		"<callingPartyNumber>%s</callingPartyNumber><calledPartyNumber>%s</calledPartyNumber>"+
		"</termCall></callType><recordingType>on</recordingType></broadWorksRecordingMetadata></extensiondata>\r\n </session>\r\n",
		m.Session, text(m.From), text(m.To))
	for _, p := range m.Parties {
		fmt.Fprintf(b, " <participant id=%q session=%q>\r\n  <aor>%s</aor>\r\n  <name>%s</name>\r\n",
			p.ID.urn(), m.Session.urn(), text(p.AoR), text(p.Name))
		fmt.Fprintf(b, "  <associate-time>%s</associate-time>\r\n  <send><id>%s</id></send>\r\n </participant>\r\n", at, p.Stream.urn())
		fmt.Fprintf(b, " <stream id=%q session=%q>\r\n  <label>%s</label>\r\n </stream>\r\n", p.Stream.urn(), m.Session.urn(), text(p.Label))
	}
	b.WriteString("</recording_metadata>\r\n")
}

// text escapes what goes between tags or into a double-quoted attribute.
func text(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a bytes.Buffer does not fail
	return b.String()
}
