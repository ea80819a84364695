package media

import "siprecd/media/secure"

// Hand gives the stream's ports to another call, in which it begins anew: for
// a recording session that goes on with the next call on the ports of the one
// before. What was heard until now stays in the first call, as after Remove.
// The sender knows of no other call: what opens its packets goes along, with
// its count of rollovers, and so does a handshake, done or not.
// ErrClosed: the stream or the other call has ended; the ports are free then.
func (s *Stream) Hand(to *Call, cfg StreamConfig) (*Stream, error) {
	n := &Stream{call: to, port: s.port, begun: make(chan struct{})}
	var guard *secure.Guard
	taken := false
	s.call.w.do(func() {
		if taken = s.sock != nil; taken {
			guard = s.yield(n)
		}
	})
	if !taken {
		return nil, ErrClosed
	}
	ok := false
	var old *association
	to.w.do(func() {
		if ok = !to.finished(); ok {
			old = n.listen(cfg, guard)
		}
	})
	if !ok { // no worker has it: it is ours to end
		old = n.associate(StreamConfig{})
		to.shut(n)
	}
	close(n.begun)
	old.wait()
	if !ok {
		return nil, ErrClosed
	}
	return n, nil
}

// yield ends a stream in its call, on the worker, and gives what it has to the
// one that goes on with it: its sockets, its handshake and, returned, what opens
// its packets; nil: it is plain. Nothing of it is this worker's afterwards.
func (s *Stream) yield(n *Stream) *secure.Guard {
	c := s.call
	c.drain(s)
	s.relent()
	s.track.End(c.eng.now() - c.start)
	n.sock, n.rtcp, n.assoc = s.sock, s.rtcp, s.assoc
	s.sock, s.rtcp, s.assoc = nil, nil, nil
	guard := s.track.Unguard(c.start - n.call.start)
	if n.assoc != nil {
		n.assoc.stream.Store(n) // now that n has everything: a handshake waits for n.begun
	}
	c.publish()
	return guard
}
