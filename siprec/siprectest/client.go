package siprectest

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/emiago/sipgo/sip"

	"siprecd/siprec/siprectest/link"
	"siprecd/siprec/siprectest/rtpsend"
)

// Client is a recording client bound to one recorder. All its calls share one
// SIP socket and one pacing goroutine.
type Client struct {
	link   *link.Link
	pacer  *rtpsend.Pacer
	remote netip.AddrPort
	up     context.Context // for handshakes of calls; it outlives a run that is stopped

	mu    sync.Mutex
	calls map[string]*Call // by Call-ID
}

// Dial opens the SIP socket to a target, as Options.Target is written. tlsc is
// for tls:// targets; nil verifies against the system's roots. Close it.
func Dial(ctx context.Context, to string, tlsc *tls.Config) (*Client, error) {
	network, addr, err := target(to)
	if err != nil {
		return nil, err
	}
	c := &Client{calls: make(map[string]*Call), pacer: rtpsend.NewPacer(), up: context.WithoutCancel(ctx)}
	c.link = link.New(link.Config{
		Network: network, Dial: dialer(network, addr, tlsc), Requests: c.serve, Strays: c.strayResponse,
	})
	if err := c.link.Connect(ctx); err != nil {
		c.pacer.Stop()
		return nil, err
	}
	c.remote = c.link.Remote()
	return c, nil
}

func dialer(network, addr string, tlsc *tls.Config) func(context.Context) (net.Conn, error) {
	if network == "tls" {
		d := &tls.Dialer{Config: tlsc}
		return func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
	}
	d := &net.Dialer{}
	return func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, network, addr) }
}

// LocalAddr is the address of the SIP socket.
func (c *Client) LocalAddr() netip.AddrPort { return c.link.Addr() }

// SendRaw writes bytes to the SIP socket as they are.
func (c *Client) SendRaw(b []byte) error { return c.link.Send(b) }

// Close ends the client. Calls that are still up are left as they are: the
// recorder hears no BYE.
func (c *Client) Close() error {
	c.pacer.Stop()
	err := c.link.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, call := range c.calls {
		call.end()
		call.halt()
		call.shakes.Wait()
	}
	return err
}

func (c *Client) add(call *Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[call.id] = call
}

func (c *Client) remove(call *Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.calls, call.id)
}

func (c *Client) find(m sip.Message) *Call {
	id := m.CallID()
	if id == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls[id.Value()]
}

// strayResponse answers a 2xx whose transaction is over with its ACK.
func (c *Client) strayResponse(res *sip.Response) {
	cseq := res.CSeq()
	if call := c.find(res); call != nil && cseq != nil && cseq.MethodName == sip.INVITE && res.IsSuccess() {
		call.ack(cseq.SeqNo)
	}
}

// serve answers the recorder's own requests. It keeps no transactions: a
// repeated request gets the same answer again.
func (c *Client) serve(req *sip.Request) {
	call := c.find(req)
	code, reason, body := 200, "OK", []byte(nil)
	switch {
	case req.IsAck():
		return
	case req.Method == sip.OPTIONS:
	case call == nil:
		code, reason = 481, "Call/Transaction Does Not Exist"
	case req.Method == sip.BYE:
		call.remoteBye(req)
	case req.IsInvite(), req.Method == sip.UPDATE:
		body = call.reoffered(req)
	case req.Method == sip.INFO:
	default:
		code, reason = 405, "Method Not Allowed"
	}
	res := sip.NewResponseFromRequest(req, code, reason, body)
	if body != nil {
		res.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
		res.AppendHeader(sip.NewHeader("Contact", c.contact("+sip.src")))
	}
	_ = c.link.WriteMsg(res) // a lost response is sent again when the request is
}

// contact is the value of our Contact header, with a feature tag.
func (c *Client) contact(tag string) string {
	uri := "sip:src@" + c.link.Addr().String()
	if c.link.Network != "udp" {
		uri += ";transport=" + c.link.Network
	}
	return fmt.Sprintf("<%s>;%s", uri, tag)
}

// transport is the network's name as Via writes it.
func (c *Client) transport() string { return strings.ToUpper(c.link.Network) }
