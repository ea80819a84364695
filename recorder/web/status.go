package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// status answers /status in the form that the client asked for. Without a
// form of its own liking it gets JSON.
func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	f, ok := chooseForm(r)
	if !ok {
		http.Error(w, "follow is one of ndjson, sse", http.StatusBadRequest)
		return
	}
	w.Header().Set("Vary", "Accept")
	switch f {
	case formJSON:
		s.statusJSON(w)
	case formHTML:
		s.statusPage(w)
	case formNDJSON, formSSE, formPage:
		s.follow(w, r, f)
	}
}

func (s *Server) statusJSON(w http.ResponseWriter) {
	snap, err := s.feed.snapshot(0)
	if err != nil {
		s.fail(w, "encode status", err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(bytes.Clone(snap.json), '\n'))
}

func (s *Server) statusPage(w http.ResponseWriter) {
	snap, err := s.feed.snapshot(0)
	if err != nil {
		s.fail(w, "encode status", err)
		return
	}
	body, err := s.page.render("page", snap.status)
	if err != nil {
		s.fail(w, "render status", err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(body)
}

// fail answers 500 and logs the reason, which is never the client's business.
func (s *Server) fail(w http.ResponseWriter, step string, err error) {
	s.log.Error("cannot answer", "step", step, "error", err.Error())
	http.Error(w, "internal error", http.StatusInternalServerError)
}

// follow sends a status at once, then after each change but at most once a
// second, and at least every five seconds. A client that does not read for
// five seconds is dropped. There is no history: a client that comes back with
// Last-Event-ID gets the status of now, which is all that it missed.
func (s *Server) follow(w http.ResponseWriter, r *http.Request, f form) {
	kind := f
	if f == formPage {
		kind = formSSE
	}
	w.Header().Set("Content-Type", string(kind))
	w.Header().Set("X-Accel-Buffering", "no") // a proxy must not hold events back
	if r.Method == http.MethodHead {
		return
	}
	if !s.feed.join() {
		w.Header().Set("Retry-After", "10")
		http.Error(w, fmt.Sprintf("%d clients follow already; try again later", maxFollowers),
			http.StatusServiceUnavailable)
		return
	}
	defer s.feed.leave()
	err := s.stream(w, r, f)
	if err != nil && r.Context().Err() == nil {
		s.log.Info("follower dropped", "error", err.Error())
	}
}

func (s *Server) stream(w http.ResponseWriter, r *http.Request, f form) error {
	ticker := time.NewTicker(followPeriod)
	defer ticker.Stop()
	var seq uint64
	var sent time.Time
	maxAge := time.Duration(0) // the first one is fresh
	for {
		snap, err := s.feed.snapshot(maxAge)
		if err != nil {
			return err
		}
		if snap.seq != seq || time.Since(sent) >= followIdle-followPeriod/2 {
			if err := s.send(w, f, snap); err != nil {
				return err
			}
			seq, sent = snap.seq, time.Now()
		}
		maxAge = snapshotLife
		select {
		case <-ticker.C:
		case <-r.Context().Done():
			return context.Cause(r.Context())
		}
	}
}

// send writes one event, within the time that a follower may take for it.
func (s *Server) send(w http.ResponseWriter, f form, snap *snapshot) error {
	body := snap.json
	if f == formPage {
		var err error
		if body, err = s.page.render("main", snap.status); err != nil {
			return err
		}
	}
	var event bytes.Buffer
	if f == formNDJSON {
		event.Write(body)
		event.WriteByte('\n')
	} else {
		fmt.Fprintf(&event, "id: %s\nretry: 2000\n", s.feed.id(snap))
		for line := range bytes.Lines(body) {
			event.WriteString("data: ")
			event.Write(bytes.TrimRight(line, "\r\n"))
			event.WriteByte('\n')
		}
		event.WriteByte('\n')
	}
	rc := http.NewResponseController(w)
	err := rc.SetWriteDeadline(time.Now().Add(followTimeout))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := w.Write(event.Bytes()); err != nil {
		return err
	}
	return rc.Flush()
}
