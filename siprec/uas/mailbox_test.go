package uas

import (
	"fmt"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
)

func TestMailbox(t *testing.T) {
	base := time.Now()
	tx := &sip.ServerTx{}
	at := func(ms int) time.Time { return base.Add(time.Duration(ms) * time.Millisecond) }
	drain := func(m *mailbox, now time.Time) (out string) {
		for {
			it, ok, _ := m.next(now)
			if !ok {
				return out
			}
			if it.tx == nil {
				out += "a"
			} else {
				m.last = max(m.last, it.cseq)
			}
			out += fmt.Sprint(it.cseq, " ")
		}
	}
	m := newMailbox(1, 250*time.Millisecond)
	m.put(item{tx: tx, cseq: 4, at: at(0)})
	m.put(item{tx: tx, cseq: 3, at: at(10)})
	if got := drain(m, at(20)); got != "" {
		t.Errorf("before 2 came: %q", got)
	}
	if _, _, wait := m.next(at(20)); wait != 230*time.Millisecond {
		t.Errorf("waits %v", wait)
	}
	m.put(item{cseq: 1, at: at(20)})
	m.put(item{tx: tx, cseq: 2, at: at(30)})
	m.put(item{cseq: 2, at: at(31)})
	if got := drain(m, at(40)); got != "a1 a2 2 3 4 " {
		t.Errorf("got %q", got)
	}
	m.put(item{tx: tx, cseq: 9, at: at(50)})
	m.put(item{tx: tx, cseq: 7, at: at(60)})
	if got := drain(m, at(299)); got != "" {
		t.Errorf("patience too short: %q", got)
	}
	if got := drain(m, at(300)); got != "7 9 " {
		t.Errorf("after patience: %q", got)
	}
	m.announce(11)
	m.announce(2) // a copy of an old one
	m.put(item{tx: tx, cseq: 12, at: at(310)})
	if got := drain(m, at(4000)); got != "" {
		t.Errorf("did not wait for what is on its way: %q", got)
	}
	m.put(item{tx: tx, cseq: 10, at: at(4090)})
	m.put(item{tx: tx, cseq: 11, at: at(4100)})
	if got := drain(m, at(4100)); got != "10 11 12 " || len(m.seen) != 0 {
		t.Errorf("got %q, %v", got, m.seen)
	}
	for i := range mailboxSize {
		if m.put(item{tx: tx, cseq: uint32(50 + i), at: at(400)}) != putOK {
			t.Fatal("full too early")
		}
	}
	if m.put(item{tx: tx, cseq: 99, at: at(400)}) != putFull {
		t.Error("not full")
	}
	if rest := m.close(); len(rest) != mailboxSize || m.put(item{}) != putShut {
		t.Errorf("%d left", len(rest))
	}
}
