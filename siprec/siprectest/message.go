package siprectest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"siprecd/siprec/siprectest/offer"
)

// Reply is the final response to a request.
type Reply struct {
	Code   int
	Reason string
	Answer []AnswerLine // of an SDP body, one for each m-line
	Body   []byte
	res    *sip.Response
}

// Header is the value of the first header field of that name, "" for none.
func (r Reply) Header(name string) string {
	if r.res != nil {
		if h := r.res.GetHeader(name); h != nil {
			return h.Value()
		}
	}
	return ""
}

// StatusError is a final response other than 2xx to an INVITE.
type StatusError struct {
	Code   int
	Reason string
}

// Error implements error.
func (e *StatusError) Error() string { return fmt.Sprintf("refused: %d %s", e.Code, e.Reason) }

func newReply(res *sip.Response) Reply {
	return Reply{
		Code: res.StatusCode, Reason: res.Reason,
		Body: res.Body(), Answer: offer.ReadAnswer(res.Body()), res: res,
	}
}

// newRequest writes a request of the call: in its dialog once there is one.
func (c *Call) newRequest(method sip.RequestMethod, cseq uint32, body Body) *sip.Request {
	c.mu.Lock()
	target, routes, to := c.target, c.routes, sip.ToHeader{Address: c.to}
	if c.remoteTag != "" {
		to.Params.Add("tag", c.remoteTag)
	}
	c.mu.Unlock()

	req := sip.NewRequest(method, target)
	req.SetTransport(c.client.transport())
	local := c.client.link.Addr()
	via := &sip.ViaHeader{
		ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: c.client.transport(),
		Host: offer.URIHost(local.Addr()), Port: int(local.Port()),
	}
	via.Params.Add("branch", sip.GenerateBranch())
	via.Params.Add("rport", "")
	from := &sip.FromHeader{Address: c.from}
	from.Params.Add("tag", c.localTag)
	id, hops := sip.CallIDHeader(c.id), sip.MaxForwardsHeader(70)
	req.AppendHeader(via)
	for _, r := range routes {
		req.AppendHeader(sip.NewHeader("Route", r))
	}
	req.AppendHeader(&hops)
	req.AppendHeader(from)
	req.AppendHeader(&to)
	req.AppendHeader(&id)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: cseq, MethodName: method})
	req.AppendHeader(sip.NewHeader("User-Agent", c.plan.UserAgent))
	if method == sip.INVITE || method == sip.UPDATE {
		c.addSession(req)
	}
	if body.Type != "" {
		req.AppendHeader(sip.NewHeader("Content-Type", body.Type))
	}
	req.SetBody(body.Data)
	return req
}

// addSession adds what makes a request one of a recording session (RFC 7866
// 6.1), as the dialect has it.
func (c *Call) addSession(req *sip.Request) {
	tag := "+sip.src"
	if c.plan.Dialect == BroadWorks {
		tag = "src"
	} else {
		req.AppendHeader(sip.NewHeader("Require", "siprec"))
	}
	req.AppendHeader(sip.NewHeader("Contact", c.client.contact(tag)))
	req.AppendHeader(sip.NewHeader("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO"))
	req.AppendHeader(sip.NewHeader("Accept", "application/sdp, application/rs-metadata-request"))
}

// learn takes the remote side of the dialog from a 2xx (RFC 3261 12.1.2).
func (c *Call) learn(res *sip.Response) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if to := res.To(); to != nil {
		c.remoteTag, _ = to.Params.Get("tag")
	}
	if contact := res.Contact(); contact != nil {
		c.target = *contact.Address.Clone()
	}
	c.routes = nil
	rr := res.GetHeaders("Record-Route")
	for i := len(rr) - 1; i >= 0; i-- {
		c.routes = append(c.routes, rr[i].Value())
	}
}

// do sends a request other than INVITE and ACK and waits for its final
// response.
func (c *Call) do(ctx context.Context, req *sip.Request) (*sip.Response, error) {
	tx, err := c.client.link.Begin(ctx, req)
	if err != nil {
		return nil, err
	}
	defer tx.Terminate()
	for {
		res, err := c.await(ctx, tx, nil)
		if err != nil || !res.IsProvisional() {
			return res, err
		}
	}
}

// await waits for the next response of a transaction. When late fires first,
// there is neither response nor error.
func (c *Call) await(ctx context.Context, tx *sip.ClientTx, late <-chan time.Time) (*sip.Response, error) {
	select {
	case res := <-tx.Responses():
		return res, nil
	case <-late:
		return nil, nil
	case <-tx.Done():
		if err := tx.Err(); errors.Is(err, sip.ErrTransactionTimeout) {
			return nil, fmt.Errorf("no answer: %w", err)
		}
		return nil, c.client.link.Lost() // ended by the link
	case <-ctx.Done():
		return nil, fmt.Errorf("no answer: %w", context.Cause(ctx))
	}
}

// cancelRequest is the CANCEL of an INVITE (RFC 3261 9.1): same Request-URI,
// branch and numbers.
func cancelRequest(invite *sip.Request) *sip.Request {
	req := sip.NewRequest(sip.CANCEL, *invite.Recipient.Clone())
	req.SetTransport(invite.Transport())
	hops := sip.MaxForwardsHeader(70)
	req.AppendHeader(invite.Via().Clone())
	req.AppendHeader(&hops)
	sip.CopyHeaders("From", invite, req)
	sip.CopyHeaders("To", invite, req)
	sip.CopyHeaders("Call-ID", invite, req)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: invite.CSeq().SeqNo, MethodName: sip.CANCEL})
	req.SetBody(nil)
	return req
}

// checkAnswer notes what is odd about the answer to an offer of n m-lines.
func checkAnswer(r Reply, labels []string, n int) (notes []string) {
	if ct := r.Header("Content-Type"); !strings.HasPrefix(strings.ToLower(ct), "application/sdp") {
		notes = append(notes, "the answer is "+strconv.Quote(ct)+", not application/sdp")
	}
	if !strings.Contains(r.Header("Contact"), "+sip.srs") {
		notes = append(notes, "the answer's Contact lacks +sip.srs (RFC 7866 6.2)")
	}
	if len(r.Answer) != n {
		notes = append(notes, fmt.Sprintf("%d m-lines answer %d (RFC 3264 6)", len(r.Answer), n))
	}
	for i, a := range r.Answer {
		if i < len(labels) && a.Port != 0 && a.Label != labels[i] {
			notes = append(notes, fmt.Sprintf("m-line %d: label %q answers %q", i+1, a.Label, labels[i]))
		}
	}
	return notes
}
