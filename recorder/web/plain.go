package web

import (
	"strings"
	"unicode"
)

// maxPlain is where Plain cuts, in runes.
const maxPlain = 256

// Plain makes foreign text safe to show in one line of a terminal, a log or a
// page: no control characters (C0, C1, so no escape sequences or line
// breaks), no bidirectional overrides, nothing invisible, at most 256 runes.
func Plain(s string) string {
	var b strings.Builder
	n := 0
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		if n == maxPlain {
			b.WriteRune('…')
			break
		}
		switch {
		case unicode.IsSpace(r):
			r = ' '
		case unicode.Is(unicode.Cf, r):
			continue // bidi controls, zero-width characters, soft hyphens
		case !unicode.IsPrint(r):
			r = '\uFFFD'
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}
