package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Validate lists what is wrong with a policy, errors and warnings, in the
// order of the policy. Windows that ended before now get a warning; a zero now
// leaves that out.
func (p *Policy) Validate(now time.Time) []Problem {
	v := validator{policy: p, now: now, numbers: map[string]string{}, extensions: map[string]string{}, names: map[string]string{}}
	v.place()
	if len(p.Lines) == 0 {
		v.fail("lines", "no line is listed, so no call would be recorded")
	}
	lines := names{}
	for i, l := range p.Lines {
		key := fmt.Sprintf("lines.%d", i)
		v.name(lines, key, l.Name)
		v.line(key, l)
	}
	return v.problems
}

// validator gathers problems; its maps say where a number or name was first
// used, by name of line or queue.
type validator struct {
	policy     *Policy
	now        time.Time
	loc        *time.Location
	problems   []Problem
	numbers    map[string]string
	extensions map[string]string
	names      map[string]string
}

// names are those already used beside one another, folded.
type names map[string]bool

func (v *validator) fail(key, format string, args ...any) {
	v.problems = append(v.problems, Problem{Error, key, fmt.Sprintf(format, args...)})
}

func (v *validator) warn(key, format string, args ...any) {
	v.problems = append(v.problems, Problem{Warning, key, fmt.Sprintf(format, args...)})
}

// place checks everything but the lines.
func (v *validator) place() {
	p := v.policy
	loc, err := time.LoadLocation(p.Timezone)
	if err != nil || p.Timezone == "" || p.Timezone == "Local" {
		v.fail("timezone", "unknown time zone %q: write an IANA name, for example Europe/London", p.Timezone)
		loc = time.UTC
	}
	v.loc = loc
	v.numbering(p.Numbering)
	if p.Unlisted != "accept" && p.Unlisted != "refuse" {
		v.fail("unlisted", "%q is neither accept nor refuse", p.Unlisted)
	}
	for i, f := range p.KeepMetadata {
		single := f == "all" || f == "none"
		if single && len(p.KeepMetadata) > 1 || !single && !slices.Contains(Fields(), f) {
			v.fail(fmt.Sprintf("keep_metadata.%d", i), "%q: write all, or none, or some of %s", f, strings.Join(Fields(), ", "))
		}
	}
}

func (v *validator) numbering(n Numbering) {
	if !isCode(n.Country, 3) || n.Country == "" || n.Country[0] == '0' {
		v.fail("numbering.country", "%q is not a country code: write one to three digits without plus or zeros, for example 44", n.Country)
	}
	if !isCode(n.Trunk, 3) {
		v.fail("numbering.trunk", "%q is not a national prefix: write up to three digits, for example 0", n.Trunk)
	}
	if !isCode(n.Area, 5) {
		v.fail("numbering.area", "%q is not an area code: write up to five digits, for example 20", n.Area)
	} else if n.Trunk != "" && strings.HasPrefix(n.Area, n.Trunk) {
		v.fail("numbering.area", "%q begins with the national prefix %q: leave that out", n.Area, n.Trunk)
	}
	if n.Extension != 0 && (n.Extension < 2 || n.Extension >= minLocal) {
		v.fail("numbering.extension", "%d is not a length of extensions: write 2 to %d, or 0 for none", n.Extension, minLocal-1)
	}
}

// isCode is whether s is digits, and not too many.
func isCode(s string, longest int) bool { return len(s) <= longest && allDigits(s) }

// name checks that a name is there and stands once among its neighbours.
func (v *validator) name(used names, key, name string) {
	folded := fold(name)
	switch {
	case folded == "":
		v.fail(key+".name", "a name is needed")
	case used[folded]:
		v.fail(key+".name", "the name %q is used twice", name)
	}
	used[folded] = true
}

func (v *validator) line(key string, l Line) {
	v.number(key+".number", l.Number, l.Name)
	switch {
	case l.Always && len(l.Windows) > 0:
		v.fail(key+".windows", "windows have no effect on a line that is always recorded: remove them, or write record: campaigns")
	case !l.Always && len(l.Windows) == 0:
		v.warn(key+".windows", "the line %q is recorded during campaigns only and no window is listed, so it is never recorded", l.Name)
	}
	windows, queues := names{}, names{}
	for i, w := range l.Windows {
		k := fmt.Sprintf("%s.windows.%d", key, i)
		v.name(windows, k, w.Name)
		v.window(k, w)
	}
	for i, q := range l.Queues {
		k := fmt.Sprintf("%s.queues.%d", key, i)
		v.name(queues, k, q.Name)
		v.match(k+".match", l.Name+": "+q.Name, q.Match)
	}
}

// match checks how a queue is recognised.
func (v *validator) match(key, owner, match string) {
	if match == "" {
		return
	}
	if v.policy.Numbering.Normalise(match) != "" {
		v.number(key, match, owner)
		return
	}
	folded := fold(match)
	if folded == "" {
		v.fail(key, "%q is neither a number nor a name", match)
		return
	}
	if first, taken := v.names[folded]; taken {
		v.fail(key, "%q is also how %q is recognised", match, first)
		return
	}
	v.names[folded] = owner
}

// number checks that a number can be read and belongs to one owner.
func (v *validator) number(key, number, owner string) {
	n := v.policy.Numbering
	canonical := n.Normalise(number)
	switch {
	case canonical == "":
		v.fail(key, "%q is not a telephone number", number)
		return
	case allDigits(canonical):
		v.fail(key, "%q is too short for a number and not as long as an extension", number)
		return
	}
	if first, taken := v.numbers[canonical]; taken {
		v.fail(key, "%q is also the number of %q (both are %s)", number, first, canonical)
		return
	}
	v.numbers[canonical] = owner
	v.length(key, number, canonical)
	v.extension(key, canonical, owner)
}

// length warns of British numbers that look mistyped: nearly all have ten
// digits behind +44 (a few old ones have nine), and a line whose number lacks
// a digit would never be recorded.
func (v *validator) length(key, number, canonical string) {
	national, ok := strings.CutPrefix(canonical, "+44")
	if ok && len(national) != 10 {
		v.warn(key, "%q is read as %s, which has %d digits behind +44 instead of 10", number, canonical, len(national))
	}
}

// extension warns when a bare extension could mean two numbers.
func (v *validator) extension(key, canonical, owner string) {
	ext := canonical
	if !strings.HasPrefix(canonical, extensionPrefix) {
		ext = v.policy.Numbering.extension(canonical)
	}
	if ext == "" {
		return
	}
	if first, taken := v.extensions[ext]; taken {
		v.warn(key, "the extension %s is that of %q too; where a client sends it alone, %q is meant",
			strings.TrimPrefix(ext, extensionPrefix), first, first)
		return
	}
	v.extensions[ext] = owner
}

func (v *validator) window(key string, w Window) {
	s, bad := w.read()
	for _, p := range bad {
		v.fail(key+"."+p.Key, "%s", p.Text)
	}
	if len(bad) > 0 {
		return
	}
	if !s.occurs() {
		v.warn(key+".days", "none of these days lies between %s and %s, so the window never opens", w.From, w.To)
	}
	if !v.now.IsZero() && dateOf(v.now.In(v.loc)).After(s.to) {
		v.warn(key+".to", "the window %q ended on %s, which is past", w.Name, w.To)
	}
}
