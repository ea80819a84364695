package treat

import (
	"slices"
	"testing"
)

func TestMissingMarksCountOnlyWhenStrict(t *testing.T) {
	for _, c := range []struct {
		strict, src, siprec bool
		want                string
	}{
		{false, false, false, ""},
		{true, true, true, ""},
		{true, true, false, "siprec in Require"},
		{true, false, true, "+sip.src in Contact"},
		{true, false, false, "+sip.src in Contact and siprec in Require"},
	} {
		if got := (Options{Strict: c.strict}).Missing(c.src, c.siprec); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

func TestWordsNameWhatIsNotTheDefault(t *testing.T) {
	if w := (Options{SRTP: SRTPPrefer}).Words(); w != nil {
		t.Errorf("the default is %q", w)
	}
	all := Options{Strict: true, RejectUnwanted: true, RefuseUnlisted: true, SRTP: SRTPRequire, Snapshot: true}
	want := []string{"strict", "unwanted media: reject", "unlisted: refuse", "srtp: require", "snapshot"}
	if w := all.Words(); !slices.Equal(w, want) {
		t.Errorf("%q", w)
	}
}
