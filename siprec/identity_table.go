package siprec

import (
	"slices"
	"strings"
)

// role is what a row's find says.
type role int

const (
	caller     role = iota // the party that placed the call; also a line candidate
	called                 // the number that was called; also a line candidate
	agent                  // the recorded user; also a line candidate
	calledLine             // a line candidate on the called side
	callerLine             // a line candidate on the caller's side
	callKey                // correlates the recordings of one call
	direction              // a word for the direction
)

// row is one place where some make of client names something. Rows stand in
// order of trust: the first find for a role is taken.
type row struct {
	gives  role
	source string
	find   func(*view) []string
}

// metadataRows are the vendor extensions that name parties, agents and
// direction. Names are those of the extension's elements.
func metadataRows() []row {
	return []row{
		// BroadWorks, Webex: the queue's number is the listed line.
		{calledLine, "acdNumber", ext("acd/acdNumber")},
		{calledLine, "origCalledNumber", ext("redirectInfo/origCalledNumber")},
		{direction, "callType", under("callType/termCall", inbound)},
		{direction, "callType", under("callType/origCall", outbound)},
		{agent, "acdUserId", ext("acd/acdUserId")},
		{agent, "userID", ext("broadWorksRecordingMetadata/userID")},
		// BroadWorks, Metaswitch and NetSapiens 1.0 agree on these names.
		{called, "calledPartyNumber", ext("calledPartyNumber")},
		{called, "dialedDigits", ext("dialedDigits")},
		{caller, "callingPartyNumber", ext("callingPartyNumber")},
		// Metaswitch; NetSapiens too has a callType
		{direction, "callType", ext("callType")},
		{agent, "recordedParty", ext("metaswitchRecordingMetadata/recordedParty")},
		// NetSapiens
		{called, "calledParty", ext("calledParty/number")},
		{caller, "callingParty", ext("callingParty/number")},
		{agent, "byUserID", ext("netsapiensExtension/byUserID")},
		{agent, "user", ext("netsapiensExtension/user/@userID")},
		// Oracle
		{caller, "apkt:callingParty", flagged("callingParty")},
		{called, "apkt:request-uri", ext("request-uri")},
		// Sonus: copies of the headers of the recorded call
		{called, "callData/tohdr", ext("callData/tohdr")},
		{caller, "callData/fromhdr", ext("callData/fromhdr")},
		// jambonz
		{called, "jb:callednumber", ext("callednumber")},
		{caller, "jb:callingnumber", ext("callingnumber")},
		{direction, "jb:direction", ext("direction")},
	}
}

// callRows are the headers that name the parties of the recorded call, and
// the keys that tie recordings of one call together.
func callRows() []row {
	return []row{
		// CUCM: two dialogs per call, told apart by x-nearend and x-farend
		{caller, "x-farendaddr", fromParam("x-farendaddr")},
		{called, "From", nearEnd},
		{agent, "x-nearenddevice", fromParam("x-nearenddevice")},
		{callKey, "x-refci", refci},
		// CUBE network-based recording
		{caller, nbrHeader, nbrParticipant(0)},
		{called, nbrHeader, nbrParticipant(1)},
		{calledLine, "Diversion", header("Diversion")},
		{calledLine, "History-Info", header("History-Info")},
		{calledLine, "P-Called-Party-ID", header("P-Called-Party-ID")},

		{callKey, "groupSeq", groupOf("netsapiensExtension/groupSeq")}, // the group links, the sequence orders
		{callKey, "apkt:ucid", ucid(ext("ucid"))},
		{callKey, "ac:AvayaUCID", ucid(ext("AvayaUCID"))},
		{callKey, "ac:GenesysUUID", ext("GenesysUUID")},
		{callKey, "callData/callid", ext("callData/callid")},
		{callKey, "callData/gcid", ext("callData/gcid")},
		{callKey, "extTrackingID", ext("extTrackingID")},
		{callKey, "callID", ext("broadWorksRecordingMetadata/callID")},
		{callKey, "jb:callsid", ext("callsid")},
		{callKey, "google:call", ext("call/@id")},
		{callKey, "User-to-User", ucid(field("User-to-User"))}, // Avaya: its UCID
		{callKey, "X-Audc-Call-Id", field("X-Audc-Call-Id")},
		{callKey, "X-Genesys-CallUUID", field("X-Genesys-CallUUID")},
		{callKey, "X-BroadWorks-Correlation-Info", field("X-BroadWorks-Correlation-Info")},
		{callKey, "X-Acme-Call-ID", field("X-Acme-Call-ID")},
		{callKey, "sipSessionID", sipSessionID},
		{callKey, "Cisco-Gucid", field("Cisco-Gucid")},
		{callKey, "Cisco-Guid", field("Cisco-Guid")},
		{callKey, "xferredGroupID", ext("netsapiensExtension/xferredGroupID")},
		{callKey, "group", groupID},
		{callKey, "session", sessionID},
		{callKey, "Session-ID", field("Session-ID")},
		{callKey, "Call-ID", field("Call-ID")},
	}
}

// envelopeRows are the headers of the recording dialog itself. They mostly
// name the two servers, but some clients put the recorded party there.
func envelopeRows() []row {
	return []row{
		{agent, "From", ifExt("broadWorksRecordingMetadata", header("From"))},
		{calledLine, "To", header("To")},
		{calledLine, "Request-URI", func(v *view) []string { return []string{address(v.uri)} }},
		{callerLine, "P-Asserted-Identity", header("P-Asserted-Identity")},
		{callerLine, "From", header("From")},
		{caller, "From", ifBare(header("From"))},
		{called, "To", ifBare(header("To"))},
	}
}

// pathEnds says that a lower-case path is name, or ends in "/name".
func pathEnds(path, name string) bool {
	head, ok := strings.CutSuffix(path, strings.ToLower(name))
	return ok && (head == "" || head[len(head)-1] == '/')
}

// ext finds the values of the extension leaves whose path ends so. Copied
// headers (name <uri>;tag) give their URI.
func ext(path string) func(*view) []string {
	return func(v *view) []string {
		var out []string
		for _, x := range v.exts {
			if !pathEnds(x.Path, path) {
				continue
			}
			if strings.Contains(x.Value, "<") {
				out = append(out, address(x.Value))
			} else {
				out = append(out, x.Value)
			}
		}
		return out
	}
}

// under finds word when some extension leaf stands at or below the path.
func under(path, word string) func(*view) []string {
	path = "/" + strings.ToLower(path) + "/"
	return func(v *view) []string {
		for _, x := range v.exts {
			if strings.Contains("/"+x.Path+"/", path) {
				return []string{word}
			}
		}
		return nil
	}
}

// flagged finds the address of the participant whose extension says true.
func flagged(path string) func(*view) []string {
	return func(v *view) []string {
		for _, x := range v.exts {
			if x.Owner != "participant" || !pathEnds(x.Path, path) || !strings.EqualFold(x.Value, "true") {
				continue
			}
			for _, m := range v.members {
				if m.ID == x.ID && len(m.AoRs) > 0 {
					return m.AoRs[:1]
				}
			}
		}
		return nil
	}
}

// ucid makes the forms of one universal call id equal: the first of several
// values, without ";encoding=hex", hexadecimal digits in upper case.
func ucid(find func(*view) []string) func(*view) []string {
	return func(v *view) []string {
		found := find(v)
		if len(found) == 0 {
			return nil
		}
		id, _, _ := strings.Cut(found[0], ",")
		id, _, _ = strings.Cut(id, ";")
		id = strings.Trim(strings.TrimSpace(id), `"`)
		if strings.Trim(id, "0123456789abcdefABCDEF") == "" {
			id = strings.ToUpper(id)
		}
		return []string{id}
	}
}

// groupOf finds the group's id where an extension leaf of that path exists.
func groupOf(path string) func(*view) []string {
	return func(v *view) []string {
		if len(ext(path)(v)) == 0 {
			return nil
		}
		return groupID(v)
	}
}

// groupID finds the group of the newest session, else the only group.
func groupID(v *view) []string {
	sessions := v.state.Sessions()
	for _, s := range slices.Backward(sessions) {
		if s.GroupID != "" {
			return []string{s.GroupID}
		}
	}
	if g := v.state.Groups(); len(g) > 0 {
		return []string{g[len(g)-1].ID}
	}
	return nil
}

// sessionID finds the communication sessions, the current one first.
func sessionID(v *view) []string {
	out := []string{v.state.Current().ID}
	for _, s := range slices.Backward(v.state.Sessions()) {
		if !slices.Contains(out, s.ID) {
			out = append(out, s.ID)
		}
	}
	return out
}

func sipSessionID(v *view) []string {
	for _, s := range slices.Backward(v.state.Sessions()) {
		if len(s.SIPSessionID) > 0 {
			return s.SIPSessionID[:1]
		}
	}
	return nil
}

// header finds the addresses in the values of a header.
func header(name string) func(*view) []string {
	return func(v *view) []string {
		var out []string
		for _, h := range v.fields[strings.ToLower(name)] {
			out = append(out, addresses(h)...)
		}
		return out
	}
}

// field finds the values of a header as they are.
func field(name string) func(*view) []string {
	return func(v *view) []string { return v.fields[strings.ToLower(name)] }
}

// ifExt limits a find to clients that send an extension of that name.
func ifExt(name string, find func(*view) []string) func(*view) []string {
	there := under(name, "yes")
	return func(v *view) []string {
		if there(v) == nil {
			return nil
		}
		return find(v)
	}
}

// ifBare limits a find to requests without metadata about parties.
func ifBare(find func(*view) []string) func(*view) []string {
	return func(v *view) []string {
		if len(v.members) > 0 {
			return nil
		}
		return find(v)
	}
}

// fromParam finds a parameter of the From header, in its URI or behind it.
func fromParam(name string) func(*view) []string {
	return func(v *view) []string {
		for _, f := range v.fields["from"] {
			if p := parameter(strings.NewReplacer("<", ";", ">", ";").Replace(f), name); p != "" {
				return []string{p}
			}
		}
		return nil
	}
}
