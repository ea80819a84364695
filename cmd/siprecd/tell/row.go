package tell

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"siprecd/recorder/web"
	"siprecd/store"
)

// RowHead are the headings of what Row writes, with tabs between.
const RowHead = "STARTED (UTC)\tLENGTH\tSTATE\tLINE\tCALLER\tCALLED\tAGENT\tID\tNOTES"

// Row writes one recording as a row of a list. Names and numbers came from outside: they must
// not reach the terminal as they are.
func Row(w io.Writer, r store.Row) {
	line := r.Line
	if r.Queue != "" {
		line += " > " + r.Queue
	}
	notes := r.Flags
	if r.Interrupted {
		notes = append([]string{"interrupted"}, notes...)
	}
	cells := []string{
		r.Started.UTC().Format(time.DateTime), Length(r.Duration), string(r.State), line,
		user(r.Caller), user(r.Called), user(r.Agent), r.ID, strings.Join(notes, ", "),
	}
	for i, c := range cells {
		cells[i] = cmp.Or(web.Plain(c), "-")
	}
	if len(notes) == 0 {
		cells[len(cells)-1] = ""
	}
	fmt.Fprintln(w, strings.Join(cells, "\t"))
}

// user is the part of an address that people read: 02079460123 of
// sip:02079460123@example.org.
func user(address string) string {
	for _, scheme := range []string{"sip:", "sips:", "tel:"} {
		if rest, ok := strings.CutPrefix(address, scheme); ok {
			name, _, _ := strings.Cut(rest, "@")
			return name
		}
	}
	return address
}
