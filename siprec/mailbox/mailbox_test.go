package mailbox

import (
	"fmt"
	"testing"
	"time"
)

// letter is a request, or an ACK.
type letter struct {
	request bool
	cseq    uint32
	at      time.Time
}

func (l letter) Place() (uint32, bool, time.Time) { return l.cseq, !l.request, l.at }

func TestMailbox(t *testing.T) {
	base := time.Now()
	at := func(ms int) time.Time { return base.Add(time.Duration(ms) * time.Millisecond) }
	drain := func(m *Box[letter], now time.Time) (out string) {
		for {
			it, ok, _ := m.Next(now)
			if !ok {
				return out
			}
			if !it.request {
				out += "a"
			} else {
				m.Last = max(m.Last, it.cseq)
			}
			out += fmt.Sprint(it.cseq, " ")
		}
	}
	m := New[letter](1, 250*time.Millisecond)
	m.Put(letter{request: true, cseq: 4, at: at(0)})
	m.Put(letter{request: true, cseq: 3, at: at(10)})
	if got := drain(m, at(20)); got != "" {
		t.Errorf("before 2 came: %q", got)
	}
	if _, _, wait := m.Next(at(20)); wait != 230*time.Millisecond {
		t.Errorf("waits %v", wait)
	}
	m.Put(letter{cseq: 1, at: at(20)})
	m.Put(letter{request: true, cseq: 2, at: at(30)})
	m.Put(letter{cseq: 2, at: at(31)})
	if got := drain(m, at(40)); got != "a1 a2 2 3 4 " {
		t.Errorf("got %q", got)
	}
	m.Put(letter{request: true, cseq: 9, at: at(50)})
	m.Put(letter{request: true, cseq: 7, at: at(60)})
	if got := drain(m, at(299)); got != "" {
		t.Errorf("patience too short: %q", got)
	}
	if got := drain(m, at(300)); got != "7 9 " {
		t.Errorf("after patience: %q", got)
	}
	m.Announce(11)
	m.Announce(2) // a copy of an old one
	m.Put(letter{request: true, cseq: 12, at: at(310)})
	if got := drain(m, at(4000)); got != "" {
		t.Errorf("did not wait for what is on its way: %q", got)
	}
	m.Put(letter{request: true, cseq: 10, at: at(4090)})
	m.Put(letter{request: true, cseq: 11, at: at(4100)})
	if got := drain(m, at(4100)); got != "10 11 12 " || len(m.seen) != 0 {
		t.Errorf("got %q, %v", got, m.seen)
	}
	for i := range Size {
		if m.Put(letter{request: true, cseq: uint32(50 + i), at: at(400)}) != OK {
			t.Fatal("full too early")
		}
	}
	if m.Put(letter{request: true, cseq: 99, at: at(400)}) != Full {
		t.Error("not full")
	}
	if rest := m.Close(); len(rest) != Size || m.Put(letter{}) != Shut {
		t.Errorf("%d left", len(rest))
	}
}
