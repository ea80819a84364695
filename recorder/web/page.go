package web

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"siprecd/recorder"
)

// contentSecurityPolicy allows our own files and nothing else: no inline
// script or style, no frame, no form.
const contentSecurityPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; " +
	"img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

//go:embed assets
var files embed.FS

// page renders the status for people. The server renders it first, and then
// renders the same template again for each event that the script follows, so
// that there is one description of the page and not two.
type page struct{ tmpl *template.Template }

func newPage() *page {
	t := template.New("").Funcs(template.FuncMap{
		"plain": Plain,
		"count": count,
		"bytes": size,
		"long":  long,
		"part":  func(v float64) string { return percent(uint64(1000*v), 1000) },
		"share": Share,
		"all": func(l recorder.Line) recorder.Line {
			l.Name = "All"
			return l
		},
		"clock": func(t time.Time) string { return t.UTC().Format("15:04:05") },
		"day":   func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") },
		"iso":   func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	})
	return &page{template.Must(t.ParseFS(files, "assets/*.html"))}
}

// assets serves what the page needs, out of the binary.
func (p *page) assets() http.Handler {
	sub, err := fs.Sub(files, "assets")
	if err != nil {
		panic(err) // the folder is embedded under this name
	}
	server := http.StripPrefix("/assets/", http.FileServerFS(sub))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/assets/status.css", "/assets/status.js", "/assets/ok.svg", "/assets/problem.svg":
			w.Header().Set("Cache-Control", "no-cache")
			server.ServeHTTP(w, r)
		default:
			notFound(w, r)
		}
	})
}

func (p *page) render(name string, st recorder.Status) ([]byte, error) {
	var b bytes.Buffer
	err := p.tmpl.ExecuteTemplate(&b, name, newView(st))
	return b.Bytes(), err
}

// view is a status as the page words it.
type view struct {
	recorder.Status
	Uptime    float64 // seconds
	DiskUsed  string  // per cent
	Legs      int
	Calls     []callView
	Decisions []tally
	Refusals  []tally
}

type callView struct {
	recorder.LiveCall
	Legs []legView
}

type legView struct {
	recorder.Leg
	Loss    string // per cent
	Level   string
	Bar     int    // 0 to 60, the length of the level's bar
	State   string // one or two words
	Trouble bool
	Notes   []string
}

type tally struct {
	Reason string
	Count  uint64
}

func newView(st recorder.Status) view {
	v := view{
		Status:    st,
		Uptime:    st.At.Sub(st.Started).Seconds(),
		Decisions: tallies(st.Decisions),
		Refusals:  tallies(st.Refusals),
	}
	if st.Disk.TotalBytes > 0 {
		v.DiskUsed = percent(st.Disk.TotalBytes-min(st.Disk.FreeBytes, st.Disk.TotalBytes), st.Disk.TotalBytes)
	}
	for _, c := range st.Calls {
		cv := callView{LiveCall: c}
		for _, leg := range c.Legs {
			cv.Legs = append(cv.Legs, newLegView(leg))
			v.Legs++
		}
		v.Calls = append(v.Calls, cv)
	}
	return v
}

func newLegView(leg recorder.Leg) legView {
	v := legView{Leg: leg, Loss: percent(leg.Lost, leg.Packets+leg.Lost), Level: "−∞"}
	if leg.LevelDB > silenceDBov {
		v.Level = strings.Replace(fmt.Sprintf("%.0f", leg.LevelDB), "-", "−", 1)
	}
	v.Bar = int(math.Round(min(max(leg.LevelDB+60, 0), 60))) // −60 dBov and less: empty
	switch {
	case leg.Alarm != "":
		v.State, v.Trouble = strings.ToUpper(leg.Alarm[:1])+leg.Alarm[1:], true
	case leg.NoMedia:
		v.State, v.Trouble = "No media", true
	case leg.Hold:
		v.State = "On hold"
	case leg.Packets == 0:
		v.State = "Waiting"
	case leg.SilentSeconds >= 10:
		v.State = "Silent"
	default:
		v.State = "Audio"
	}
	for _, n := range []tally{
		{"late", leg.Late}, {"duplicate", leg.Duplicate},
		{"from a wrong source", leg.WrongSource}, {"of a codec not agreed", leg.NotAgreed},
	} {
		if n.Count > 0 {
			v.Notes = append(v.Notes, count(n.Count)+" "+n.Reason)
		}
	}
	return v
}

// tallies puts the most frequent first.
func tallies(m map[string]uint64) []tally {
	out := make([]tally, 0, len(m))
	for reason, n := range m {
		out = append(out, tally{reason, n})
	}
	slices.SortFunc(out, func(a, b tally) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason))
	})
	return out
}

// percent has one decimal below ten, so that little loss is not shown as none.
func percent(part, whole uint64) string {
	if whole == 0 || part == 0 {
		return "0 %"
	}
	p := 100 * float64(part) / float64(whole)
	switch {
	case p < 0.1:
		return "<0.1 %"
	case p < 10:
		return strconv.FormatFloat(p, 'f', 1, 64) + " %"
	}
	return strconv.FormatFloat(p, 'f', 0, 64) + " %"
}

// Share is a part of one, in per cent; never 100 when something is missing.
func Share(of *float64) string {
	if of == nil {
		return "–"
	}
	if *of < 1 {
		return strconv.FormatFloat(math.Floor(*of*10000)/100, 'f', 2, 64) + " %"
	}
	return "100 %"
}

// count groups thousands with a thin space that does not break.
func count(v any) string {
	s := fmt.Sprint(v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

// size writes bytes in the decimal units that disks are sold in.
func size(v any) string {
	n, _ := strconv.ParseFloat(fmt.Sprint(v), 64)
	units := []string{"B", "kB", "MB", "GB", "TB", "PB"}
	i := 0
	for n >= 1000 && i < len(units)-1 {
		n, i = n/1000, i+1
	}
	if i == 0 || n >= 100 {
		return fmt.Sprintf("%.0f %s", n, units[i])
	}
	return fmt.Sprintf("%.1f %s", n, units[i])
}

// long writes seconds as m:ss, h:mm:ss or days.
func long(seconds float64) string {
	d := time.Duration(max(seconds, 0) * float64(time.Second)).Truncate(time.Second)
	h, m, s := int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60
	switch {
	case h >= 48:
		return fmt.Sprintf("%d d %d h", h/24, h%24)
	case h > 0:
		return fmt.Sprintf("%d:%02d:%02d", h, m, s)
	}
	return fmt.Sprintf("%d:%02d", m, s)
}
