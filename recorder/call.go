package recorder

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"siprecd/media"
	"siprecd/recorder/account"
	"siprecd/recorder/assure"
	"siprecd/recorder/keying"
	"siprecd/recorder/terms"
	"siprecd/recorder/who"
	"siprecd/siprec"
	"siprecd/siprec/sdp"
	"siprecd/store"
	"siprecd/store/policy"
)

// receivingWithin is how fresh a packet must be for its call to count as
// receiving media.
const receivingWithin = 5 * time.Second

// What is kept of a call's metadata documents, bytes, and of its history, lines.
const (
	maxDocuments = 1 << 20
	maxHistory   = 1000
)

// manyStrays is how many packets of a second sender are more than an accident:
// a second of audio.
const manyStrays = 50

// unidentifiedFlag marks a recording whose line nothing named.
const unidentifiedFlag = "line unidentified"

// call is one recording session. The SIP side never calls it twice at a time;
// mu is for the status, which reads from elsewhere.
type call struct {
	r       *Recorder
	session *siprec.Session

	mu        sync.Mutex
	decision  policy.Decision
	refused   bool             // it could not be begun, and the account has it
	rec       *store.Recording // nil: not recorded
	media     *media.Call
	sink      *gate // between media and rec
	layout    media.Layout
	rate      int       // that the encoder begins with, Hz
	start     time.Time // sample 0
	legs      []*leg    // by media line; nil where none is recorded
	unplayed  []int     // media lines with sound that are not recorded
	flags     []string
	history   []store.Event
	documents []store.Document
	kept      int // bytes of documents
	metadata  metadataState
	id        siprec.Identity // of this call: the session's may be the next one's already
	book      who.Book
	sought    []string     // keys by which other recordings were looked for
	links     []store.Link // once finished
	watch     watch
	summary   media.Summary // once finished
}

// gate is a sink that can be shut.
type gate struct {
	media.Sink
	shut atomic.Bool
}

// WritePackets implements media.Sink.
func (g *gate) WritePackets(packets [][]byte) {
	if !g.shut.Load() {
		g.Sink.WritePackets(packets)
	}
}

// leg is one recorded media line.
type leg struct {
	stream *media.Stream
	label  string
	cfg    media.StreamConfig
	hold   bool // the description says so; cfg.Hold also when the metadata does
	named  bool // its side is known by metadata
	sec    keying.Protection
}

// note keeps what a request brought beside its offer.
func (k *call) note(c siprec.Change) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.id = k.session.Identity()
	k.watch.Stirred(c.At)
	if c.MetadataRaw != nil {
		d := store.Document{At: c.At.UTC(), Body: c.MetadataRaw}
		if c.MetadataErr != nil {
			d.Error = c.MetadataErr.Error()
			k.flag("bad metadata")
			k.metadata = max(k.metadata, badMetadata)
		} else {
			k.metadata = goodMetadata
			if c.Metadata.Clash() {
				k.flag("metadata ids clash")
			}
		}
		k.keep(d)
	}
}

// keep adds a metadata document that is not the same as the one before, as
// long as there is room: a client that sends one a second must not fill the
// catalogue. The caller holds mu.
func (k *call) keep(d store.Document) {
	if n := len(k.documents); n > 0 && bytes.Equal(k.documents[n-1].Body, d.Body) {
		return
	}
	if k.kept += len(d.Body); k.kept > maxDocuments {
		k.flag("metadata not kept whole")
		return
	}
	k.documents = append(k.documents, d)
}

// flag adds a flag once. The caller holds mu.
func (k *call) flag(f string) {
	if !slices.Contains(k.flags, f) {
		k.flags = append(k.flags, f)
	}
}

// event adds a line of history. The caller holds mu.
func (k *call) event(kind, format string, args ...any) {
	if len(k.history) == maxHistory && kind != "ended" {
		k.flag("history not kept whole")
		return
	}
	k.history = append(k.history, store.Event{At: time.Now().UTC(), Kind: kind, Text: fmt.Sprintf(format, args...)})
}

// decline answers every media line so that the client is content and sends
// nothing: a live port and inactive, since some clients give up the whole
// session for a port of 0.
func (k *call) decline(offer *sdp.Description) *siprec.Answer {
	if offer == nil {
		return nil
	}
	a := &siprec.Answer{Addr: k.r.cfg.Address}
	for _, m := range offer.Media {
		a.Media = append(a.Media, k.unwanted(m))
	}
	return a
}

// unwanted answers a media line that is not recorded. Audio keeps its port
// even for a client whose unwanted media are rejected: one that is offered
// nothing at all has no session.
func (k *call) unwanted(m sdp.Media) siprec.AnswerMedia {
	reject := m.Kind != "audio" && k.r.peerOf(k.session).RejectUnwanted
	if m.Port == 0 || !terms.RTP(m.Proto) || reject {
		return siprec.AnswerMedia{}
	}
	a := siprec.AnswerMedia{Port: k.r.cfg.Media.DiscardPort(), Direction: sdp.Inactive}
	if keying.Plain(m.Proto) {
		return a
	}
	sec, why := k.secure(m, keying.Protection{})
	if why != "" || sec.Print != nil { // nobody would answer a handshake there
		return siprec.AnswerMedia{}
	}
	return protected(a, sec)
}

// begin makes the recording durable, opens its media and answers.
func (k *call) begin(ctx context.Context, c siprec.Change) (*siprec.Answer, error) {
	if !terms.Playable(c.Offer) {
		return nil, terms.NoCodec()
	}
	if err := k.unsecured(c.Offer); err != nil {
		return nil, err
	}
	admission, err := k.prepare(c.Offer)
	if err != nil {
		return nil, err
	}
	if err := k.r.guard.Enter(k.r.cfg.Media.Load().Calls); err != nil { // many came at once
		return nil, refuse(err)
	}
	defer k.r.guard.Leave()
	rec, err := k.r.cfg.Store.Begin(ctx, admission)
	if err != nil {
		k.r.log.Error("call not admitted: the store failed", "err", err)
		return nil, &siprec.Refusal{Code: 503, Reason: "Recording Store Unavailable", RetryAfter: retryAfter}
	}
	taken := false
	defer func() {
		if !taken {
			k.abandon(rec)
		}
	}()
	k.r.kin.Enter(rec.ID())
	k.r.desk.Book.Begin(rec.ID(), k.decision.Line, time.Now())
	a, err := k.open(rec, c)
	if err != nil {
		k.r.log.Error("call not admitted: no media", "recording", rec.ID(), "err", err)
		return nil, &siprec.Refusal{Code: 503, Reason: "No Media Port", RetryAfter: retryAfter}
	}
	taken = true
	return a, nil
}

// abandon throws away a recording whose call is not taken, a panic being why or
// not: the client is told that nothing is recorded, so nothing is.
func (k *call) abandon(rec *store.Recording) {
	k.mu.Lock()
	m := k.media
	k.rec, k.media, k.legs = nil, nil, nil
	k.mu.Unlock()
	if m != nil {
		m.Finish(time.Now())
	}
	k.r.drop(rec)
}

// open starts the media of a recording that is durable.
func (k *call) open(rec *store.Recording, c siprec.Change) (*siprec.Answer, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.media != nil { // of a recording that was discarded
		k.media.Finish(time.Now())
		k.media, k.legs = nil, nil
	}
	start, sink := time.Now(), &gate{Sink: rec}
	m, err := k.r.cfg.Media.NewCall(media.CallConfig{
		Start: start, Layout: k.layout, Rate: k.rate,
		Bitrate: k.r.cfg.Bitrate, Complexity: k.r.cfg.Complexity, Sink: sink,
	})
	if err != nil {
		return nil, err
	}
	k.rec, k.media, k.start, k.sink = rec, m, start, sink
	k.watch.alarm = assure.Watch{}
	k.event("established", "%s", k.decision.Reason)
	a, err := k.applyLocked(c.Offer)
	if err != nil {
		return nil, err
	}
	k.propose(c, a)
	k.saveLocked()
	return a, nil
}

// prepare settles how the call is recorded and says what the store must know.
func (k *call) prepare(offer *sdp.Description) (store.Admission, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.metadata == noMetadata {
		k.flag("no metadata")
	}
	if k.decision.Line == "" {
		k.flag(unidentifiedFlag)
	}
	k.layout, k.rate = k.layoutFor(offer), terms.Rate(offer)
	return k.admission()
}

// admission is what the store must know before the call is accepted. The caller
// holds mu.
func (k *call) admission() (store.Admission, error) {
	decision, err := json.Marshal(k.decision)
	if err != nil {
		return store.Admission{}, fmt.Errorf("encode decision: %w", err)
	}
	channels := 2
	if k.layout == media.Mono {
		channels = 1
	}
	return store.Admission{
		Line: k.decision.Line, Queue: k.decision.Queue, Started: time.Now(),
		Channels: channels, Rate: k.rate, Bitrate: k.r.cfg.Bitrate, PreSkip: media.PreSkip,
		Decision: decision, Details: k.details(),
	}, nil
}

// finish flushes the media path and closes the recording. Neither is waited for
// under mu: the status must not stand still because a disk does. The store must
// come to an end even when the server is stopping, so nothing cancels it but
// the end of the process.
func (k *call) finish(end siprec.End) {
	sum := k.media.Finish(end.At)
	c := k.closing(end, sum)
	defer k.r.kin.Left(k.rec.ID())
	if err := k.rec.Finish(k.r.ctx, c); err != nil {
		k.r.log.Error("recording not finished: it is finished at the next start", "recording", k.rec.ID(), "err", err)
		return
	}
	k.r.log.Info("recording finished", "recording", k.rec.ID(), "line", k.decision.Line,
		"seconds", sum.Duration.Seconds(), "cause", end.Cause, "flags", c.Flags)
}

// closing is the account of an ended call.
func (k *call) closing(end siprec.End, sum media.Summary) store.Closing {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.summary = sum
	k.blocked(sum.Streams)
	k.history = append(k.history, account.Digits(sum.Digits, k.start)...)
	slices.SortStableFunc(k.history, func(a, b store.Event) int { return a.At.Compare(b.At) })
	k.event("ended", "%s", strings.TrimSpace(end.Cause+" "+end.Reason))
	k.links = k.r.kin.Leave(k.rec.ID())
	if sum.Failed > 0 {
		k.flag("frames not encoded")
	}
	if sum.Broken {
		k.flag(brokenFlag)
	}
	if slices.ContainsFunc(sum.Streams, func(s media.StreamStats) bool { return s.Assumed > 0 }) {
		k.flag("codec not agreed") // but one that means the same everywhere
	}
	if slices.ContainsFunc(sum.Streams, func(s media.StreamStats) bool { return s.Stray > manyStrays }) {
		k.flag("second sender on a stream")
	}
	streams := account.Quality(sum.Streams, k.layout)
	for _, f := range k.r.desk.Close(&k.watch.alarm, k.rec.ID(), k.start, end.At, streams) {
		k.flag(f)
	}
	k.r.desk.Ended(k.rec.ID(), sum, k.flags)
	quality, err := json.Marshal(streams)
	if err != nil {
		k.r.log.Error("encode quality", "recording", k.rec.ID(), "err", err)
	}
	return store.Closing{
		// Not end.At itself: the wall clock may have been set since the start.
		Ended: k.start.Add(end.At.Sub(k.start)), Samples: sum.Samples, Cause: end.Cause, Flags: k.flags,
		Gaps: account.Gaps(sum.Gaps, k.layout), Quality: quality, Details: k.details(),
	}
}

// receiving says that a packet arrived lately.
func (k *call) receiving(now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.media == nil {
		return false
	}
	return slices.ContainsFunc(k.media.Stats(), func(s media.StreamStats) bool {
		return !s.LastPacket.IsZero() && now.Sub(s.LastPacket) < receivingWithin
	})
}
