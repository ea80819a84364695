package sdp

import (
	"slices"
	"strconv"
	"strings"
)

// formats reads the RTP payload types of an m-line: in the m-line's order,
// whatever the order of the rtpmap lines; tokens that are no payload type and
// repeats are left out.
func formats(ids, attrs []string) []Format {
	maps, params := byPT(attrs, "rtpmap"), byPT(attrs, "fmtp")
	var out []Format
	for _, id := range ids {
		pt, err := strconv.ParseUint(id, 10, 8)
		if err != nil || pt > 127 || slices.ContainsFunc(out, func(f Format) bool { return f.PT == uint8(pt) }) {
			continue
		}
		f := static(uint8(pt))
		if v, ok := maps[uint8(pt)]; ok {
			f = rtpmap(f, v)
		}
		f.Params = params[uint8(pt)]
		out = append(out, f)
	}
	return out
}

// byPT gathers "name:PT value" attributes; the first for a PT counts.
func byPT(attrs []string, name string) map[uint8]string {
	out := map[uint8]string{}
	for _, a := range attrs {
		n, v, ok := strings.Cut(a, ":")
		if !ok || !strings.EqualFold(strings.TrimSpace(n), name) {
			continue
		}
		v = strings.TrimSpace(v)
		end := strings.IndexAny(v, " \t")
		if end < 0 {
			continue
		}
		pt, err := strconv.ParseUint(v[:end], 10, 7)
		if _, seen := out[uint8(pt)]; err == nil && !seen {
			out[uint8(pt)] = strings.TrimSpace(v[end:])
		}
	}
	return out
}

// rtpmap reads "opus/48000/2" over f. Parts that are missing or absurd leave
// what a static payload type of that number would have.
func rtpmap(f Format, v string) Format {
	part := strings.Split(strings.Fields(v)[0], "/")
	enc := strings.ToUpper(part[0])
	if enc != f.Encoding {
		f = Format{PT: f.PT, Encoding: enc, Channels: 1}
	}
	if len(part) > 1 {
		if n, err := strconv.Atoi(part[1]); err == nil && n > 0 && n <= 384000 {
			f.Clock = n
		}
	}
	if len(part) > 2 {
		if n, err := strconv.Atoi(part[2]); err == nil && n > 0 && n <= 8 {
			f.Channels = n
		}
	}
	return f
}

// static gives the audio payload types of RFC 3551 section 6. PT 19 is
// reserved there; Cisco gateways use it for comfort noise, as a draft did.
func static(pt uint8) Format {
	f := Format{PT: pt, Clock: 8000, Channels: 1}
	switch pt {
	case 0:
		f.Encoding = "PCMU"
	case 3:
		f.Encoding = "GSM"
	case 4:
		f.Encoding = "G723"
	case 8:
		f.Encoding = "PCMA"
	case 9:
		f.Encoding = "G722" // clock 8000 by an old mistake; the audio is 16 kHz
	case 10:
		f.Encoding, f.Clock, f.Channels = "L16", 44100, 2
	case 11:
		f.Encoding, f.Clock = "L16", 44100
	case 13, 19:
		f.Encoding = "CN"
	case 15:
		f.Encoding = "G728"
	case 18:
		f.Encoding = "G729"
	default:
		f.Clock = 0
	}
	return f
}
