package prove

import (
	"bytes"
	"encoding/base64"

	"siprecd/store/audit"
)

// sigLine is how the signature line of a note begins (C2SP signed-note).
const sigLine = "\n\n— "

// findNotes finds the checkpoints in a text: notes one after another, as files
// hold them, and lines of a system log. What it returns is not yet checked.
func findNotes(text []byte) (notes [][]byte) {
	rest := text
	for {
		at := bytes.Index(rest, []byte(sigLine))
		if at < 0 {
			break
		}
		end := bytes.IndexByte(rest[at+2:], '\n')
		if end < 0 {
			break
		}
		end += at + 2 + 1
		start := at
		for range 3 { // our checkpoints have three lines of text
			start = bytes.LastIndexByte(rest[:max(0, start)], '\n')
		}
		start++
		notes = append(notes, rest[start:end])
		rest = rest[end:]
	}
	for line := range bytes.Lines(text) {
		_, code, found := bytes.Cut(line, []byte(audit.NoteWord))
		if code, _, _ = bytes.Cut(bytes.TrimSpace(code), []byte(" ")); !found {
			continue
		}
		if n, err := base64.StdEncoding.AppendDecode(nil, code); err == nil && bytes.Contains(n, []byte(sigLine)) { // else another program's word
			notes = append(notes, n)
		}
	}
	return notes
}
