package policy

import (
	"strings"
	"testing"
)

func london() Numbering { return Numbering{Country: "44", Trunk: "0", Area: "20", Extension: 4} }

func TestNormalise(t *testing.T) {
	const tax = "+442088257050"
	for _, tt := range []struct{ in, want string }{
		// One number, however it is written.
		{"020 8825 7050", tax},
		{"+44 20 8825 7050", tax},
		{"+442088257050", tax},
		{"00442088257050", tax},
		{"0044 (0)20 8825 7050", tax},
		{"442088257050", tax},
		{"4402088257050", tax},
		{"02088257050", tax},
		{"2088257050", tax},
		{"88257050", tax},
		{"8825 7050", tax},
		{"(020) 8825-7050", tax},
		{"(0)20 8825 7050", tax},
		{"+44 (0) 20 8825 7050", tax},
		{"+44(0)2088257050", tax},
		{"+4402088257050", tax},
		{"+02088257050", tax},
		{"020.8825.7050", tax},
		{"020/8825/7050", tax},
		{"020\u00a08825\u20117050", tax},
		{"  02088257050\t", tax},
		{"sip:02088257050@10.1.2.3", tax},
		{"sip:02088257050@10.1.2.3:5060;user=phone", tax},
		{"SIPS:+442088257050@sbc.example;user=phone", tax},
		{"sip:+442088257050", tax},
		{"sip:02088257050:secret@10.1.2.3", tax},
		{"sip:%2B442088257050@sbc.example", tax},
		{"sip:020%208825%207050@sbc.example", tax},
		{"sip:2088257050;phone-context=+44@sbc.example;user=phone", tax},
		{"sip:+442088257050;noa=international;srvattri=national@ims.example", tax},
		{"442088257050;noa=international;srvattri=national", tax},
		{"sip:02088257050;noa=national@ims.example", tax},
		{"tel:+44-20-8825-7050", tax},
		{"tel:88257050;phone-context=+4420", tax},
		{"tel:02088257050;phone-context=+44", tax},
		{"tel:7050;phone-context=+44208825", tax},
		{"TEL:+44.20.8825.7050;ext=12", tax},
		{"2088257050@10.1.2.3", tax},
		{`"Council tax" <sip:02088257050@10.1.2.3;transport=tcp>;tag=1`, tax},
		{"<tel:+442088257050>", tax},
		{"sip:02088257050@10.1.2.3?Subject=x", tax},
		{"Extension-88257050@pbx.example", tax},

		// Bare extensions, exactly as long as configured.
		{"7050", "ext:7050"},
		{"sip:7050@pbx.example", "ext:7050"},
		{"Extension-7050@pbx.example", "ext:7050"},
		{"ext. 7050", "ext:7050"},
		{"tel:7050;phone-context=pbx.example", "ext:7050"},
		{"tel:7050;phone-context=+44", "ext:7050"},
		{"0050", "ext:0050"},
		{"705", "705"},
		{"70500", "70500"},
		{"+7050", "+7050"},

		// Other numbers stay themselves.
		{"020 8825", "0208825"},
		{"020 8825 70501", "+4420882570501"},
		{"999", "999"},
		{"0800 1111", "+448001111"},
		{"0002088257050", "0002088257050"},
		{"+44002088257050", "+44002088257050"},
		{"+33 1 42 34 56 78", "+33142345678"},
		{"0033142345678", "+33142345678"},
		{"2088257050;noa=international", "+2088257050"},
		{"+20 88 2570 50", "+2088257050"},
		{"020 7946 0123", "+442079460123"},

		// Codes.
		{"*21*88257050#", "*21*88257050#"},
		{"sip:*67@pbx.example", "*67"},
		{"#31#", "#31#"},
		{"sip:%2331%23@pbx.example", "#31#"},
		{"+44*7050", ""},

		// Not numbers.
		{"", ""},
		{" ", ""},
		{"anonymous", ""},
		{"sip:anonymous@anonymous.invalid", ""},
		{"Restricted", ""},
		{"sip:10.0.0.5", ""},
		{"sip:10.0.0.5:5060", ""},
		{"10.88.25.70", ""},
		{"sip:[2001:db8::7050]", ""},
		{"sip:2001:db8::7050", ""},
		{"sip:@10.0.0.5", ""},
		{"sip:srs.example:5060", ""},
		{"7050a", ""},
		{"external7050", ""},
		{"3f6c7050@webex.example", ""},
		{"1234567890123456", ""},
		{"+++7050", ""},
		{"()", ""},
		{"+", ""},
		{"%zz7050", ""},
		{"\xff7050", ""},
		{"７０５０", ""},
	} {
		if got := london().Normalise(tt.in); got != tt.want {
			t.Errorf("Normalise(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestNormaliseElsewhere(t *testing.T) {
	italy := Numbering{Country: "39", Area: "06", Extension: 3}
	america := Numbering{Country: "1", Trunk: "1", Area: "212", Extension: 4}
	bare := Numbering{Country: "44"}
	for _, tt := range []struct {
		place    Numbering
		in, want string
	}{
		{italy, "0612345678", "+390612345678"}, // the zero belongs to the number
		{italy, "+39 06 1234 5678", "+390612345678"},
		{italy, "123", "ext:123"},
		{america, "1-212-555-0123", "+12125550123"},
		{america, "(212) 555-0123", "+12125550123"},
		{america, "555-0123", "+12125550123"},
		{america, "+1 212 555 0123", "+12125550123"},
		{bare, "7050", "7050"},
		{bare, "88257050", "88257050"},
		{bare, "2088257050", "+442088257050"},
	} {
		if got := tt.place.Normalise(tt.in); got != tt.want {
			t.Errorf("%+v.Normalise(%q) = %q, want %q", tt.place, tt.in, got, tt.want)
		}
	}
}

// FuzzNormalise: the canonical form is stable, bounded, made of what it may be
// made of, and never a bare part of a longer input.
func FuzzNormalise(f *testing.F) {
	for _, s := range []string{"020 8825 7050", "sip:+442088257050;noa=international@h", "tel:7050;phone-context=+44208825",
		"Extension-7050@h", "*21#", "<sip:%2B44@h>", "+44(0)20", "0044", "anonymous", "10.0.0.5:5060"} {
		f.Add(s)
	}
	n := london()
	f.Fuzz(func(t *testing.T, s string) {
		got := n.Normalise(s)
		if got == "" {
			return
		}
		if ext, ok := strings.CutPrefix(got, extensionPrefix); ok {
			if len(ext) != n.Extension || !allDigits(ext) {
				t.Fatalf("Normalise(%q) = %q", s, got)
			}
			if again := n.Normalise(ext); again != got {
				t.Fatalf("%q → %q → %q", s, got, again)
			}
			return
		}
		if strings.ContainsAny(got, "*#") {
			if strings.Trim(got, "0123456789*#") != "" {
				t.Fatalf("Normalise(%q) = %q", s, got)
			}
		} else if rest := strings.TrimPrefix(got, "+"); rest == "" || len(rest) > maxDigits || !allDigits(rest) {
			t.Fatalf("Normalise(%q) = %q", s, got)
		}
		if again := n.Normalise(got); again != got {
			t.Fatalf("%q → %q → %q", s, got, again)
		}
	})
}
