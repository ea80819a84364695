package policy

import (
	"net/netip"
	"net/url"
	"strings"
)

// Lengths of numbers in digits.
const (
	maxDigits      = 15 // E.164 section 6: the longest international number
	minNational    = 7  // shorter than this, a leading trunk prefix is no trunk prefix
	minLocal       = 6  // locally dialled numbers, without area code
	maxLocal       = 8
	maxWithoutPlus = 10 // longer than this, digits alone are an international number
)

// extensionPrefix marks the canonical form of a bare extension.
const extensionPrefix = "ext:"

// Normalise reads a number however a recording client writes it (sip:, sips:
// and tel: URIs, digits@host, national, international and local forms,
// punctuation, "(0)", 3GPP and RFC 3966 parameters) and gives its canonical
// form: "+" and country code, "ext:" and digits for a bare extension, a code
// with * or # as it is, short service numbers as plain digits. It gives "" for
// what is not a number: names, addresses, "anonymous".
func (n Numbering) Normalise(value string) string {
	user, params := userPart(value)
	text, ok := compact(withoutExtensionWord(user))
	if !ok {
		return ""
	}
	if strings.ContainsAny(text, "*#") {
		if strings.ContainsAny(text, "+()") {
			return ""
		}
		return text
	}
	digits, plus, ok := digitsOf(text)
	if !ok {
		return ""
	}
	if !plus {
		if c := n.inContext(digits, params); c != "" {
			return limited(c)
		}
	}
	return limited(n.read(digits, plus))
}

// limited drops what is longer than any number.
func limited(canonical string) string {
	if len(strings.TrimPrefix(canonical, "+")) > maxDigits {
		return ""
	}
	return canonical
}

// read gives the canonical form of digits that have no parameters.
func (n Numbering) read(digits string, plus bool) string {
	if plus && digits[0] != '0' { // no country code begins with 0: such a plus is decoration
		return n.international(digits)
	}
	if n.Extension > 0 && len(digits) == n.Extension {
		return extensionPrefix + digits
	}
	if rest, ok := strings.CutPrefix(digits, "00"); ok && len(rest) >= minNational && rest[0] != '0' {
		return n.international(rest)
	}
	if n.Trunk != "" && strings.HasPrefix(digits, n.Trunk) {
		if rest, ok := n.withoutTrunk(digits); ok {
			return "+" + n.Country + rest
		}
		return digits // a service number, or nothing that can be dialled
	}
	return n.bare(digits)
}

// bare reads digits without any prefix by their length.
func (n Numbering) bare(digits string) string {
	switch size := len(digits); {
	case size > maxWithoutPlus:
		return n.international(digits)
	case size > maxLocal:
		return "+" + n.Country + digits
	case size >= minLocal && n.Area != "":
		return "+" + n.Country + n.Area + digits
	}
	return digits
}

// international writes digits that begin with a country code; a trunk prefix
// that was left standing behind our own country code is dropped.
func (n Numbering) international(digits string) string {
	if own, ok := strings.CutPrefix(digits, n.Country); ok && n.Country != n.Trunk {
		if rest, ok := n.withoutTrunk(own); ok {
			return "+" + n.Country + rest
		}
	}
	return "+" + digits
}

// withoutTrunk takes the trunk prefix off a national number. It is false
// where there is none, or what follows is no national number.
func (n Numbering) withoutTrunk(digits string) (string, bool) {
	rest, ok := strings.CutPrefix(digits, n.Trunk)
	return rest, ok && n.Trunk != "" && len(rest) >= minNational && !strings.HasPrefix(rest, n.Trunk)
}

// inContext reads digits without a plus by their parameters: 3GPP's
// noa=international and RFC 3966's phone-context. It gives "" when the
// parameters add nothing.
func (n Numbering) inContext(digits string, params map[string]string) string {
	if digits[0] == '0' || n.Trunk != "" && strings.HasPrefix(digits, n.Trunk) {
		return "" // a prefix says more than a parameter
	}
	if strings.EqualFold(params["noa"], "international") && len(digits) >= minNational {
		return n.international(digits)
	}
	context, ok := strings.CutPrefix(params["phone-context"], "+")
	if !ok || !allDigits(context) || strings.HasPrefix(context, "0") {
		return ""
	}
	if !strings.HasPrefix(context, n.Country) { // somewhere else: never one of our extensions
		return "+" + context + digits
	}
	if len(context)+len(digits) < len(n.Country)+minNational {
		return ""
	}
	return n.international(context + digits)
}

// userPart cuts what may be the number out of an address, and gives the
// address's parameters, names in lower case. A bare host or IP address has no
// user part.
func userPart(value string) (user string, params map[string]string) {
	s := strings.TrimSpace(value)
	if _, in, ok := strings.Cut(s, "<"); ok { // name-addr, RFC 3261 section 25.1
		s, _, _ = strings.Cut(in, ">")
		s = strings.TrimSpace(s)
	}
	s = withoutScheme(s)
	user, _, hasHost := strings.Cut(s, "@")
	if !hasHost {
		user, _, _ = strings.Cut(user, "?")
	}
	user, raw, _ := strings.Cut(user, ";")
	if hasHost {
		user, _, _ = strings.Cut(user, ":") // password, RFC 3261 section 19.1.1
	} else if isAddress(user) {
		return "", nil
	}
	return unescape(strings.TrimSpace(user)), parameters(raw)
}

func withoutScheme(s string) string {
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok {
		return s
	}
	switch strings.ToLower(strings.TrimSpace(scheme)) {
	case "sip", "sips", "tel":
		return strings.TrimSpace(strings.TrimPrefix(rest, "//"))
	}
	return s
}

// isAddress tells 10.0.0.5 and 10.0.0.5:5060 from a number written with dots.
func isAddress(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	_, err := netip.ParseAddrPort(s)
	return err == nil
}

func parameters(raw string) map[string]string {
	params := map[string]string{}
	for p := range strings.SplitSeq(raw, ";") {
		name, value, _ := strings.Cut(p, "=")
		params[strings.ToLower(strings.TrimSpace(name))] = strings.TrimSpace(value)
	}
	return params
}

// unescape undoes %-escapes; text with a broken one stays as it is.
func unescape(s string) string {
	if u, err := url.PathUnescape(s); err == nil {
		return u
	}
	return s
}

// withoutExtensionWord turns "Extension-7050" into "7050".
func withoutExtensionWord(s string) string {
	lower := strings.ToLower(s)
	for _, word := range []string{"extension", "ext"} {
		if strings.HasPrefix(lower, word) {
			return strings.TrimLeft(s[len(word):], "-_.:= ")
		}
	}
	return s
}

// compact drops visual separators (RFC 3966 section 5.1.1 and what people
// type) and keeps digits, plus, star, hash and brackets. It is false for
// anything else.
func compact(s string) (string, bool) {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r >= '0' && r <= '9', strings.ContainsRune("+*#()", r):
			b.WriteRune(r)
		case strings.ContainsRune(" \t-./\u00a0\u2009\u202f\u2010\u2011\u2012\u2013\u2014", r):
		default:
			return "", false
		}
	}
	return b.String(), b.Len() > 0
}

// digitsOf takes the plus and the brackets off compact text. "(0)" behind a
// country code is the trunk prefix that is not dialled from abroad.
func digitsOf(s string) (digits string, plus, ok bool) {
	if before, after, found := strings.Cut(s, "(0)"); found && isCountryPrefix(before) {
		s = before + after
	}
	s = withoutBrackets(s)
	digits, plus = strings.CutPrefix(s, "+")
	return digits, plus, digits != "" && allDigits(digits)
}

func withoutBrackets(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "(", ""), ")", "")
}

// isCountryPrefix recognises +44 and 0044, with one to three digits.
func isCountryPrefix(s string) bool {
	s = withoutBrackets(s)
	code, ok := strings.CutPrefix(s, "+")
	if !ok {
		code, ok = strings.CutPrefix(s, "00")
	}
	return ok && len(code) >= 1 && len(code) <= 3 && allDigits(code)
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
