package tell

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"siprecd/recorder"
	"siprecd/recorder/web"
)

// Account writes a day's account as a table, or as one JSON object.
func Account(w io.Writer, d recorder.Day, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(d)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", d.Date)
	if d.All.Offered == 0 {
		b.WriteString("no call was offered\n")
	} else {
		t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "LINE\tOFFERED\tRECORDED\tCAPTURED\tFINISHED\tINTERRUPTED\tLENGTH\tGAPS\tLOST\tREFUSED\tFLAGGED")
		for _, l := range d.Lines {
			accountRow(t, cmp.Or(web.Plain(l.Name), "(not known)"), l)
		}
		accountRow(t, "ALL", d.All)
		_ = t.Flush() // into memory
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

func accountRow(w io.Writer, name string, l recorder.Line) {
	fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%d\t%d\t%s\t%.1f s\t%d\t%s\t%s\n", name, l.Offered, l.Recorded, web.Share(l.Captured),
		l.Finished, l.Interrupted, Length(l.Seconds), l.GapSeconds, l.Lost, counts(l.Refused), counts(l.Flagged))
}

// counts lists what was counted by reason.
func counts(m map[string]uint64) string {
	var out []string
	for _, why := range slices.Sorted(maps.Keys(m)) {
		out = append(out, fmt.Sprintf("%d %s", m[why], web.Plain(why)))
	}
	return strings.Join(out, ", ")
}
