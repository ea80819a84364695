// Package kin knows which recordings belong to the same call while they are
// live: two clients that record one call, the two dialogs of a CUCM call, a
// call that goes on in another recording session.
//
//	Enter ──► Join (found by a common key) ──► Of ──► Leave ──► Left
//
// Promises: a link is known on both sides while both are live. A finished
// recording is sealed, so that only the later one of two names the other; both
// are found by their key in the store. Safe for parallel use.
package kin

import (
	"slices"
	"sync"

	"siprecd/siprec"
	"siprecd/store"
)

// MaxLinks is how many other recordings one names at most.
const MaxLinks = 16

// minKey is how short a key may be to mean anything.
const minKey = 6

// Means says that a correlation key is long enough to be a call's own.
func Means(key string) bool { return len(key) >= minKey }

// Keys are those that are.
func Keys(claims []siprec.Candidate) (keys []string) {
	for _, c := range claims {
		if Means(c.Value) {
			keys = append(keys, c.Value)
		}
	}
	return keys
}

// Table holds the links of the live recordings. Make one with New.
type Table struct {
	mu      sync.Mutex
	links   map[string][]store.Link // of every recording whose call goes on
	leaving map[string]bool         // those whose call has ended and whose files are being finished
}

// New returns an empty Table.
func New() *Table { return &Table{links: map[string][]store.Link{}, leaving: map[string]bool{}} }

// Enter says that a recording's call goes on.
func (t *Table) Enter(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.links[id] = nil
}

// Leave says that it has ended, and returns its links.
func (t *Table) Leave(id string) []store.Link {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.links[id]
	delete(t.links, id)
	t.leaving[id] = true
	return l
}

// Left says that its files are finished, too.
func (t *Table) Left(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.leaving, id)
}

// Of returns a live recording's links.
func (t *Table) Of(id string) []store.Link {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.links[id])
}

// Join links a live recording with another one, by what they have in common.
func (t *Table) Join(id string, other store.Row, by string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	kind := "beside"
	if other.State != store.Live || t.leaving[other.ID] {
		kind = "continues"
	}
	if _, live := t.links[other.ID]; live { // one that is just beginning will find us itself
		t.links[other.ID] = add(t.links[other.ID], store.Link{ID: id, Kind: "beside", By: by})
	}
	t.links[id] = add(t.links[id], store.Link{ID: other.ID, Kind: kind, By: by})
}

func add(to []store.Link, l store.Link) []store.Link {
	if len(to) >= MaxLinks || slices.ContainsFunc(to, func(o store.Link) bool { return o.ID == l.ID }) {
		return to
	}
	return append(to, l)
}
