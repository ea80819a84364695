package attack

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"time"

	"siprecd/cmd/torture/foe"
	"siprecd/cmd/torture/rig"
)

// pipelined has dialogs whose ACK, hold, resume and BYE are written at once, on
// TCP: each must take effect in the order of its CSeq. Half of them are written
// in another order than they are numbered in.
func pipelined(l *rig.Lab) error {
	s, err := foe.Start(l)
	if err != nil {
		return err
	}
	const workers = 8
	var o orders
	var wg sync.WaitGroup
	each := (l.Rounds + workers - 1) / workers
	for w := range workers {
		wg.Go(func() {
			p, err := foe.Dial("tcp", foe.Source(w)+":0", s.TCP, nil)
			if err != nil {
				o.note("no connection: " + err.Error())
				return
			}
			defer p.Close()
			for i := range each {
				o.note(oneDialog(p, i%2 == 1))
			}
		})
	}
	wg.Wait()
	l.Figure("dialogs whose requests took effect in CSeq order", fmt.Sprintf("%d of %d", o.good, each*workers), "all", o.good == each*workers)
	for _, bad := range o.bad {
		l.Logf("%s", bad)
	}
	wrong := judge([]string{"3 200 recvonly", "2 200 inactive", "4 200 "})
	caught := 0
	if wrong != "" {
		caught = 1
	}
	l.Control("answers in another order", caught, 1)
	rows, err := s.Finished(each*workers, time.Minute)
	if err != nil {
		return err
	}
	l.Count("recordings", len(rows), each*workers)
	return nil
}

// orders sums up what came of the dialogs.
type orders struct {
	mu   sync.Mutex
	good int
	bad  []string // a few of them
}

func (o *orders) note(fault string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if fault == "" {
		o.good++
	} else if len(o.bad) < 5 {
		o.bad = append(o.bad, fault)
	}
}

// oneDialog has one dialog; what is wrong with it, "" for nothing.
func oneDialog(p *foe.Peer, mixed bool) string {
	r := p.Invite("", nil)
	a, err := p.Call(r, 20*time.Second)
	if err != nil || a.Code() != 200 {
		return fmt.Sprintf("INVITE: %d, %v", a.Code(), err)
	}
	next := func(method string, cseq int, direction string) []byte {
		n := foe.Request{Method: method, ID: r.ID, Tag: r.Tag, To: a.Head.ToTag, CSeq: cseq}
		if direction != "" {
			n.Kind, n.Body = "application/sdp", bytes.ReplaceAll(foe.SDP(p.Host(), 40000), []byte("sendonly"), []byte(direction))
		}
		return p.Bytes(n)
	}
	all := [][]byte{next("ACK", 1, ""), next("INVITE", 2, "inactive"), next("INVITE", 3, "sendonly"), next("BYE", 4, "")}
	if mixed {
		all[2], all[3] = all[3], all[2]
	}
	if _, err := p.Write(bytes.Join(all, nil)); err != nil {
		return err.Error()
	}
	var got []string
	for range 3 {
		a, err := p.Final(20 * time.Second)
		if err != nil {
			return fmt.Sprintf("%v: %v", got, err)
		}
		direction := ""
		for _, d := range []string{"inactive", "recvonly"} {
			if bytes.Contains(a.Body, []byte("a="+d)) {
				direction = d
			}
		}
		got = append(got, fmt.Sprintf("%d %d %s", a.Head.CSeq, a.Code(), direction))
	}
	return judge(got)
}

// judge says what is wrong with the answers, in the order in which they came.
func judge(got []string) string {
	want := []string{"2 200 inactive", "3 200 recvonly", "4 200 "}
	if strings.Join(got, "|") == strings.Join(want, "|") {
		return ""
	}
	return fmt.Sprintf("answers %q", got)
}
