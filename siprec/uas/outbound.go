package uas

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"siprecd/siprec/transport"
	"siprecd/siprec/wire"
)

// target is what it takes to send requests in a dialog as its UAS (RFC 3261
// section 12.1.1).
type target struct {
	contact    sip.Uri        // ours
	local      netip.AddrPort // where the peer reaches us
	sock       sip.Addr       // the socket to send from; udp only
	network    string
	source     netip.AddrPort // where the client's latest request came from
	remote     sip.Uri        // the client's Contact
	routes     []string
	from, to   string // header values: ours, theirs
	cseq       uint32
	update     bool // the client may take UPDATE
	saysUpdate bool // and says so
}

func newTarget(req *sip.Request, tx *sip.ServerTx, peer netip.AddrPort, localTag string) target {
	sock := tx.Connection().LocalAddr()
	t := target{network: transportOf(req), local: wire.LocalAddr(sock, peer), source: peer, remote: req.Recipient, cseq: 1}
	t.contact = wire.ContactURI(t.local, t.network, req.Recipient.Scheme == "sips")
	if ap := wire.AddrPort(sock.String()); t.network == "udp" && ap.IsValid() {
		t.sock = sip.Addr{IP: ap.Addr().AsSlice(), Port: int(ap.Port())}
	}
	for _, h := range req.GetHeaders("Record-Route") {
		t.routes = append(t.routes, h.Value())
	}
	to := *req.To()
	to.Params = to.Params.Clone()
	to.Params.Remove("tag")
	to.Params.Add("tag", localTag)
	t.from, t.to = to.Value(), req.From().Value()
	t.refresh(req)
	return t
}

// refresh notes where the client is now: INVITE and UPDATE move the target
// (RFC 3261 12.2, RFC 3311 5.2), and a lost TCP connection comes back from
// another port.
func (t *target) refresh(req *sip.Request) {
	if c := req.Contact(); c != nil && !c.Address.Wildcard && c.Address.Host != "" {
		t.remote = *c.Address.Clone()
		t.remote.Headers = nil
	}
	if src := wire.AddrPort(req.Source()); src.IsValid() && transportOf(req) == t.network {
		t.source = src
	}
	allow := wire.Tokens(req, "Allow")
	t.saysUpdate = wire.HasToken(allow, "UPDATE")
	t.update = len(allow) == 0 || t.saysUpdate
}

// destination is where requests go: along the route or to the Contact when
// that names an address of an allowed peer, else back to where the client's
// came from. Nothing is ever sent to anyone who is not on the allow-list.
func (d *Dialog) destination() netip.AddrPort {
	t := &d.target
	if t.network != "udp" {
		// The client's own connection, while it lives.
		if c, err := d.srv.stack.TP.GetConnection(t.network, t.source.String()); err == nil {
			_, _ = c.TryClose()
			return t.source
		}
	}
	u := t.remote
	if len(t.routes) > 0 {
		var r sip.RouteHeader
		value := strings.Trim(t.routes[0], "<>")
		if sip.ParseUri(strings.SplitN(value, ">", 2)[0], &r.Address) == nil {
			u = r.Address
		}
	}
	ip, err := netip.ParseAddr(strings.Trim(u.Host, "[]"))
	if err != nil || !d.srv.stack.Allowed(ip) {
		return t.source
	}
	port := u.Port
	if port == 0 {
		port = sip.DefaultPort(t.network)
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(port))
}

// request starts a request of ours in the dialog.
func (d *Dialog) request(method sip.RequestMethod) *sip.Request {
	t := &d.target
	t.cseq++
	req := sip.NewRequest(method, t.remote)
	via := &sip.ViaHeader{ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: strings.ToUpper(t.network),
		Host: t.local.Addr().String(), Port: int(t.local.Port()), Params: sip.NewParams()}
	via.Params.Add("branch", sip.GenerateBranch())
	via.Params.Add("rport", "")
	req.AppendHeader(via)
	for _, r := range t.routes {
		req.AppendHeader(sip.NewHeader("Route", r))
	}
	hops := sip.MaxForwardsHeader(70)
	req.AppendHeader(&hops)
	req.AppendHeader(sip.NewHeader("From", t.from))
	req.AppendHeader(sip.NewHeader("To", t.to))
	id := sip.CallIDHeader(d.key.callID)
	req.AppendHeader(&id)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: t.cseq, MethodName: method})
	req.AppendHeader(wire.ContactHeader(t.contact))
	if ua := d.srv.cfg.UserAgent; ua != "" {
		req.AppendHeader(sip.NewHeader("User-Agent", ua))
	}
	req.SetBody(nil)
	req.SetTransport(strings.ToUpper(t.network))
	req.SetDestination(d.destination().String())
	req.Laddr = t.sock
	return req
}

// send starts a transaction and waits for its end beside the dialog; then is
// told the final status, 0 when there was none.
func (d *Dialog) send(req *sip.Request, then func(status int)) {
	s := d.srv
	s.work.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), 5*time.Second)
		defer cancel()
		tx, err := s.stack.Request(ctx, req)
		if err != nil {
			s.Count("request-not-sent")
			d.log.Warn("request was not sent", "method", req.Method, "error", transport.Mask(err.Error()))
			then(0)
			return
		}
		defer tx.Terminate()
		for {
			select {
			case res := <-tx.Responses():
				if !res.IsProvisional() {
					then(res.StatusCode)
					return
				}
			case <-tx.Done():
				then(0)
				return
			case <-s.closed:
				return
			}
		}
	})
}

// sendBye says goodbye; nothing depends on the reply, for many recording
// clients refuse it.
func (d *Dialog) sendBye(reason string) {
	if !d.isOpen() {
		return
	}
	req := d.request(sip.BYE)
	if reason != "" {
		req.AppendHeader(sip.NewHeader("Reason", `SIP;cause=200;text="`+strings.NewReplacer(`"`, `'`, `\`, ``).Replace(wire.OneLine(reason))+`"`))
	}
	d.send(req, func(int) {})
}

// sendRefresh is an UPDATE without a body, which recording clients are known
// to take (RFC 4028 section 7.4). In this transaction we are the UAC.
func (d *Dialog) sendRefresh() {
	if !d.target.update {
		d.srv.Count("refresh-not-possible")
		return
	}
	req := d.request(sip.UPDATE)
	d.timer.Keep(req)
	d.send(req, func(status int) {
		if status == 481 {
			d.hangup("session lost", "unknown to the client")
		}
	})
}
