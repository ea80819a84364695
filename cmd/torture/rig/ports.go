package rig

import (
	"errors"
	"net"
	"strconv"
	"time"
)

// Ports are given out in blocks, so that rows which run side by side, in
// several processes too, do not meet, and so that a server that was killed
// finds its ports free when it comes back. All are below the system's range
// for outgoing sockets (a client would take one while the server is away) and
// below 20000, where other tests' servers are.
//
//	block: claim, SIP, web, ... | media ports, on through the next blocks
const (
	firstPort  = 8000
	lastPort   = 19999
	blockPorts = 256
	headPorts  = 16 // of the first block, not for media
	sipPort    = 2
	webPort    = 4
	sparePort  = 6
	mediaPorts = 1000
	claimLimit = 2 * time.Minute
)

// claim takes as many blocks as Span media ports need, until give is called or
// the row is over. While there are none it waits: those who have them end. The
// claim is a TCP listener on each block's first port, which nobody else uses.
func (l *Lab) claim() (low, high int, give func(), err error) {
	span := l.Span
	if span <= 0 {
		span = mediaPorts
	}
	size := (span + headPorts + blockPorts - 1) / blockPorts * blockPorts
	if firstPort+size-1 > lastPort {
		return 0, 0, nil, errors.New("so many media ports are not to be had")
	}
	err = l.Await("a free range of ports", claimLimit, func() bool {
		for low = firstPort; low+size-1 <= lastPort; low += blockPorts {
			if give = hold(low, size); give != nil {
				return true
			}
		}
		return false
	})
	if err != nil {
		return 0, 0, nil, err
	}
	l.Cleanup(give)
	return low, low + size - 1, give, nil
}

// hold claims the blocks from low on, all or none (nil). It looks whether SIP
// and web are free as well, for a machine may have other servers.
func hold(low, size int) (give func()) {
	var held []net.Listener
	give = func() {
		for _, ln := range held {
			ln.Close()
		}
	}
	for at := low; at < low+size; at += blockPorts {
		ln, err := net.Listen("tcp", loopback(at))
		if err != nil {
			give()
			return nil
		}
		held = append(held, ln)
	}
	if !free(low+sipPort) || !free(low+webPort) {
		give()
		return nil
	}
	return give
}

// free says whether a port can be had, for UDP and for TCP.
func free(port int) bool {
	ln, err := net.Listen("tcp", loopback(port))
	if err != nil {
		return false
	}
	ln.Close()
	pc, err := net.ListenPacket("udp", loopback(port))
	if err != nil {
		return false
	}
	pc.Close()
	return true
}

func loopback(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }
