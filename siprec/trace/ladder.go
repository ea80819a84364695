package trace

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// The ladder's measures, in columns.
const (
	ladderTime = 13 // 14:03:27.123 and a space
	ladderRung = 40 // the arrow with its words
)

// WriteLadder draws a dialog for a terminal: who said what when, what the
// bodies describe, and between them what happened to the media.
func (d Dialog) WriteLadder(w io.Writer, events []Event) error {
	l := ladder{events: events}
	if len(d.Messages) > 0 {
		m := d.Messages[0]
		fmt.Fprintf(&l.out, "%*s%s  %s  %s\n", ladderTime, "", m.Peer(), strings.ToUpper(m.Network), other(m))
	}
	for i, m := range d.Messages {
		l.until(m.At)
		l.message(m)
		if i == opening-1 && d.LeftOut > 0 {
			l.note(fmt.Sprintf("(%d messages are no longer remembered)", d.LeftOut))
		}
	}
	for _, e := range l.events {
		l.event(e)
	}
	_, err := io.WriteString(w, l.out.String())
	return err
}

// other is the recorder's own address.
func other(m Message) string {
	if m.Out {
		return m.From.String()
	}
	return m.To.String()
}

// ladder is a ladder that is being drawn.
type ladder struct {
	out    strings.Builder
	events []Event // not drawn yet
}

// until draws the events before an instant.
func (l *ladder) until(at time.Time) {
	for len(l.events) > 0 && l.events[0].At.Before(at) {
		l.event(l.events[0])
		l.events = l.events[1:]
	}
}

func (l *ladder) event(e Event) {
	fmt.Fprintf(&l.out, "%s · %s: %s\n", clock(e.At), oneWord(e.Kind), oneWord(e.Text))
}

func (l *ladder) note(text string) { fmt.Fprintf(&l.out, "%*s   %s\n", ladderTime-1, "", text) }

func (l *ladder) message(m Message) {
	h := ReadHead(m.Raw)
	words, cseq := oneWord(h.Method), ""
	if h.Status > 0 {
		cseq = words + " "
		words = oneWord(fmt.Sprintf("%d %s", h.Status, h.Reason))
	}
	rung := "──" + " " + words + " "
	rung += strings.Repeat("─", max(2, ladderRung-utf8.RuneCountInString(rung)))
	if m.Out {
		rung = "◄" + rung
	} else {
		rung += "►"
	}
	fmt.Fprintf(&l.out, "%s %s %s%d\n", clock(m.At), rung, cseq, h.CSeq)
	for _, s := range m.Summary() {
		l.note(s)
	}
	if h.Warning != "" {
		l.note("warning: " + oneWord(h.Warning))
	}
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }

// WriteRaw writes the messages whole, each under a line that says when it
// passed from where to where. Keys are overwritten, as everywhere here, and
// control characters go: the text is for a terminal.
func (d Dialog) WriteRaw(w io.Writer) error {
	var b strings.Builder
	for _, m := range d.Messages {
		fmt.Fprintf(&b, "──── %s  %s  %s → %s\n", m.At.UTC().Format(time.RFC3339Nano), m.Network, m.From, m.To)
		for line := range strings.Lines(string(m.Raw)) {
			b.WriteString(strings.TrimRight(plain(line), " "))
			b.WriteByte('\n')
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// plain is a line without what a terminal would act on.
func plain(line string) string {
	var out []rune
	for _, r := range strings.ToValidUTF8(line, "\uFFFD") {
		switch {
		case r == '\t':
			out = append(out, ' ', ' ')
		case r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || slices.Contains(reordering(), r):
		default:
			out = append(out, r)
		}
	}
	return string(out)
}

// reordering are the characters that change the direction of text.
func reordering() []rune {
	return []rune{0x061c, 0x200e, 0x200f, 0x202a, 0x202b, 0x202c, 0x202d, 0x202e, 0x2066, 0x2067, 0x2068, 0x2069}
}
