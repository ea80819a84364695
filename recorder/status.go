package recorder

import "siprecd/recorder/facts"

// The account of the recorder, as package facts describes it.
type (
	Status    = facts.Status
	Peer      = facts.Peer
	Refused   = facts.Refused
	PeerTLS   = facts.PeerTLS
	Strangers = facts.Strangers
	LiveCall  = facts.LiveCall
	Leg       = facts.Leg
	Totals    = facts.Totals
	Journal   = facts.Journal
	Disk      = facts.Disk
	Check     = facts.Check
	Load      = facts.Load
	Alarm     = facts.Alarm
	Fault     = facts.Fault
	Draining  = facts.Draining
	Day       = facts.Day
	Line      = facts.Line
)
