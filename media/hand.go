package media

import "siprecd/media/leg"

// Hand gives the stream's port to another call, in which it begins anew: for
// a recording session that goes on with the next call on the ports of the one
// before. What was heard until now stays in the first call, as after Remove.
// ErrClosed: the stream or the other call has ended; the port is free then.
func (s *Stream) Hand(to *Call, cfg StreamConfig) (*Stream, error) {
	n := &Stream{call: to, port: s.port}
	c := s.call
	c.w.do(func() {
		if s.sock == nil {
			return
		}
		c.drain(s)
		s.relent()
		s.track.End(c.eng.now() - c.start)
		n.sock, s.sock = s.sock, nil
		c.publish()
	})
	if n.sock == nil {
		return nil, ErrClosed
	}
	ok := false
	to.w.do(func() {
		if ok = !to.finished(); ok {
			n.track = to.core.add(cfg, leg.Place{Added: to.eng.now() - to.start, Port: n.port, Allow: to.eng.cfg.Allow, Pool: &to.w.pool})
			to.streams = append(to.streams, n)
			to.publish()
		}
	})
	if !ok {
		to.eng.release(n.sock)
		to.eng.streams.Add(-1)
		return nil, ErrClosed
	}
	return n, nil
}
