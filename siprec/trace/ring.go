package trace

import (
	"bytes"
	"cmp"
	"container/list"
	"slices"
	"strings"
	"sync"
	"time"
)

// Limits bounds a Ring, in bytes but for Age. Zero values mean the defaults.
type Limits struct {
	Calls   int // of live and ended dialogs together; 16 MiB
	Refused int // of refused ones; 2 MiB
	Dialog  int // of one dialog; 256 KiB

	Age time.Duration // how long a dialog is remembered after its last message, unless it is live; an hour
}

// perMessage is what a message costs beside its bytes.
const perMessage = 256

// opening is how many messages of a dialog are never dropped from it: INVITE,
// 100, 200, ACK.
const opening = 4

// Ring is the memory. Its methods are safe for parallel use.
type Ring struct {
	limits Limits

	mu      sync.Mutex
	dialogs map[key]*dialog
	// Least lately heard first. Each dialog is in one of them.
	live, ended, refused *list.List
	calls, refusedBytes  int
}

type key struct{ callID, tag string }

type dialog struct {
	Dialog
	key   key
	size  int
	shelf *list.List
	place *list.Element
}

// NewRing makes an empty one.
func NewRing(l Limits) *Ring {
	l.Calls = cmp.Or(l.Calls, 16<<20)
	l.Refused = cmp.Or(l.Refused, 2<<20)
	l.Dialog = cmp.Or(l.Dialog, 256<<10)
	l.Age = cmp.Or(l.Age, time.Hour)
	return &Ring{limits: l, dialogs: make(map[key]*dialog),
		live: list.New(), ended: list.New(), refused: list.New()}
}

// Note remembers a message that belongs to a dialog, or begins one with an
// INVITE. m.Raw is copied. h is m's head.
func (r *Ring) Note(m Message, h Head) {
	r.expire(m.At)
	k := keyOf(m, h)
	begins := !m.Out && h.Status == 0 && h.Method == "INVITE"
	if h.CallID == "" || !begins && !r.knows(k) {
		return
	}
	m.Raw = Scrub(m.Raw)
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.dialogs[k]
	if d == nil {
		if !begins {
			return
		}
		d = &dialog{key: k, Dialog: Dialog{CallID: strings.Clone(k.callID), Tag: strings.Clone(k.tag), State: Opening}}
		r.dialogs[k] = d
		r.file(d)
	}
	r.add(d, m)
	r.move(d, next(d.State, m, h))
	r.evict()
}

func (r *Ring) knows(k key) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dialogs[k] != nil
}

// keyOf names a message's dialog by its Call-ID and the client's tag, which
// stands in From where the client asks and in To where we do.
func keyOf(m Message, h Head) key {
	t := h.FromTag
	if m.Out == (h.Status == 0) { // our request, or the answer to one
		t = h.ToTag
	}
	return key{h.CallID, t}
}

// next is a dialog's state after a message.
func next(s State, m Message, h Head) State {
	switch {
	case h.Method == "BYE" && h.Status == 0 && s != Refused:
		return Ended
	case !m.Out || h.Method != "INVITE" || s == Ended:
	case h.Status >= 200 && h.Status < 300:
		return Live
	case h.Status >= 300 && s == Opening:
		return Refused
	}
	return s
}

// shelfOf is where dialogs of a state are filed.
func (r *Ring) shelfOf(s State) *list.List {
	switch s {
	case Ended:
		return r.ended
	case Refused:
		return r.refused
	}
	return r.live
}

func (r *Ring) file(d *dialog) {
	d.shelf = r.shelfOf(d.State)
	d.place = d.shelf.PushBack(d)
	*r.budget(d) += d.size
}

func (r *Ring) unfile(d *dialog) {
	d.shelf.Remove(d.place)
	*r.budget(d) -= d.size
}

func (r *Ring) budget(d *dialog) *int {
	if d.State == Refused {
		return &r.refusedBytes
	}
	return &r.calls
}

func (r *Ring) move(d *dialog, s State) {
	r.unfile(d)
	d.State = s
	r.file(d)
}

// add appends a message and drops from the middle what is too much.
func (r *Ring) add(d *dialog, m Message) {
	r.unfile(d)
	d.Messages = append(d.Messages, m)
	d.size += len(m.Raw) + perMessage
	for d.size > r.limits.Dialog && len(d.Messages) > opening+1 {
		d.size -= len(d.Messages[opening].Raw) + perMessage
		d.Messages = slices.Delete(d.Messages, opening, opening+1)
		d.LeftOut++
	}
	r.file(d)
}

// evict forgets whole dialogs: ended before live ones.
func (r *Ring) evict() {
	for r.refusedBytes > r.limits.Refused {
		r.forget(r.refused.Front())
	}
	for r.calls > r.limits.Calls {
		victim := r.ended.Front()
		if victim == nil {
			victim = r.live.Front()
		}
		r.forget(victim)
	}
}

// expire forgets the dialogs that have been over for too long: it hears of the
// time with every message, keep-alives included.
func (r *Ring) expire(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range []*list.List{r.ended, r.refused} {
		for e := l.Front(); e != nil; e = l.Front() {
			d := e.Value.(*dialog)
			if now.Sub(d.Messages[len(d.Messages)-1].At) <= r.limits.Age {
				break
			}
			r.forget(e)
		}
	}
}

func (r *Ring) forget(e *list.Element) {
	d := e.Value.(*dialog)
	r.unfile(d)
	delete(r.dialogs, d.key)
}

// Dialog returns one dialog, by Call-ID and the client's tag.
func (r *Ring) Dialog(callID, tag string) (Dialog, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.dialogs[key{callID, tag}]
	if d == nil {
		return Dialog{}, false
	}
	return d.copy(), true
}

// ByCallID returns the dialogs of a Call-ID, which clients reuse, oldest first.
func (r *Ring) ByCallID(callID string) []Dialog {
	return r.which(func(d *dialog) bool { return d.CallID == callID })
}

// Last returns the dialog that began last, refused ones aside.
func (r *Ring) Last() (Dialog, bool) {
	ds := r.which(func(d *dialog) bool { return d.State != Refused })
	if len(ds) == 0 {
		return Dialog{}, false
	}
	return ds[len(ds)-1], true
}

// RefusedDialogs returns those whose INVITE was refused, oldest first.
func (r *Ring) RefusedDialogs() []Dialog {
	return r.which(func(d *dialog) bool { return d.State == Refused })
}

func (r *Ring) which(want func(*dialog) bool) []Dialog {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Dialog
	for _, d := range r.dialogs {
		if want(d) {
			out = append(out, d.copy())
		}
	}
	slices.SortFunc(out, func(a, b Dialog) int {
		return cmp.Or(a.Messages[0].At.Compare(b.Messages[0].At), bytes.Compare(a.Messages[0].Raw, b.Messages[0].Raw))
	})
	return out
}

// copy shares the bytes of the messages, which never change.
func (d *dialog) copy() Dialog {
	c := d.Dialog
	c.Messages = slices.Clone(c.Messages)
	return c
}
