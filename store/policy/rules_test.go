package policy

import (
	"testing"
	"time"
)

// council is a policy in the shape of a council's contact centre.
func council() Policy {
	return Policy{
		Timezone: "Europe/London", Numbering: london(), Unlisted: "accept",
		Lines: []Line{
			{Name: "Council tax", Number: "020 8825 7050", Always: true},
			{Name: "Elections", Number: "+44 20 8825 7777", Windows: []Window{
				{Name: "Spring", From: "2027-03-22", To: "2027-05-07"},
				{Name: "Autumn", From: "2027-10-30", To: "2027-11-02", Hours: "08:00-20:00"},
			}},
			{Name: "Grime busters", Number: "020 8825 8825", Always: true},
			{Name: "Housing demand", Number: "020 8825 8888", Always: true, Queues: []Queue{
				{Name: "Acquisitions"},
				{Name: "Housing solutions (homeless)"},
				{Name: "Compliance", Match: "020 8825 8899"},
				{Name: "Temporary accommodation finance", Match: "TAF desk"},
			}},
			{Name: "Housing repairs", Number: "020 8825 5682", Always: true, Queues: []Queue{
				{Name: "Contractors", Internal: true, Match: "5690"},
			}},
			{Name: "By-elections", Number: "020 8825 7778"},
		},
	}
}

func mustRules(t testing.TB, p Policy) *Rules {
	t.Helper()
	r, err := New(p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func named(values ...string) []Named {
	out := make([]Named, len(values))
	for i, v := range values {
		out[i] = Named{Value: v, Source: string(rune('a' + i))}
	}
	return out
}

func instant(t testing.TB, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestDecideFindsTheLine(t *testing.T) {
	r := mustRules(t, council())
	at := instant(t, "2026-11-23T12:00:00Z")
	for _, tt := range []struct {
		name       string
		candidates []Named
		want       Decision
	}{
		{"national", named("02088257050"), Decision{Record: true, Reason: Listed, Line: "Council tax", Source: "a"}},
		{"ten digits at a host", named("2088257050@10.0.0.5"), Decision{Record: true, Reason: Listed, Line: "Council tax", Source: "a"}},
		{"bare extension", named("sip:7050@pbx"), Decision{Record: true, Reason: Listed, Line: "Council tax", Source: "a"}},
		{"exchange and extension are the same digits", named("8825"), Decision{Record: true, Reason: Listed, Line: "Grime busters", Source: "a"}},
		{"exchange with area code is no extension", named("020 8825"), Decision{Reason: NotListed}},
		{"a digit too many", named("020 8825 70501"), Decision{Reason: NotListed}},
		{"a digit too few", named("020 8825 705"), Decision{Reason: NotListed}},
		{"last digits of a longer number", named("020 7946 7050"), Decision{Reason: NotListed}},
		{"another country's line with the same digits", named("+2088257050"), Decision{Reason: NotListed}},
		{"code that ends in an extension", named("*7050"), Decision{Reason: NotListed}},
		{"later candidate", named("sip:anonymous@x", "020 7946 0001", "tel:+442088257050"),
			Decision{Record: true, Reason: Listed, Line: "Council tax", Source: "c"}},
		{"first of two lines wins", named("88258825", "88257050"), Decision{Record: true, Reason: Listed, Line: "Grime busters", Source: "a"}},
		{"nothing", nil, Decision{Reason: NoNumber, Record: true}},
		{"no numbers", named("", "sip:anonymous@anonymous.invalid", "sip:10.0.0.5:5060", "Alice"), Decision{Reason: NoNumber, Record: true}},
		{"a number among none", named("anonymous", "999"), Decision{Reason: NotListed}},
	} {
		if got := r.Decide(tt.candidates, at); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestDecideFindsTheQueue(t *testing.T) {
	r := mustRules(t, council())
	at := instant(t, "2026-11-23T12:00:00Z")
	for _, tt := range []struct {
		name       string
		candidates []Named
		want       Decision
	}{
		{"line only", named("88258888"), Decision{Record: true, Reason: Listed, Line: "Housing demand", Source: "a"}},
		{"queue's number", named("+442088258899"), Decision{Record: true, Reason: Listed, Line: "Housing demand", Queue: "Compliance", Source: "a"}},
		{"queue's extension", named("8899"), Decision{Record: true, Reason: Listed, Line: "Housing demand", Queue: "Compliance", Source: "a"}},
		{"internal queue by extension", named("Extension-5690@pbx"),
			Decision{Record: true, Reason: Listed, Line: "Housing repairs", Queue: "Contractors", Internal: true, Source: "a"}},
		{"queue's number behind the line's", named("88258888", "88258899"),
			Decision{Record: true, Reason: Listed, Line: "Housing demand", Queue: "Compliance", Source: "a"}},
		{"queue named beside the line", named("88258888", "sip:housing-solutions-homeless@acd"),
			Decision{Record: true, Reason: Listed, Line: "Housing demand", Queue: "Housing solutions (homeless)", Source: "a"}},
		{"display name", named(`"ACQUISITIONS" <sip:88258888@acd>`),
			Decision{Record: true, Reason: Listed, Line: "Housing demand", Queue: "Acquisitions", Source: "a"}},
		{"configured name finds the line", named("sip:taf%20desk@acd"),
			Decision{Record: true, Reason: Listed, Line: "Housing demand", Queue: "Temporary accommodation finance", Source: "a"}},
		{"plain name alone does not", named("Acquisitions"), Decision{Reason: NoNumber, Record: true}},
		{"queue of another line is not this call's", named("88257050", "88258899", "acquisitions"),
			Decision{Record: true, Reason: Listed, Line: "Council tax", Source: "a"}},
	} {
		if got := r.Decide(tt.candidates, at); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestNewRefusesWhatIsWrong(t *testing.T) {
	p := council()
	p.Lines[0].Number = "nobody"
	if _, err := New(p); err == nil {
		t.Fatal("a line without a number was accepted")
	}
}

// FuzzDecide: whatever a client writes, a number decides only as a whole, and
// the decision names what the policy holds.
func FuzzDecide(f *testing.F) {
	f.Add("sip:02088257050@h", "anonymous", int64(1_800_000_000))
	f.Add("88258888", "sip:acquisitions@h", int64(1_807_000_000))
	f.Add("7777", "", int64(1_805_500_000))
	r := mustRules(f, council())
	f.Fuzz(func(t *testing.T, a, b string, unix int64) {
		at := time.Unix(unix%4_000_000_000, 0)
		d := r.Decide(named(a, b), at)
		if d.Record != (d.Reason == Listed || d.Reason == NoNumber) || d.Reason == Listed && d.Line == "" || (d.Line == "") != (d.Source == "") {
			t.Fatalf("Decide(%q, %q, %s) = %+v", a, b, at, d)
		}
		if d.Line == "" {
			return
		}
		if !d.Until.IsZero() && !d.Until.After(at) {
			t.Fatalf("until %s is not after %s", d.Until, at)
		}
		found := false
		for _, s := range []string{a, b} {
			_, ok := r.find(r.Normalise(s), s)
			found = found || ok
		}
		if !found {
			t.Fatalf("Decide(%q, %q) found %q in nothing", a, b, d.Line)
		}
	})
}
