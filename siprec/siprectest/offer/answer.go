package offer

import (
	"net/netip"
	"strconv"
	"strings"
)

// AnswerLine is one m-line of a session description from the recorder.
type AnswerLine struct {
	Addr      netip.Addr `json:"addr"`
	Port      int        `json:"port"` // 0: rejected
	Formats   []string   `json:"formats"`
	Direction string     `json:"direction"` // sendrecv when nothing says
	Label     string     `json:"label,omitempty"`

	Proto       string `json:"proto,omitempty"` // of the m-line
	CryptoTag   int    `json:"crypto_tag,omitempty"`
	Suite       string `json:"suite,omitempty"`       // of a=crypto; its key is not kept
	Fingerprint string `json:"fingerprint,omitempty"` // of a=fingerprint: hash and sum
	Setup       string `json:"setup,omitempty"`
}

// Receives says that the recorder takes media on this line. An unspecified
// address is the old form of hold.
func (a AnswerLine) Receives() bool {
	return a.Port != 0 && a.Addr.IsValid() && !a.Addr.IsUnspecified() && (a.Direction == "recvonly" || a.Direction == "sendrecv")
}

// ReadAnswer reads as much of a session description as sending needs.
func ReadAnswer(sdp []byte) []AnswerLine {
	var lines []AnswerLine
	session := AnswerLine{Direction: "sendrecv"}
	at := &session
	for line := range strings.Lines(string(sdp)) {
		key, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "=")
		if !ok {
			continue
		}
		switch key {
		case "m":
			lines = append(lines, session)
			at = &lines[len(lines)-1]
			f := strings.Fields(value)
			if len(f) > 3 {
				at.Port, _ = strconv.Atoi(f[1])
				at.Proto, at.Formats = f[2], f[3:]
			}
		case "c":
			if f := strings.Fields(value); len(f) == 3 {
				at.Addr, _ = netip.ParseAddr(f[2])
			}
		case "a":
			at.attribute(value)
		}
	}
	return lines
}

func (a *AnswerLine) attribute(value string) {
	name, rest, _ := strings.Cut(value, ":")
	switch name {
	case "sendrecv", "sendonly", "recvonly", "inactive":
		a.Direction = name
	case "label":
		a.Label = rest
	case "crypto":
		if f := strings.Fields(rest); len(f) >= 3 {
			a.CryptoTag, _ = strconv.Atoi(f[0])
			a.Suite = f[1]
		}
	case "fingerprint":
		a.Fingerprint = rest
	case "setup":
		a.Setup = rest
	}
}
