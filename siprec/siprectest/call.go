package siprectest

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"siprecd/siprec/siprectest/keying"
	"siprecd/siprec/siprectest/offer"
	"siprecd/siprec/siprectest/rtpsend"
)

// Call is one recording session. Its methods may be used by one goroutine at
// a time.
type Call struct {
	client   *Client
	plan     *plan
	id       string
	localTag string
	from, to sip.Uri
	sdp      offer.SDP
	meta     offer.Metadata
	streams  []*rtpsend.Stream
	keys     []*keys         // of each leg; nil: it is plain
	over     context.Context // ends with the call
	end      context.CancelFunc
	shakes   sync.WaitGroup // handshakes
	ended    chan struct{}  // closed when the recorder sent BYE
	endOnce  sync.Once

	mu        sync.Mutex
	target    sip.Uri // the remote target
	routes    []string
	remoteTag string
	cseq      uint32
	acks      map[uint32]*sip.Request // of 2xx answers, by CSeq
	invites   []*sip.ClientTx         // that were answered with 2xx
	lose      int                     // ACKs still to lose
	report    CallReport
	answered  time.Time
}

// Invite places one call: INVITE, 200, ACK, and then the media of every leg
// begins. It returns when media has begun. A final response other than 2xx is
// a *StatusError. Options.Target, TLS, Calls, Rate, Concurrent and Script
// have no part in it. Media ends after Options.Duration, or with the longest
// audio, or with Bye; the dialog stays until Bye, Vanish or Client.Close.
func (c *Client) Invite(ctx context.Context, o Options) (*Call, error) {
	p, err := makePlan(o)
	if err != nil {
		return nil, err
	}
	call, err := c.newCall(p, 0)
	if err != nil {
		return nil, err
	}
	if err := call.invite(ctx); err != nil {
		call.drop("refused")
		return nil, err
	}
	call.start()
	return call, nil
}

// newCall opens the media sockets of call number n and writes its identity.
func (c *Client) newCall(p *plan, n int) (*Call, error) {
	local := c.link.Addr()
	call := &Call{
		client: c, plan: p, id: offer.NewUID().String(), localTag: offer.Token(),
		from:   sip.Uri{Scheme: "sip", User: p.From, Host: offer.URIHost(local.Addr())},
		to:     sip.Uri{Scheme: "sip", User: p.To, Host: offer.URIHost(c.remote.Addr())},
		ended:  make(chan struct{}),
		acks:   make(map[uint32]*sip.Request),
		lose:   p.Faults.LoseAcks,
		report: CallReport{Number: n},
	}
	call.report.CallID = call.id
	call.over, call.end = context.WithCancel(c.up)
	call.target = call.to
	call.target.Port = int(c.remote.Port())
	if c.link.Network != "udp" {
		call.target.UriParams.Add("transport", c.link.Network)
	}
	media := p.mediaAddr(local.Addr())
	call.sdp = offer.SDP{Addr: media, ID: uint64(offer.Random32()), Ptime: int(p.Ptime / time.Millisecond), Extra: p.ExtraMedia}
	call.meta = offer.Metadata{
		Group: offer.NewUID(), Session: offer.NewUID(), CallID: offer.NewUID().String(),
		From: p.From, To: p.To, Start: time.Now(),
	}
	for i, leg := range p.Legs {
		s, err := p.stream(c.pacer, media, n, i)
		if err != nil {
			call.halt()
			return nil, err
		}
		call.streams = append(call.streams, s)
		line := offer.Line{Port: s.Port(), Codec: leg.Codec, Label: leg.Label, Direction: "sendonly"}
		if leg.SRTP.On() {
			secret, err := keying.New(leg.SRTP)
			if err != nil {
				call.halt()
				return nil, err
			}
			secret.Line(&line)
			call.keys = append(call.keys, &keys{Secret: secret})
		} else {
			call.keys = append(call.keys, nil)
		}
		call.sdp.Lines = append(call.sdp.Lines, line)
		call.meta.Parties = append(call.meta.Parties, offer.Party{
			ID: offer.NewUID(), Stream: offer.NewUID(), Name: leg.Name, AoR: leg.AoR, Label: leg.Label})
	}
	c.add(call)
	return call, nil
}

// invite sends the first INVITE and acknowledges its 2xx.
func (c *Call) invite(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.plan.Timeout)
	defer cancel()
	req := c.newRequest(sip.INVITE, c.nextCSeq(), c.offerBody(Offer{}))
	for _, h := range c.plan.Headers {
		req.AppendHeader(sip.NewHeader(h.Name, h.Value))
	}
	sent := time.Now()
	res, err := c.finalResponse(ctx, req, c.plan.Faults.CancelAfter)
	if err != nil {
		return c.note(fmt.Errorf("INVITE: %w", err))
	}
	c.mu.Lock()
	c.report.Code, c.report.Reason = res.StatusCode, res.Reason
	c.report.SetupSeconds = time.Since(sent).Seconds()
	c.mu.Unlock()
	if !res.IsSuccess() {
		return &StatusError{Code: res.StatusCode, Reason: res.Reason}
	}
	c.mu.Lock()
	c.answered = time.Now()
	c.mu.Unlock()
	reply := newReply(res)
	for _, n := range checkAnswer(reply, c.labels(), len(c.sdp.Lines)+len(c.plan.ExtraMedia)) {
		c.addNote(n)
	}
	c.apply(reply.Answer)
	return nil
}

// finalResponse sends an INVITE and waits for its final response; a 2xx is
// acknowledged, now and whenever it comes again (RFC 3261 13.2.2.4). After
// cancelAfter, unless 0, it sends CANCEL as soon as a 1xx has come.
func (c *Call) finalResponse(ctx context.Context, req *sip.Request, cancelAfter time.Duration) (*sip.Response, error) {
	tx, err := c.client.link.Begin(ctx, req)
	if err != nil {
		return nil, err
	}
	seq := req.CSeq().SeqNo
	tx.OnRetransmission(func(*sip.Response) { c.ack(seq) })
	var late <-chan time.Time
	if cancelAfter > 0 {
		timer := time.NewTimer(cancelAfter)
		defer timer.Stop()
		late = timer.C
	}
	var ringing, wanted bool // a 1xx came; CANCEL is due
	for {
		res, err := c.await(ctx, tx, late)
		switch {
		case err != nil:
			_ = c.client.link.WriteMsg(cancelRequest(req)) // the caller has given up
			tx.Terminate()
			return nil, err
		case res == nil:
			wanted = true
		case !res.IsProvisional():
			if res.IsSuccess() {
				c.learn(res)
				c.keep(tx, seq)
				c.ack(seq)
			}
			return res, nil
		default:
			ringing = true
		}
		if wanted && ringing {
			wanted = false
			if _, err := c.do(ctx, cancelRequest(req)); err != nil {
				c.addNote("CANCEL: " + err.Error())
			}
		}
	}
}

// keep holds on to an answered INVITE until the call ends: its 2xx may come
// again. Its ACK is made once, so that every copy is the same.
func (c *Call) keep(tx *sip.ClientTx, seq uint32) {
	ack := c.newRequest(sip.ACK, seq, Body{})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.invites = append(c.invites, tx)
	c.acks[seq] = ack
}

// ack sends the ACK of a 2xx, unless it is one to lose.
func (c *Call) ack(seq uint32) {
	c.mu.Lock()
	ack := c.acks[seq]
	lost := ack != nil && c.lose > 0
	if lost {
		c.lose--
		c.report.AcksLost++
	}
	c.mu.Unlock()
	if ack != nil && !lost {
		_ = c.client.link.WriteMsg(ack) // its 2xx comes again if this is lost
	}
}

// apply sets the streams to what the recorder says it takes.
func (c *Call) apply(answer []AnswerLine) {
	c.mu.Lock()
	c.report.Answer = answer
	c.mu.Unlock()
	for i, s := range c.streams {
		var to netip.AddrPort // silent
		if i < len(answer) && answer[i].Receives() && !c.plan.Faults.NoMedia && c.secure(i, answer[i]) {
			to = netip.AddrPortFrom(answer[i].Addr, uint16(answer[i].Port))
		}
		s.Aim(to)
	}
}

// start begins the media.
func (c *Call) start() {
	c.mu.Lock()
	c.report.MediaAt = time.Now()
	c.mu.Unlock()
	c.client.pacer.Start(c.streams...)
}

// Done is closed when the recorder has ended the call.
func (c *Call) Done() <-chan struct{} { return c.ended }

// ID is the Call-ID.
func (c *Call) ID() string { return c.id }

// Wait waits until the media has been sent, the recorder has hung up or ctx
// ends, which is the only error.
func (c *Call) Wait(ctx context.Context) error {
	for _, s := range c.streams {
		select {
		case <-s.Done():
		case <-c.ended:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// Bye ends the call: media stops, then BYE, then its answer. Ended already by
// the recorder, it only cleans up.
func (c *Call) Bye(ctx context.Context) error {
	c.halt()
	select {
	case <-c.ended:
		c.drop("remote bye")
		return nil
	default:
	}
	defer c.drop("bye")
	ctx, cancel := context.WithTimeout(ctx, c.plan.Timeout)
	defer cancel()
	c.mu.Lock()
	c.report.ByeAt = time.Now()
	c.mu.Unlock()
	res, err := c.do(ctx, c.newRequest(sip.BYE, c.nextCSeq(), Body{}))
	if err != nil {
		return c.note(fmt.Errorf("BYE: %w", err))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.ByeCode = res.StatusCode
	if !res.IsSuccess() {
		return fmt.Errorf("BYE: %d %s", res.StatusCode, res.Reason)
	}
	return nil
}

// Vanish ends the call without telling the recorder.
func (c *Call) Vanish() {
	c.halt()
	c.drop("vanished")
}

// remoteBye takes the recorder's BYE.
func (c *Call) remoteBye(req *sip.Request) {
	c.endOnce.Do(func() {
		if h := req.GetHeader("Reason"); h != nil {
			c.addNote("the recorder hung up: " + h.Value())
		}
		close(c.ended)
	})
}

// halt ends the media.
func (c *Call) halt() {
	for _, s := range c.streams {
		s.Halt()
	}
}

// drop forgets the call and settles its report.
func (c *Call) drop(how string) {
	c.client.remove(c)
	c.end()
	c.halt()
	c.shakes.Wait()
	c.mu.Lock()
	c.report.Ended = how
	if !c.answered.IsZero() {
		c.report.TalkSeconds = time.Since(c.answered).Seconds()
	}
	invites := c.invites
	c.mu.Unlock()
	for _, tx := range invites {
		tx.Terminate()
	}
}

// Report is what has been seen of the call so far.
func (c *Call) Report() CallReport {
	c.mu.Lock()
	r := c.report
	r.Notes = append([]string(nil), r.Notes...)
	c.mu.Unlock()
	for _, s := range c.streams {
		r.Legs = append(r.Legs, s.Stats())
	}
	return r
}

func (c *Call) nextCSeq() uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cseq++
	return c.cseq
}

func (c *Call) labels() []string {
	var labels []string
	for _, l := range c.plan.Legs {
		labels = append(labels, l.Label)
	}
	return labels
}

func (c *Call) addNote(n string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Notes = append(c.report.Notes, n)
}

// note keeps the first error for the report and hands it on.
func (c *Call) note(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.report.Error == "" {
		c.report.Error = err.Error()
	}
	return err
}
