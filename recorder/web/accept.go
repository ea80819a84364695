package web

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// A form is one way to show the status.
type form string

const (
	formJSON   form = "application/json"
	formHTML   form = "text/html"
	formNDJSON form = "application/x-ndjson"
	formSSE    form = "text/event-stream"
	formPage   form = "page" // SSE of rendered HTML, for our own script
)

// offers is in the order in which ties are decided: curl without headers
// sends */* and gets JSON.
func offers() []form { return []form{formJSON, formHTML, formNDJSON, formSSE} }

// chooseForm picks the form that the client likes best (RFC 9110 section
// 12.5.1). A client that accepts nothing of ours gets JSON rather than 406:
// it can still be read.
func chooseForm(r *http.Request) (form, bool) {
	q := r.URL.Query()
	switch q.Get("follow") {
	case "":
	case "ndjson":
		return formNDJSON, true
	case "sse":
		return formSSE, true
	case "page":
		return formPage, true
	default:
		return "", false
	}
	best, bestQ := formJSON, 0.0
	ranges := parseAccept(r.Header.Values("Accept"))
	for _, f := range offers() {
		if q := quality(ranges, f); q > bestQ {
			best, bestQ = f, q
		}
	}
	return best, true
}

// A mediaRange is one member of an Accept header.
type mediaRange struct {
	kind string // "text/html", "text/*" or "*/*"
	q    float64
}

func parseAccept(values []string) []mediaRange {
	var out []mediaRange
	for _, part := range strings.Split(strings.Join(values, ","), ",") {
		kind, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		q := 1.0
		if v, ok := params["q"]; ok {
			if q, err = strconv.ParseFloat(v, 64); err != nil || q < 0 || q > 1 {
				continue
			}
		}
		out = append(out, mediaRange{kind, q})
	}
	return out
}

// quality is the weight of f: the most specific range that matches decides.
func quality(ranges []mediaRange, f form) float64 {
	major, _, _ := strings.Cut(string(f), "/")
	specificity, q := 0, 0.0
	for _, m := range ranges {
		s := 0
		switch m.kind {
		case string(f):
			s = 3
		case major + "/*":
			s = 2
		case "*/*":
			s = 1
		}
		if s > specificity {
			specificity, q = s, m.q
		}
	}
	return q
}
