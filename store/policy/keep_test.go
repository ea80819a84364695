package policy

import (
	"testing"
	"time"
)

func TestKeepMetadata(t *testing.T) {
	for _, c := range []struct {
		keep          []string
		caller, agent bool
		problems      int
	}{
		{nil, true, true, 0},
		{[]string{"all"}, true, true, 0},
		{[]string{"none"}, false, false, 0},
		{[]string{"caller", "history"}, true, false, 0},
		{[]string{"caler"}, false, false, 1},
		{[]string{"all", "caller"}, true, true, 1},
		{[]string{"none", "caller"}, false, false, 1},
	} {
		p := Policy{Timezone: "Europe/London", Unlisted: "accept", Numbering: Numbering{Country: "44", Trunk: "0", Area: "20", Extension: 4},
			Lines: []Line{{Name: "Parks", Number: "020 8825 6999", Always: true}}, KeepMetadata: c.keep}
		problems := p.Validate(time.Time{})
		if len(problems) != c.problems {
			t.Errorf("%q: problems %v", c.keep, problems)
		}
		if c.problems > 0 {
			continue
		}
		r, err := New(p)
		if err != nil {
			t.Fatal(err)
		}
		if r.Keeps("caller") != c.caller || r.Keeps("agent") != c.agent {
			t.Errorf("%q keeps the caller: %v, the agent: %v", c.keep, r.Keeps("caller"), r.Keeps("agent"))
		}
	}
}
