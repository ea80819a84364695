package siprectest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// Call is one recording session. Its methods may be used by one goroutine at
// a time.
type Call struct {
	client   *Client
	plan     *plan
	id       string
	localTag string
	from, to sip.Uri
	sdp      sdpInfo
	meta     metaInfo
	streams  []*stream
	conns    []*net.UDPConn
	began    chan struct{} // closed when media begins
	ended    chan struct{} // closed when the recorder sent BYE
	endOnce  sync.Once

	mu        sync.Mutex
	target    sip.Uri // the remote target
	routes    []string
	remoteTag string
	cseq      uint32
	acks      map[uint32]*sip.Request // of 2xx answers, by CSeq
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
	local := c.link.addr()
	call := &Call{
		client: c, plan: p, id: newUID().String(), localTag: token(),
		from:   sip.Uri{Scheme: "sip", User: p.From, Host: uriHost(local.Addr()), Port: int(local.Port())},
		to:     sip.Uri{Scheme: "sip", User: p.To, Host: uriHost(c.remote.Addr()), Port: int(c.remote.Port())},
		began:  make(chan struct{}),
		ended:  make(chan struct{}),
		cseq:   0,
		acks:   make(map[uint32]*sip.Request),
		lose:   p.Faults.LoseAcks,
		report: CallReport{Number: n},
	}
	call.report.CallID = call.id
	call.target = call.to
	if c.link.network != "udp" {
		call.target.UriParams.Add("transport", c.link.network)
	}
	media := p.mediaAddr(local.Addr())
	call.sdp = sdpInfo{addr: media, id: uint64(random32()), ptime: int(p.Ptime / time.Millisecond), extra: p.ExtraMedia}
	call.meta = metaInfo{group: newUID(), session: newUID(), callID: newUID().String(), from: p.From, to: p.To, start: time.Now()}
	for i, leg := range p.Legs {
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(media, 0)))
		if err != nil {
			call.closeSockets()
			return nil, fmt.Errorf("open a media socket: %w", err)
		}
		call.conns = append(call.conns, conn)
		call.streams = append(call.streams, newStream(p, n, i, conn))
		call.sdp.lines = append(call.sdp.lines, mediaLine{
			port: addrPort(conn.LocalAddr()).Port(), codec: leg.Codec, label: leg.Label, direction: "sendonly"})
		call.meta.parties = append(call.meta.parties, metaParty{
			id: newUID(), stream: newUID(), name: leg.Name, aor: leg.AoR, label: leg.Label})
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
	for _, n := range checkAnswer(reply, c.labels(), len(c.sdp.lines)+len(c.plan.ExtraMedia)) {
		c.addNote(n)
	}
	c.apply(reply.Answer)
	return nil
}

// finalResponse sends an INVITE and waits for its final response; a 2xx is
// acknowledged, now and whenever it comes again (RFC 3261 13.2.2.4). After
// cancelAfter, unless 0, it sends CANCEL as soon as a 1xx has come.
func (c *Call) finalResponse(ctx context.Context, req *sip.Request, cancelAfter time.Duration) (*sip.Response, error) {
	tx, err := c.client.link.begin(ctx, req)
	if err != nil {
		return nil, err
	}
	tx.OnRetransmission(func(*sip.Response) { c.ack(req.CSeq().SeqNo) })
	var cancelAt <-chan time.Time
	if cancelAfter > 0 {
		timer := time.NewTimer(cancelAfter)
		defer timer.Stop()
		cancelAt = timer.C
	}
	answers := make(chan response, 1)
	go func() { // ends with the transaction or ctx
		for {
			res, err := c.await(ctx, tx)
			answers <- response{res, err}
			if err != nil || !res.IsProvisional() {
				return
			}
		}
	}()
	return c.settle(ctx, tx, req, answers, cancelAt)
}

// response is what one wait for a transaction brought.
type response struct {
	res *sip.Response
	err error
}
