// Package detail holds the personal part of a recording: who took part, what
// the client told, what happened when. It is pure data. Wherever it is kept it
// is sealed: in the catalogue with a key of the host's, in a finished
// recording's folder to the recording's own identity.
package detail

import (
	"reflect"
	"time"
)

// Details are the personal part of a recording: sealed wherever they are kept.
type Details struct {
	CallID    string            `json:"call_id,omitempty"`
	CallKey   string            `json:"call_key,omitempty"`
	Direction string            `json:"direction,omitempty"` // inbound, outbound
	Caller    string            `json:"caller,omitempty"`
	Called    string            `json:"called,omitempty"`
	Agent     string            `json:"agent,omitempty"`
	Peer      string            `json:"peer,omitempty"`    // address of the recording client
	Client    *Client           `json:"client,omitempty"`  // who its TLS connection said it is; nil: no TLS
	Numbers   []string          `json:"numbers,omitempty"` // normalised numbers by which the recording is found
	Sources   map[string]string `json:"sources,omitempty"` // where caller, called, agent, line and call_key stood, e.g. "To"
	Keys      []string          `json:"keys,omitempty"`    // everything that correlates it with other recordings; Query.Key finds it by each
	Links     []Link            `json:"links,omitempty"`   // other recordings of the call that were known
	Parties   []Party           `json:"parties,omitempty"`
	History   []Event           `json:"history,omitempty"`
	Documents []Document        `json:"documents,omitempty"` // metadata as received, oldest first
}

// Client is what a recording client's TLS handshake told of it.
type Client struct {
	TLS         string    `json:"tls"`               // version
	Subject     string    `json:"subject,omitempty"` // common name of its certificate; "" for none
	Names       []string  `json:"names,omitempty"`   // and its alternative names
	Expires     time.Time `json:"expires,omitzero"`
	Fingerprint string    `json:"fingerprint,omitempty"` // SHA-256 of it, hexadecimal
}

// Party is one participant and the channel that it is heard in.
type Party struct {
	Name    string    `json:"name,omitempty"`
	AoRs    []string  `json:"aors,omitempty"`
	Channel string    `json:"channel,omitempty"` // left, right, mixed
	Source  string    `json:"source,omitempty"`  // how the channel was attributed: "metadata" or "order"
	Joined  time.Time `json:"joined,omitzero"`   // when the recorder learnt of it, by the recorder's clock
	Left    time.Time `json:"left,omitzero"`     // when it learnt that it has left; zero: it stayed to the end
}

// Link names another recording that belongs to the same call.
type Link struct {
	ID   string `json:"id"`
	Kind string `json:"kind"` // "continues": it had ended when this one began; "beside": both ran at a time
	By   string `json:"by"`   // the correlation that both have, e.g. "group", "x-refci"
}

// Event is one line of a recording's history.
type Event struct {
	At      time.Time `json:"at"`
	Kind    string    `json:"kind"` // established, hold, resume, party, channel, stream, line, linked, ended, ...
	Text    string    `json:"text,omitempty"`
	Party   string    `json:"party,omitempty"`   // whom it is about: an address
	Channel string    `json:"channel,omitempty"` // where that party is heard from now on; "" nowhere
}

// Document is one metadata document as received.
type Document struct {
	At    time.Time `json:"at"`
	Error string    `json:"error,omitempty"`
	Body  []byte    `json:"body"`
}

// Keep takes over what was gathered on the way and the final details lack.
func (d *Details) Keep(old Details) {
	if len(d.History) == 0 {
		d.History = old.History
	}
	if len(d.Documents) == 0 {
		d.Documents = old.Documents
	}
	if reflect.DeepEqual(*d, Details{History: d.History, Documents: d.Documents}) {
		*d = old
	}
}
