// Package recall finds the calls that an engineer asks for among those that
// are live and those that ended lately, and joins what the recorder knows of
// them with the messages that the SIP side remembers.
//
//	calls that ended ──► Book ─┐
//	calls that are live ───────┼─► Find ─► Traced: messages and events
//	trace.Ring ────────────────┘
//
// Promises: a Book is bounded; what it gives out holds no keys, for the ring
// keeps none. Caveat: it holds numbers and names.
package recall

import (
	"slices"
	"strings"
	"sync"

	"siprecd/siprec/trace"
)

// maxRecent is how many ended calls a Book holds, beside their messages.
const maxRecent = 512

// Query says which calls are wanted. Exactly one field is set.
type Query struct {
	Call    string // the beginning of a recording id, or a whole Call-ID
	Last    bool   // the dialog that began last, refused ones aside
	Refused bool   // every refused one that is remembered
}

// Traced is what an engineer is shown of one call: its messages and what
// happened to its media.
type Traced struct {
	ID     string        `json:"id,omitempty"` // recording; "" when there is none
	Line   string        `json:"line,omitempty"`
	Dialog trace.Dialog  `json:"dialog"`
	Events []trace.Event `json:"events,omitempty"` // oldest first
}

// Book holds the calls that ended lately. Its zero value is empty; its methods
// are safe for parallel use.
type Book struct {
	mu     sync.Mutex
	recent []Traced // oldest first, without messages
}

// Remember enters an ended call.
func (b *Book) Remember(t Traced) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.recent = slices.DeleteFunc(b.recent, func(k Traced) bool { // an earlier word of the same call
		return k.ID == t.ID && k.Dialog.CallID == t.Dialog.CallID && k.Dialog.Tag == t.Dialog.Tag
	})
	if len(b.recent) >= maxRecent {
		b.recent = slices.Delete(b.recent, 0, len(b.recent)-maxRecent+1)
	}
	b.recent = append(b.recent, t)
}

// Find returns the calls that are asked for, oldest first; none when they are
// not known, or not any more.
func (b *Book) Find(q Query, live []Traced, ring *trace.Ring) []Traced {
	b.mu.Lock()
	known := append(slices.Clone(b.recent), live...)
	b.mu.Unlock()
	switch {
	case q.Last:
		if d, ok := ring.Last(); ok {
			return join(known, d)
		}
	case q.Refused:
		return join(known, ring.RefusedDialogs()...)
	case q.Call != "":
		if ds := ring.ByCallID(q.Call); len(ds) > 0 {
			return join(known, ds...)
		}
		return byID(known, ring, q.Call)
	}
	return nil
}

// byID finds the calls whose recording id begins with a prefix.
func byID(known []Traced, ring *trace.Ring, prefix string) []Traced {
	var out []Traced
	for _, t := range known {
		if t.ID == "" || !strings.HasPrefix(t.ID, prefix) {
			continue
		}
		if d, ok := ring.Dialog(t.Dialog.CallID, t.Dialog.Tag); ok {
			t.Dialog = d
		}
		out = append(out, t)
	}
	return out
}

// join puts dialogs beside what is known of their calls.
func join(known []Traced, ds ...trace.Dialog) []Traced {
	out := make([]Traced, 0, len(ds))
	for _, d := range ds {
		t := Traced{}
		for _, k := range slices.Backward(known) {
			if k.Dialog.CallID == d.CallID && k.Dialog.Tag == d.Tag {
				t = k
				break
			}
		}
		t.Dialog = d
		out = append(out, t)
	}
	return out
}
