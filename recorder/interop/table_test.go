package interop_test

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// row is one or several cases that one call shows.
type row struct {
	numbers string // "36 38", "R2"
	name    string // what is expected
	with    func(*setup)
	run     func(t *testing.T, r *rig)
}

// inapplicable lists the numbers that have no row, because.
var inapplicable = map[string]string{
	"R3":  "the recorder never begins a recording session: the clients in the field have no use for it",
	"R16": "fast updates are for video, which is not recorded",
}

// pending lists numbers whose rows fail now, because. INTEROP_PENDING=1 runs
// them nevertheless.
var pending = map[string]string{}

// remarks lists numbers whose rows hold something else than the field notes
// say, or a part of it, because.
var remarks = map[string]string{
	"10":  "the two dialogs make two recordings, tied by their call references, each voice on its own side",
	"85":  "the portion is ignored without a flag: nothing of the call depends on it",
	"100": "PCMU to A-law to Opus; G.729 needs its build tag",
	"110": "the session timer cannot be shorter than 90 s: siprec/uas holds its end with a clock of its own",
	"112": "64*T1 are 32 s: siprec/uas holds it with a shorter T1",
	"123": "one second of 2 %; an hour of 200 ppm is held in media/leg",
	"124": "half a second stands for the minute: nothing in it depends on the length",
	"135": "ten calls, for the shapes; load has tests of its own",
	"136": "there is no digest to configure: clients are admitted by address and by certificate",
	"R1":  "in strict mode only: half of the clients in the field lack a mark",
	"R40": "a call that is heard is kept whatever its timer says",
	"R42": "requests that overlap are answered in turn, not with 500: a refusal in mid-dialog ends calls on some clients",
	"R43": "as R42",
	"R44": "not for a re-INVITE, nor while the call is heard",
}

// table is all rows.
func table() []row {
	return slices.Concat(recogniseRows(), bodyRows(), sdpRows(), secureRows(),
		metadataRows(), midcallRows(), mediaRows(), opsRows(), vendorRows())
}

func TestTable(t *testing.T) {
	for _, c := range table() {
		t.Run(strings.ReplaceAll(c.numbers, " ", ",")+" "+c.name, func(t *testing.T) {
			for n := range strings.FieldsSeq(c.numbers) {
				if why, ok := pending[n]; ok && os.Getenv("INTEROP_PENDING") == "" {
					t.Skip("pending: " + why)
				}
			}
			t.Parallel()
			c.run(t, newRig(t, c.with))
		})
	}
}

// TestNoneMissing holds the table against the numbers of the field notes.
func TestNoneMissing(t *testing.T) {
	have := map[string]bool{}
	for _, c := range table() {
		if c.numbers == "" || c.name == "" || c.run == nil {
			t.Errorf("row %q %q lacks something", c.numbers, c.name)
		}
		for n := range strings.FieldsSeq(c.numbers) {
			if !regexp.MustCompile(`^R?[1-9]\d*$`).MatchString(n) {
				t.Errorf("row %q: %q is no case number", c.name, n)
			}
			have[n] = true
		}
	}
	check := func(n string) {
		why, not := inapplicable[n]
		switch {
		case have[n] && not:
			t.Errorf("case %s has a row and is listed as not applicable", n)
		case not && why == "":
			t.Errorf("case %s is not applicable without a reason", n)
		case !have[n] && !not:
			t.Errorf("case %s is missing", n)
		}
	}
	for i := range 140 {
		check(strconv.Itoa(i + 1))
	}
	for i := range 57 {
		check("R" + strconv.Itoa(i+1))
	}
	for n, why := range remarks {
		if !have[n] || why == "" {
			t.Errorf("the remark on case %s has no row, or no reason", n)
		}
	}
	for n := range pending {
		if !have[n] {
			t.Errorf("case %s is pending and has no row", n)
		}
	}
}
