package policy

import (
	"strings"
	"testing"
	"time"
)

func TestValidateAcceptsThePolicy(t *testing.T) {
	p := council()
	problems := p.Validate(instant(t, "2026-11-23T12:00:00Z"))
	if len(problems) != 1 || problems[0].Severity != Warning || problems[0].Key != "lines.5.windows" {
		t.Fatalf("%+v, want only the warning about the line without a window", problems)
	}
}

func TestValidate(t *testing.T) {
	window := func(w Window) func(*Policy) {
		return func(p *Policy) { p.Lines[1].Windows = []Window{w} }
	}
	for _, tt := range []struct {
		name     string
		break_   func(*Policy)
		severity Severity
		key      string
		text     string
	}{
		{"unknown zone", func(p *Policy) { p.Timezone = "Europe/Ealing" }, Error, "timezone", "Europe/Ealing"},
		{"no zone", func(p *Policy) { p.Timezone = "" }, Error, "timezone", "unknown"},
		{"the host's zone", func(p *Policy) { p.Timezone = "Local" }, Error, "timezone", "Local"},
		{"country with plus", func(p *Policy) { p.Numbering.Country = "+44" }, Error, "numbering.country", "+44"},
		{"no country", func(p *Policy) { p.Numbering.Country = "" }, Error, "numbering.country", "country code"},
		{"trunk", func(p *Policy) { p.Numbering.Trunk = "zero" }, Error, "numbering.trunk", "zero"},
		{"area with trunk", func(p *Policy) { p.Numbering.Area = "020" }, Error, "numbering.area", "national prefix"},
		{"area", func(p *Policy) { p.Numbering.Area = "London" }, Error, "numbering.area", "London"},
		{"extension", func(p *Policy) { p.Numbering.Extension, p.Lines = 12, p.Lines[:4] }, Error, "numbering.extension", "12"},
		{"unlisted", func(p *Policy) { p.Unlisted = "drop" }, Error, "unlisted", "drop"},
		{"no lines", func(p *Policy) { p.Lines = nil }, Error, "lines", "no line"},
		{"no name", func(p *Policy) { p.Lines[2].Name = " " }, Error, "lines.2.name", "needed"},
		{"name twice", func(p *Policy) { p.Lines[2].Name = "council TAX" }, Error, "lines.2.name", "twice"},
		{"no number", func(p *Policy) { p.Lines[0].Number = "" }, Error, "lines.0.number", "not a telephone number"},
		{"a name as number", func(p *Policy) { p.Lines[0].Number = "council tax" }, Error, "lines.0.number", "not a telephone number"},
		{"too short", func(p *Policy) { p.Lines[0].Number = "705" }, Error, "lines.0.number", "too short"},
		{"number twice", func(p *Policy) { p.Lines[2].Number = "+44 (0)20 8825 7050" }, Error, "lines.2.number", `"Council tax"`},
		{"queue has a line's number", func(p *Policy) { p.Lines[3].Queues[2].Match = "2088257050" }, Error, "lines.3.queues.2.match", `"Council tax"`},
		{"same extension", func(p *Policy) { p.Lines[2].Number = "020 7946 7050" }, Warning, "lines.2.number", "7050"},
		{"extension of another line", func(p *Policy) { p.Lines[2].Number = "7050" }, Warning, "lines.2.number", `"Council tax"`},
		{"British number too long", func(p *Policy) { p.Lines[0].Number = "020 8825 70501" }, Warning, "lines.0.number", "digits"},
		{"British number too short", func(p *Policy) { p.Lines[0].Number = "020 8825 705" }, Warning, "lines.0.number", "9 digits"},
		{"queue without name", func(p *Policy) { p.Lines[3].Queues[0].Name = "" }, Error, "lines.3.queues.0.name", "needed"},
		{"queue twice", func(p *Policy) { p.Lines[3].Queues[0].Name = "Compliance" }, Error, "lines.3.queues.2.name", "twice"},
		{"queue name matched twice", func(p *Policy) { p.Lines[3].Queues[0].Match = "taf-desk" }, Error, "lines.3.queues.3.match", "Acquisitions"},
		{"queue match of nothing", func(p *Policy) { p.Lines[3].Queues[0].Match = "--" }, Error, "lines.3.queues.0.match", "neither"},
		{"always with windows", func(p *Policy) { p.Lines[1].Always = true }, Error, "lines.1.windows", "no effect"},
		{"campaigns without windows", func(p *Policy) { p.Lines[1].Windows = nil }, Warning, "lines.1.windows", "never recorded"},
		{"window without name", window(Window{From: "2027-01-01", To: "2027-01-02"}), Error, "lines.1.windows.0.name", "needed"},
		{"window twice", func(p *Policy) { p.Lines[1].Windows[1].Name = "spring" }, Error, "lines.1.windows.1.name", "twice"},
		{"from after to", window(Window{Name: "x", From: "2027-05-02", To: "2027-05-01"}), Error, "lines.1.windows.0.to", "before it begins"},
		{"bad from", window(Window{Name: "x", From: "2027-02-30", To: "2027-05-01"}), Error, "lines.1.windows.0.from", "2027-02-30"},
		{"bad to", window(Window{Name: "x", From: "2027-02-20", To: "1/5/2027"}), Error, "lines.1.windows.0.to", "1/5/2027"},
		{"no dates", window(Window{Name: "x"}), Error, "lines.1.windows.0.from", "not a date"},
		{"past", window(Window{Name: "x", From: "2026-05-01", To: "2026-11-22"}), Warning, "lines.1.windows.0.to", "past"},
		{"bad day", window(Window{Name: "x", From: "2027-05-01", To: "2027-05-09", Days: []string{"mon", "tuesday"}}), Error, "lines.1.windows.0.days.1", "tuesday"},
		{"days that never come", window(Window{Name: "x", From: "2027-05-01", To: "2027-05-02", Days: []string{"wed"}}), Warning, "lines.1.windows.0.days", "never opens"},
		{"bad hours", window(Window{Name: "x", From: "2027-05-01", To: "2027-05-02", Hours: "8 to 20"}), Error, "lines.1.windows.0.hours", "HH:MM"},
		{"hours past midnight", window(Window{Name: "x", From: "2027-05-01", To: "2027-05-02", Hours: "20:00-02:00"}), Error, "lines.1.windows.0.hours", "two windows"},
		{"25 hours", window(Window{Name: "x", From: "2027-05-01", To: "2027-05-02", Hours: "00:00-25:00"}), Error, "lines.1.windows.0.hours", "HH:MM"},
	} {
		p := council()
		p.Lines = p.Lines[:5] // without the line that is always warned of
		tt.break_(&p)
		problems := p.Validate(instant(t, "2026-11-23T12:00:00Z"))
		if len(problems) == 0 {
			t.Errorf("%s: no problem found", tt.name)
			continue
		}
		if len(problems) > 1 && tt.name != "no dates" {
			t.Errorf("%s: one mistake gave %d problems: %+v", tt.name, len(problems), problems)
		}
		got := problems[0]
		if got.Severity != tt.severity || got.Key != tt.key || !strings.Contains(got.Text, tt.text) {
			t.Errorf("%s: %s %s: %s; want %s %s … %s", tt.name, got.Severity, got.Key, got.Text, tt.severity, tt.key, tt.text)
		}
		if _, err := New(p); (err != nil) != (tt.severity == Error) {
			t.Errorf("%s: New says %v", tt.name, err)
		}
	}
}

// TestToday: a window that ends today is not past, by the policy's own clock.
func TestToday(t *testing.T) {
	p := elections("Europe/London", Window{Name: "x", From: "2027-05-01", To: "2027-05-07"})
	if got := p.Validate(instant(t, "2027-05-07T22:59:59Z")); len(got) != 0 {
		t.Errorf("on its last day: %+v", got)
	}
	if got := p.Validate(instant(t, "2027-05-07T23:00:00Z")); len(got) != 1 || !strings.Contains(got[0].Text, "past") {
		t.Errorf("after it: %+v", got)
	}
	if got := p.Validate(time.Time{}); len(got) != 0 {
		t.Errorf("without a clock: %+v", got)
	}
}
