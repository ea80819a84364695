package capture

import (
	"fmt"
	"slices"
	"time"

	"siprecd/cmd/torture/calls"
	"siprecd/cmd/torture/rig"
	"siprecd/siprec/siprectest"
)

// admission is row B2: how soon an INVITE is answered whose keybox has to be on
// the disk first, while 200 calls are live; and how soon it is refused when it
// cannot be.
func admission(l *rig.Lab) error {
	s, err := started(l)
	if err != nil {
		return err
	}
	live, rate := 200, 20.0
	if brief(l, admitRounds) {
		live, rate = 10, 10
	}
	span := time.Duration(l.Rounds) * time.Second
	// The live calls' media comes from two ports: 200 sockets would be the load.
	long, err := gather(l, s, live, siprectest.Options{Legs: calls.Tones(), Duration: time.Hour, SharePorts: true, Timeout: 10 * time.Second})
	if err != nil {
		return err
	}
	fresh, err := s.Place(siprectest.Options{Legs: calls.Tones(), Duration: time.Second, Calls: int(span.Seconds() * rate), Rate: rate, SharePorts: true, Timeout: 10 * time.Second}).Wait()
	if err != nil {
		return err
	}
	taken := answered(l, fresh, admitRounds)
	err = l.Await("the live calls alone are live", 10*time.Second, func() bool {
		n, err := s.Metric("srs_sessions_active")
		return err == nil && int(n) == live
	})
	if err != nil {
		return err
	}
	if !brief(l, admitRounds) {
		l.AtMost("INVITE to 200, p50", seconds(fresh.Totals.Setup.P50), 20*time.Millisecond)
		l.AtMost("INVITE to 200, p99", seconds(fresh.Totals.Setup.P99), 150*time.Millisecond)
		l.AtMost("INVITE to 200, longest", seconds(fresh.Totals.Setup.Max), 500*time.Millisecond)
	}
	old, err := long.end(l, true)
	if err != nil {
		return err
	}
	rows, err := s.Finished(live+taken, time.Minute)
	if err != nil {
		return err
	}
	l.Count("recordings", len(rows), live+taken)
	if err := settled(l, s, sentBy(old)+fresh.Totals.Packets.Sent); err != nil {
		return err
	}
	s.Stop(15)
	return unable(l)
}

// settled holds the sum of all recordings' packets against what was sent.
func settled(l *rig.Lab, s *rig.Server, sent int) error {
	all, err := s.Manifests()
	if err != nil {
		return err
	}
	written, told := 0, 0
	for _, m := range all {
		for _, st := range m.Streams {
			written += st.Packets
		}
		for _, ch := range channels {
			told += m.Missing(ch)
		}
	}
	l.Figure("packets written and in the ledger", fmt.Sprintf("%d + %d", written, told), fmt.Sprintf("%d sent", sent), sent > 0 && written+told == sent)
	return nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// unable offers calls to a recorder whose reserve is reached.
func unable(l *rig.Lab) error {
	s, err := l.Server("store.reserve=1000TiB")
	if err != nil {
		return err
	}
	if err := s.Launch(); err != nil {
		return err
	}
	if err := l.Await("the server is up", 30*time.Second, func() bool { return s.Get("/livez") == 200 }); err != nil {
		return err
	}
	const offers = 100
	rep, err := s.Place(siprectest.Options{Legs: calls.Tones(), Duration: time.Second, Calls: offers, Rate: 50, SharePorts: true, Timeout: 10 * time.Second}).Wait()
	if err != nil {
		return err
	}
	var took []float64
	refused := 0
	for _, c := range rep.Calls {
		took = append(took, c.SetupSeconds)
		if c.Code == 503 {
			refused++
		}
	}
	l.Count("below the reserve: calls that get 503", refused, offers)
	if !brief(l, admitRounds) {
		l.AtMost("below the reserve: INVITE to 503, longest", seconds(slices.Max(took)), 50*time.Millisecond)
	}
	return nil
}

// Of row A11.
const (
	churnWarm  = 300         // seconds before the first look: the messages that trace keeps are 16 MiB by then, and stay so
	churnEvery = 10          // seconds between looks
	churnRate  = 20          // calls a second
	soakRate   = 200.0 / 180 // calls a second, where 200 calls of 3 minutes are live: what the churn stands for
	restLooks  = 100         // of which the least counts
	churnSlope = 1.0         // MiB an hour of that soak, of resident memory
	own        = 2           // descriptors and goroutines that come and go by themselves: files of the store, our looks
)

// churn is row A11: short calls come and go, as many in 20 minutes as in 6 hours
// with 200 live ones of 3 minutes; then nothing of them is left.
func churn(l *rig.Lab) error {
	s, err := started(l)
	if err != nil {
		return err
	}
	warm, rate := churnWarm*time.Second, float64(churnRate)
	if brief(l, churnRounds) {
		warm, rate = time.Duration(l.Rounds)*time.Second/3, 10
	}
	offer := func(span time.Duration) *rig.Load {
		return s.Place(siprectest.Options{Legs: calls.Tones(), Duration: 500 * time.Millisecond, Calls: int(rate * span.Seconds()), Rate: rate, Timeout: 10 * time.Second})
	}
	// What is made once (pools, caches, connections) is made by then.
	first, err := offer(warm).Wait()
	if err != nil {
		return err
	}
	before, err := rest(l, s)
	if err != nil {
		return err
	}
	l.Logf("before: %+v", before)
	span := time.Duration(l.Rounds)*time.Second - warm
	load := offer(span)
	looks, err := watch(l, s, span)
	if err != nil {
		return err
	}
	second, err := load.Wait()
	if err != nil {
		return err
	}
	after, err := rest(l, s)
	if err != nil {
		return err
	}
	l.Logf("after: %+v", after)
	total := answered(l, first, churnRounds) + answered(l, second, churnRounds)
	rows, err := s.Finished(total, time.Minute)
	if err != nil {
		return err
	}
	l.Count("recordings", len(rows), total)
	l.Figure("descriptors after the calls", fmt.Sprintf("%d, before: %d", after.Files, before.Files), "≤ 2 more", after.Files <= before.Files+own)
	l.Figure("goroutines after the calls", fmt.Sprintf("%d, before: %d", after.Goroutines, before.Goroutines), "≤ 2 more", after.Goroutines <= before.Goroutines+own)
	if !brief(l, churnRounds) {
		hourly := slope(looks)
		grown := hourly * soakRate / churnRate // by the call, for calls are what a leak grows with
		l.Figure("resident memory grows by", fmt.Sprintf("%.2f MiB in the calls of an hour with 200 live, %.0f of 3 minutes (%.1f MiB in an hour of this)", grown, 3600*soakRate, hourly),
			fmt.Sprintf("≤ %.0f", churnSlope), grown <= churnSlope)
	}
	return settled(l, s, first.Totals.Packets.Sent+second.Totals.Packets.Sent)
}

// rest waits until no call is up and what it leaves behind (transactions, for
// half a minute) is gone, and looks. A look adds a connection and a goroutine of
// its own, so it is the least of some looks that counts.
func rest(l *rig.Lab, s *rig.Server) (rig.Usage, error) {
	if err := s.Idle(time.Minute); err != nil {
		return rig.Usage{}, err
	}
	pause := 40 * time.Second
	if brief(l, churnRounds) {
		pause = 0
	}
	if err := l.Sleep(pause); err != nil {
		return rig.Usage{}, err
	}
	least, err := s.Usage()
	for range restLooks {
		if err != nil {
			return least, err
		}
		if err := l.Sleep(25 * time.Millisecond); err != nil {
			return least, err
		}
		var now rig.Usage
		now, err = s.Usage()
		if err == nil {
			least.Files, least.Goroutines = min(least.Files, now.Files), min(least.Goroutines, now.Goroutines)
		}
	}
	return least, err
}

// look is resident memory at a moment.
type look struct{ hours, mib float64 }

// watch looks at the server's memory until the span is over.
func watch(l *rig.Lab, s *rig.Server, span time.Duration) ([]look, error) {
	began := time.Now()
	var out []look
	for time.Since(began) < span {
		u, err := s.Usage()
		if err != nil {
			return nil, err
		}
		out = append(out, look{time.Since(began).Hours(), float64(u.RSS) / (1 << 20)})
		if len(out)%12 == 0 {
			l.Logf("after %v: %.1f MiB, %d descriptors, %d goroutines", time.Since(began).Round(time.Second), float64(u.RSS)/(1<<20), u.Files, u.Goroutines)
		}
		if err := l.Sleep(min(churnEvery*time.Second, span-time.Since(began))); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// slope is how memory grows, MiB an hour: a line through the least of each
// minute, for the collector lets it swing in between.
func slope(looks []look) float64 {
	const each = 60 / churnEvery
	var n, sx, sy, sxx, sxy float64
	for part := range slices.Chunk(looks, each) {
		least := slices.MinFunc(part, func(a, b look) int { return int(1000 * (a.mib - b.mib)) })
		n++
		sx, sy = sx+least.hours, sy+least.mib
		sxx, sxy = sxx+least.hours*least.hours, sxy+least.hours*least.mib
	}
	if d := n*sxx - sx*sx; d > 0 {
		return (n*sxy - sx*sy) / d
	}
	return 0
}
