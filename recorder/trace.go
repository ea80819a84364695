package recorder

import (
	"maps"
	"slices"

	"siprecd/recorder/recall"
	"siprecd/siprec/trace"
)

// Names of package recall that users of this one need.
type (
	TraceQuery = recall.Query
	Traced     = recall.Traced
)

// Trace returns the calls that a query asks for, live or ended lately, oldest
// first. What it returns holds numbers and names, and no keys.
func (r *Recorder) Trace(q TraceQuery) []Traced {
	r.mu.Lock()
	server, calls := r.server, slices.Collect(maps.Values(r.calls))
	r.mu.Unlock()
	if server == nil {
		return nil
	}
	var live []Traced
	for _, k := range calls {
		live = append(live, k.traced())
	}
	return r.book.Find(q, live, server.Trace())
}

// traced is what the recorder itself knows of a call's trace.
func (k *call) traced() Traced {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := Traced{Line: k.decision.Line, Dialog: trace.Dialog{CallID: k.session.CallID(), Tag: k.session.RemoteTag()}}
	if k.rec == nil {
		return t
	}
	t.ID = k.rec.ID()
	for _, e := range k.history {
		t.Events = append(t.Events, trace.Event{At: e.At, Kind: e.Kind, Text: e.Text})
	}
	streams := k.summary.Streams
	if streams == nil && k.media != nil {
		streams = k.media.Stats()
	}
	t.Events = append(t.Events, recall.Events(streams, k.summary.Gaps, k.start, k.layout)...)
	slices.SortStableFunc(t.Events, func(a, b trace.Event) int { return a.At.Compare(b.At) })
	return t
}
