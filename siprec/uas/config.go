package uas

import (
	"time"

	"siprecd/siprec/wire"
)

// Config is what a Server needs to be told.
type Config struct {
	wire.Config
	// UserAgent is the value of the Server header; "" leaves it out.
	UserAgent string
	// MediaTypes is the value of the Accept header.
	MediaTypes string
	// Ready says whether a new call can be taken now; nil always can. A
	// *Refusal becomes that response to INVITE and OPTIONS, any other error
	// a 503 with Retry-After. It must be quick and safe for parallel use.
	Ready func() error
	// Accept must not be nil.
	Accept Accept
}

// timing holds the SIP timers, so that tests need not wait for minutes.
type timing struct {
	t1, t2   time.Duration // RFC 3261 17.1.1.1
	holdBack time.Duration // how long a request waits for one with a lower CSeq
	retry    time.Duration // Retry-After when nothing better is known
}

func standardTiming() timing {
	return timing{t1: 500 * time.Millisecond, t2: 4 * time.Second,
		holdBack: 250 * time.Millisecond, retry: 10 * time.Second}
}
