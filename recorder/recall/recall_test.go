package recall

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"siprecd/siprec/trace"
)

func TestFind(t *testing.T) {
	ring, now := trace.NewRing(trace.Limits{}), time.Now()
	note := func(id, tag, first string, out bool) {
		now = now.Add(time.Second)
		m := trace.Message{At: now, Network: "udp", Out: out, From: netip.MustParseAddrPort("127.0.0.1:1"), To: netip.MustParseAddrPort("127.0.0.1:2"),
			Raw: []byte(first + "\r\nFrom: <sip:a@b>;tag=" + tag + "\r\nTo: <sip:c@d>\r\nCall-ID: " + id + "\r\nCSeq: 1 INVITE\r\n\r\n")}
		ring.Note(m, trace.ReadHead(m.Raw))
	}
	note("same", "t1", "INVITE sip:x SIP/2.0", false)
	note("same", "t2", "INVITE sip:x SIP/2.0", false)
	note("bad", "t3", "INVITE sip:x SIP/2.0", false)
	note("bad", "t3", "SIP/2.0 488 No", true)
	var b Book
	for i := range 2 * maxRecent {
		b.Remember(Traced{ID: fmt.Sprintf("old-%04d", i)})
	}
	b.Remember(Traced{ID: "0199-one", Line: "L", Dialog: trace.Dialog{CallID: "same", Tag: "t1"}})
	live := []Traced{{ID: "0199-two", Dialog: trace.Dialog{CallID: "same", Tag: "t2"}}}
	if len(b.recent) != maxRecent {
		t.Errorf("%d calls are held", len(b.recent))
	}
	for _, c := range []struct {
		q    Query
		want string
	}{
		{Query{Call: "same"}, "[0199-one/t1 0199-two/t2]"},
		{Query{Call: "0199-t"}, "[0199-two/t2]"},
		{Query{Call: "0199"}, "[0199-one/t1 0199-two/t2]"},
		{Query{Call: "old-0000"}, "[]"}, // forgotten
		{Query{Call: "nobody"}, "[]"},
		{Query{Last: true}, "[0199-two/t2]"},
		{Query{Refused: true}, "[/t3]"},
		{Query{}, "[]"},
	} {
		got := []string{}
		for _, f := range b.Find(c.q, live, ring) {
			got = append(got, f.ID+"/"+f.Dialog.Tag)
			if len(f.Dialog.Messages) == 0 {
				t.Errorf("%+v: no messages", c.q)
			}
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("%+v: %v, want %s", c.q, got, c.want)
		}
	}
}
