package siprectest

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// byeGrace is how long a run that is stopped waits for the answers to its
// BYEs.
const byeGrace = 5 * time.Second

// Run opens a client, places Options.Calls calls and reports on them. The
// error is about the options (ErrOptions) or the connection; what befell the
// calls is in the report, which has at least one. When ctx ends, no further call
// is placed, those that are up are ended with BYE, and the report so far is
// returned; the cause of ctx is the error if none was placed.
func Run(ctx context.Context, o Options) (Report, error) {
	p, err := makePlan(o)
	if err != nil {
		return Report{}, err
	}
	if p.media == 0 {
		return Report{}, fmt.Errorf("%w: no audio and no duration", ErrOptions)
	}
	c, err := Dial(ctx, o.Target, o.TLS)
	if err != nil {
		return Report{}, err
	}
	cpu, began := cpuTime(), time.Now()
	r := Report{Calls: c.runAll(ctx, p)}
	if err := c.Close(); err != nil {
		p.Log.Warn("close client", "err", err)
	}
	if len(r.Calls) == 0 {
		return r, context.Cause(ctx)
	}
	r.total(p.media)
	r.Totals.CPUSeconds = (cpuTime() - cpu).Seconds()
	r.Totals.ElapsedSeconds = time.Since(began).Seconds()
	r.Totals.Packets.Failed += c.pacer.Failed()
	r.Totals.MaxLagSeconds = c.pacer.Lag().Seconds()
	return r, nil
}

// runAll places the plan's calls at its rate and waits for them.
func (c *Client) runAll(ctx context.Context, p *plan) []CallReport {
	reports := make([]CallReport, p.Calls)
	limit := p.Concurrent
	if limit == 0 {
		limit = p.Calls
	}
	room := make(chan struct{}, limit)
	var calls sync.WaitGroup
	began, placed := time.Now(), 0
	for ; placed < p.Calls; placed++ {
		if !c.turn(ctx, p, began, placed) || !enter(ctx, room) {
			break
		}
		n := placed
		calls.Go(func() {
			defer func() { <-room }()
			reports[n] = c.runCall(ctx, p, n)
		})
	}
	calls.Wait()
	return reports[:placed]
}

// turn waits until call n is due.
func (c *Client) turn(ctx context.Context, p *plan, began time.Time, n int) bool {
	if p.Rate == 0 {
		return ctx.Err() == nil
	}
	at := time.Duration(float64(n) / p.Rate * float64(time.Second))
	timer := time.NewTimer(at - time.Since(began))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func enter(ctx context.Context, room chan<- struct{}) bool {
	select {
	case room <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// runCall places one call and stays with it to its end.
func (c *Client) runCall(ctx context.Context, p *plan, n int) CallReport {
	call, err := c.newCall(p, n)
	if err != nil {
		return CallReport{Number: n, Error: err.Error(), Ended: "failed"}
	}
	if err := call.invite(ctx); err != nil {
		call.drop("refused")
		return call.Report()
	}
	call.start()
	if err := call.play(ctx); err != nil {
		call.addNote("stopped: " + err.Error())
	}
	if p.Faults.NoBye {
		call.Vanish()
		return call.Report()
	}
	if ctx.Err() != nil { // a stopped run still hangs up
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), byeGrace)
		defer cancel()
	}
	if err := call.Bye(ctx); err != nil {
		p.Log.Debug("end call", "call", n, "err", err)
	}
	return call.Report()
}
