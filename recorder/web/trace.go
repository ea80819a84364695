package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"siprecd/recorder"
)

// trace answers /trace?call=…, ?last or ?refused on the control socket.
func (s *Server) trace(w http.ResponseWriter, r *http.Request) {
	if s.tracer == nil {
		notFound(w, r)
		return
	}
	v := r.URL.Query()
	q := recorder.TraceQuery{Call: v.Get("call"), Last: v.Has("last"), Refused: v.Has("refused")}
	if q == (recorder.TraceQuery{}) {
		http.Error(w, "one of call, last, refused is needed", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	// A client that has gone is nobody to tell.
	_ = json.NewEncoder(w).Encode(s.tracer.Trace(q))
}

// Trace asks for the messages of the calls that a query names.
func (c *Client) Trace(ctx context.Context, q recorder.TraceQuery) ([]recorder.Traced, error) {
	v := url.Values{}
	switch {
	case q.Last:
		v.Set("last", "1")
	case q.Refused:
		v.Set("refused", "1")
	default:
		v.Set("call", q.Call)
	}
	body, err := c.get(ctx, "/trace?"+v.Encode())
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var out []recorder.Traced
	if err := json.NewDecoder(body).Decode(&out); err != nil {
		return nil, fmt.Errorf("read the server's answer: %w", err)
	}
	return out, nil
}
