//go:build !linux || portable

package rtpsend

// batch sends packets one by one where there is no sendmmsg.
type batch struct{}

func (*batch) open(*outlet) error { return nil }

// send sends one of the outlet's packets.
func (*batch) send(o *outlet, from int) (int, error) {
	p := &o.bufs[from]
	if _, err := o.conn.WriteToUDPAddrPort(p.b[:p.n], o.to[from]); err != nil {
		return 0, err
	}
	return 1, nil
}
