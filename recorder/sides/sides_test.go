package sides

import (
	"testing"

	"siprecd/media"
	"siprecd/siprec"
	"siprecd/store/policy"
)

func TestOf(t *testing.T) {
	rules, err := policy.New(policy.Policy{Timezone: "Europe/London", Unlisted: "accept",
		Numbering: policy.Numbering{Country: "44", Trunk: "0", Area: "20", Extension: 4},
		Lines:     []policy.Line{{Name: "Parks", Number: "020 8825 6999", Always: true}}})
	if err != nil {
		t.Fatal(err)
	}
	p := func(aor, label string) siprec.Party {
		return siprec.Party{ID: aor, AoRs: []string{aor}, Labels: []string{label}}
	}
	left, right := media.Left, media.Right
	gone := p("02088256999", "")
	gone.Gone = true
	for _, c := range []struct {
		name string
		id   siprec.Identity
		had  Had
		side media.Side // of label 1, media line 0
		ok   bool
	}{
		{"nobody sends it", siprec.Identity{Parties: []siprec.Party{p("a", "2")}}, nil, left, false},
		{"the line's number", siprec.Identity{Parties: []siprec.Party{p("tel:+442088256999", "1")}}, nil, right, true},
		{"the caller", siprec.Identity{Caller: siprec.Candidate{Value: "02079460101"},
			Parties: []siprec.Party{p("02079460101", "1"), p("02088256999", "2")}}, nil, left, true},
		{"an outbound caller", siprec.Identity{Caller: siprec.Candidate{Value: "02079460101"}, Direction: "outbound",
			Parties: []siprec.Party{p("02079460101", "1"), p("02079460102", "2")}}, nil, right, true},
		{"near end", siprec.Identity{Parties: []siprec.Party{{ID: "x", Line: 1, Role: siprec.Near}}}, nil, right, true},
		{"far end with our number", siprec.Identity{Parties: []siprec.Party{{AoRs: []string{"02088256999"}, Line: 1, Role: siprec.Far}}}, nil, left, true},
		{"somebody new where ours was", siprec.Identity{Parties: []siprec.Party{gone, p("02079460103", "1")}}, &right, right, true},
		{"somebody new where the caller was", siprec.Identity{Parties: []siprec.Party{p("02088256999", "2"), p("02079460103", "1")}}, &left, left, true},
		{"somebody on a new line after ours left", siprec.Identity{Parties: []siprec.Party{gone, p("02079460103", "1")}}, nil, right, true},
		{"the caller moves to a line that was ours", siprec.Identity{Caller: siprec.Candidate{Value: "02079460101"},
			Parties: []siprec.Party{p("02079460101", "1"), p("02088256999", "2")}}, &right, left, true},
	} {
		side, ok := Seating{Rules: rules, Line: "Parks", ID: c.id}.Of(0, "1", c.had)
		if side != c.side || ok != c.ok {
			t.Errorf("%s: side %v, %v", c.name, side, ok)
		}
	}
}
