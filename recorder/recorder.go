// Package recorder is one call from INVITE to finished recording: the only
// place where the SIP side, the media path and the store meet.
//
//	            policy.Rules: recorded now?
//	                   |
//	siprec.Server -> Recorder -> store.Recording (durable before the 200 OK)
//	                   |               ^
//	                   +-> media.Call -+ Opus packets
//
// A session that the policy does not want recorded is answered so that its
// caller never suffers, and nothing of it is kept. A session that it does want
// is admitted only once its keybox and catalogue row are on disk. Who is heard
// in which channel follows the client's metadata; where that is missing or
// contradicts the session description, the order of the media lines decides
// and the recording is flagged.
//
// In mid-call (change.go, succeed.go, watch.go): parties and channels follow the
// metadata from the instant it comes, and the history says so (package who);
// where a session names its next call, a second recording takes over its ports;
// recordings of one call are linked (package kin); a session that lost its
// client is ended (package vigil).
//
// Status, Ready and Admit are computed here from the facts of the three rooms, so
// that the status page, /readyz and the answer to OPTIONS cannot disagree.
package recorder

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"siprecd/media"
	"siprecd/recorder/alarm"
	"siprecd/recorder/assure"
	"siprecd/recorder/files"
	"siprecd/recorder/guard"
	"siprecd/recorder/kin"
	"siprecd/recorder/recall"
	"siprecd/siprec"
	"siprecd/siprec/trace"
	"siprecd/store"
	"siprecd/store/policy"
)

// Config is what a Recorder needs. All fields but RefuseUnlisted, Reserve and Peer are required.
type Config struct {
	Rules          *policy.Rules
	Store          *store.Store
	Media          *media.Engine
	Address        netip.Addr // where recording clients send media
	Layout         media.Layout
	Bitrate        int                          // bit/s
	Complexity     int                          // 0 to 10
	RefuseUnlisted bool                         // calls on no listed line, or outside its windows, get 403; else they are answered and discarded
	Reserve        uint64                       // bytes free on the store's disk below which new calls get 503
	Peer           func(netip.Addr) PeerOptions // how a client is treated; nil: by RefuseUnlisted and the defaults
	MediaTimeout   time.Duration                // how long no media may come, on legs that are not on hold, before a session is given up; 0: 30 s
	Alarms         alarm.Limits                 // when a leg of a live call is at fault
	Dir            string                       // where the account of completeness is kept; "": nowhere
	Version        string
	Log            *slog.Logger
}

// Recorder implements siprec.Handler.
type Recorder struct {
	ctx     context.Context // the process's: a call's end is not cut off by its dialog's
	cfg     Config
	log     *slog.Logger
	started time.Time
	kin     *kin.Table
	guard   *guard.Guard
	desk    *assure.Desk

	mu        sync.Mutex       // guards what follows
	calls     map[string]*call // by session id
	decisions map[string]uint64
	warnings  map[string]uint64
	checks    map[string]Check // last verdicts, to know since when
	draining  time.Time        // since when no new call is taken; zero: they are
	server    Server
	book      recall.Book // calls that ended lately
	files     files.Watch
}

// Server is what the recorder asks of the SIP side for its status.
type Server interface {
	Addrs() []string
	Counters() map[string]uint64
	Peers() ([]siprec.Peer, siprec.Strangers)
	Trace() *trace.Ring
}

// New returns a Recorder that records nothing until a siprec.Server calls it.
// ctx must outlive every session: its end cuts the finishing of recordings short.
func New(ctx context.Context, cfg Config) *Recorder {
	log := cfg.Log.With("part", "recorder")
	return &Recorder{
		ctx:       ctx,
		cfg:       cfg,
		log:       log,
		started:   time.Now(),
		calls:     map[string]*call{},
		decisions: map[string]uint64{},
		warnings:  map[string]uint64{},
		checks:    map[string]Check{},
		kin:       kin.New(),
		guard:     guard.New(cfg.Complexity),
		desk:      assure.New(cfg.Dir, cfg.Rules.Location(), cfg.Alarms, log),
	}
}

// Attach tells the recorder which SIP server calls it, for its status.
func (r *Recorder) Attach(s Server) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.server = s
}

// Drain makes the recorder refuse new calls from now on; live ones go on.
func (r *Recorder) Drain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining.IsZero() {
		r.draining = time.Now()
	}
}

// Open implements siprec.Handler: policy first, then what was offered, then
// durability, then the answer.
func (r *Recorder) Open(ctx context.Context, s *siprec.Session, c siprec.Change) (*siprec.Answer, error) {
	if err := r.strict(s); err != nil {
		return nil, err
	}
	k := &call{r: r, session: s}
	k.note(c)
	k.snapshot(c)
	d := r.decide(k.id, k.metadata)
	r.count(d.Reason)
	k.decision = d
	if !d.Record {
		if r.peerOf(s).RefuseUnlisted {
			return nil, &siprec.Refusal{Code: 403, Reason: "Line Not Recorded"}
		}
		r.add(k)
		return k.decline(c.Offer), nil
	}
	a, err := k.begin(ctx, c)
	if err != nil {
		r.desk.Refused(d.Line, err)
		return nil, err
	}
	r.add(k)
	return a, nil
}

// Close implements siprec.Handler.
func (r *Recorder) Close(s *siprec.Session, end siprec.End) {
	k := r.get(s)
	if k == nil {
		return
	}
	k.mu.Lock()
	if end.Cause == "hangup" && k.watch.cause != "" {
		end.Cause = k.watch.cause
	}
	k.mu.Unlock()
	ending := k.traced() // for who asks before the recording is finished
	r.mu.Lock()
	r.book.Remember(ending)
	delete(r.calls, s.ID()) // over: what is left is the store's, and it tells
	r.mu.Unlock()
	switch {
	case k.rec != nil:
		k.finish(end)
	case k.media != nil: // of a recording that was discarded
		k.media.Finish(end.At)
	}
	t := k.traced()
	r.mu.Lock()
	r.book.Remember(t)
	r.mu.Unlock()
}

// Receiving says that media of the session arrived within the last seconds:
// such a call is not ended for want of an ACK.
func (r *Recorder) Receiving(s *siprec.Session) bool {
	k := r.get(s)
	return k != nil && k.receiving(time.Now())
}

func (r *Recorder) add(k *call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls[k.session.ID()] = k
}

func (r *Recorder) get(s *siprec.Session) *call {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls[s.ID()]
}

func (r *Recorder) count(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.decisions[reason]++
}
