package uas

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"siprecd/siprec/sessiontimer"
	"siprecd/siprec/wire"
)

const (
	allowValue     = "INVITE, ACK, BYE, CANCEL, UPDATE, OPTIONS, INFO"
	supportedValue = "timer, replaces, siprec"
)

// closeOnce closes a channel that several may want to close.
func closeOnce(mu *sync.Mutex, c chan struct{}) {
	mu.Lock()
	defer mu.Unlock()
	select {
	case <-c:
	default:
		close(c)
	}
}

// response starts a response. It is complete before it is first sent, and
// never changed after that: its copies leave from several goroutines.
func (s *Server) response(req *sip.Request, code int, reason string, body []byte) *sip.Response {
	res := sip.NewResponseFromRequest(req, code, reason, body)
	if s.cfg.UserAgent != "" && code > 100 {
		res.AppendHeader(sip.NewHeader("Server", s.cfg.UserAgent))
	}
	return res
}

// respond sends a response and counts the one that could not be sent.
func (s *Server) respond(tx *sip.ServerTx, res *sip.Response) error {
	err := tx.Respond(res)
	if err != nil && !errors.Is(err, sip.ErrTransactionCanceled) {
		s.Count("response-not-sent")
	}
	return err
}

// refuse sends a final response that is not a success.
func (s *Server) refuse(req *sip.Request, tx *sip.ServerTx, r *Refusal) {
	s.refuseTagged(req, tx, r, "")
}

func (s *Server) refuseTagged(req *sip.Request, tx *sip.ServerTx, r *Refusal, toTag string) {
	code := r.Code
	if code < 300 || code > 699 {
		code = 500
	}
	reason := wire.OneLine(r.Reason)
	if reason == "" {
		reason = "Refused"
	}
	res := s.response(req, code, reason, nil)
	if to := res.To(); to != nil && toTag != "" {
		to.Params.Remove("tag")
		to.Params.Add("tag", toTag)
	}
	if r.RetryAfter > 0 {
		secs := int((r.RetryAfter + time.Second - 1) / time.Second)
		res.AppendHeader(sip.NewHeader("Retry-After", strconv.Itoa(secs)))
	}
	if r.Warning != "" {
		res.AppendHeader(sip.NewHeader("Warning", wire.OneLine(r.Warning)))
	}
	switch code {
	case 405:
		res.AppendHeader(sip.NewHeader("Allow", allowValue))
	case 415:
		res.AppendHeader(sip.NewHeader("Accept", s.cfg.MediaTypes))
	case 420:
		res.AppendHeader(sip.NewHeader("Unsupported", strings.Join(unknownOptions(req), ", ")))
	case 422:
		res.AppendHeader(sip.NewHeader("Min-SE", strconv.Itoa(sessiontimer.MinSE)))
	}
	_ = s.respond(tx, res) // counted; the client will ask again
}

func intervalTooSmall() *Refusal { return &Refusal{Code: 422, Reason: "Session Interval Too Small"} }

func methodNotAllowed() *Refusal { return &Refusal{Code: 405, Reason: "Method Not Allowed"} }

// capabilities is the 200 to OPTIONS (RFC 3261 section 11.2). Some clients
// probe with it and count anything else as a recorder that is down.
func (s *Server) capabilities(req *sip.Request) *sip.Response {
	res := s.response(req, 200, "OK", nil)
	s.addCapabilities(res)
	return res
}

func (s *Server) addCapabilities(res *sip.Response) {
	res.AppendHeader(sip.NewHeader("Allow", allowValue))
	res.AppendHeader(sip.NewHeader("Accept", s.cfg.MediaTypes))
	res.AppendHeader(sip.NewHeader("Supported", supportedValue))
}

// require refuses a request that needs an extension we lack (RFC 3261
// 8.2.2.3). 100rel needs nothing of us: it is about provisional responses,
// and we send only 100 (RFC 3262 section 3).
func (s *Server) require(req *sip.Request) *Refusal {
	if len(unknownOptions(req)) == 0 {
		return nil
	}
	s.Count("extension-required")
	return &Refusal{Code: 420, Reason: "Bad Extension"}
}

func unknownOptions(req *sip.Request) []string {
	var out []string
	for _, o := range wire.Tokens(req, "Require") {
		switch strings.ToLower(o) {
		case "siprec", "timer", "100rel", "replaces":
		default:
			out = append(out, o)
		}
	}
	return out
}
