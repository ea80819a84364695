package inject

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"siprecd/cmd/torture/foe"
	"siprecd/cmd/torture/rig"
)

// ours is the address of the server whose packets are captured.
const ours = "127.0.0.77"

// sent captures every datagram that leaves the recorder while it is told to send
// to places where it must not: it sends no RTP, and RTCP to none of them. That
// reports to an allowed client are seen shows that the capture works.
func sent(l *rig.Lab) error {
	s, err := l.Server("media.address="+ours, "sip.peers=[127.0.0.1/32]")
	if err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(s.UDP)
	at := ours + ":" + port
	s.UDP, s.TCP = at, at
	s.Sets = append(s.Sets, "sip.listen=[udp://"+at+", tcp://"+at+"]")
	if _, err := s.Start(); err != nil {
		return err
	}
	file := filepath.Join(l.Dir, "sent.pcap")
	stop, err := capture(l, "lo", file, "udp and src host "+ours)
	if err != nil {
		return err
	}
	away := filepath.Join(l.Dir, "away.pcap")
	stopAway, err := capture(l, "any", away, "udp and (dst net 224.0.0.0/4 or dst host 255.255.255.255 or dst host 0.0.0.0 or dst host 169.254.169.254 or dst net 192.0.2.0/24) and (src host "+ours+" or src portrange 8000-19999)")
	if err != nil {
		return err
	}
	if err := tempt(l, s); err != nil {
		return err
	}
	if err := errors.Join(stop(), stopAway()); err != nil {
		return err
	}
	c, err := tally(file, port)
	if err != nil {
		return err
	}
	outside, err := tally(away, port)
	if err != nil {
		return err
	}
	l.Logf("captured %+v, elsewhere %+v", c, outside)
	l.Count("RTP packets sent", c.rtp, 0)
	l.Count("packets of another kind from media ports", c.other, 0)
	l.Count("packets to addresses that are not allowed", c.strange+outside.all, 0)
	l.Count("packets to privileged ports", c.privileged, 0)
	caught := 0
	if c.rtcp > 0 && c.sip > 0 {
		caught = 1
	}
	l.Control("answers and reports to the allowed client are seen", caught, 1)
	return nil
}

// tempt has calls whose descriptions name hostile places, and which are heard:
// a report about them is due after a few seconds.
func tempt(l *rig.Lab, s *rig.Server) error {
	hosts := []string{"127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "169.254.169.254", "127.9.9.9", "192.0.2.1"}
	var up []func()
	for i := range l.Rounds {
		host := hosts[i%len(hosts)]
		media, rtcp := 40000+4*i, ""
		switch i / len(hosts) % 3 {
		case 1: // the report is to go to a privileged port
			rtcp = fmt.Sprintf("a=rtcp:%d IN IP4 %s\r\n", []int{22, 53, 123, 389}[i%4], host)
		case 2:
			media = []int{21, 52, 122, 1900}[i%4]
		}
		p, err := foe.Dial("udp", "", s.UDP, nil)
		if err != nil {
			return err
		}
		defer p.Close()
		body := strings.ReplaceAll(string(foe.SDP(host, media)), "a=sendonly\r\n", "a=sendonly\r\n"+rtcp)
		r := p.Invite("application/sdp", []byte(body))
		a, err := p.Call(r, 10*time.Second)
		if err != nil || a.Code() != 200 {
			l.Logf("an offer of %s: %d, %v", host, a.Code(), err)
			continue
		}
		_ = p.Ack(r, a)
		up = append(up, talk(l, a))
		up = append(up, func() { _, _ = p.Bye(r, a) })
	}
	foe.Wait(l, 8*time.Second)
	for _, end := range up {
		end()
	}
	return nil
}

// talk sends RTP to where an answer says, until the function is called.
func talk(l *rig.Lab, a foe.Reply) func() {
	at := foe.Ports(a.Body)
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil || len(at) == 0 {
		return func() {}
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for i := uint32(0); ; i++ {
			select {
			case <-tick.C:
				_, _ = c.WriteToUDP(foe.RTP(8, uint16(i), 160*i, 4711, make([]byte, 160)), &net.UDPAddr{IP: net.ParseIP(ours), Port: at[0]})
			case <-quit:
				return
			case <-l.Done():
				return
			}
		}
	}()
	return func() { close(quit); <-done; c.Close() }
}

// capture begins to capture; the function ends it.
func capture(l *rig.Lab, device, file, filter string) (stop func() error, err error) {
	cmd := exec.CommandContext(l, "tcpdump", "-i", device, "-U", "-n", "-Z", "root", "-B", "8192", "-w", file, filter)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	err = l.Await("tcpdump captures", 10*time.Second, func() bool {
		st, err := os.Stat(file)
		return err == nil && st.Size() >= 24
	})
	return func() error {
		_ = cmd.Process.Signal(syscall.SIGINT) // it may have ended: Wait says why
		return cmd.Wait()
	}, err
}

// counts are what a capture holds.
type counts struct{ all, sip, rtp, rtcp, other, strange, privileged int }

// tally reads a capture of Ethernet or cooked frames of IPv4.
func tally(file, sipPort string) (c counts, err error) {
	f, err := os.Open(file)
	if err != nil {
		return c, err
	}
	defer f.Close()
	head := make([]byte, 24)
	if _, err := io.ReadFull(f, head); err != nil {
		return c, fmt.Errorf("read the capture: %w", err)
	}
	link := map[uint32]int{1: 14, 113: 16, 276: 20}[binary.LittleEndian.Uint32(head[20:])]
	if link == 0 {
		return c, fmt.Errorf("the capture's link type is %d", binary.LittleEndian.Uint32(head[20:]))
	}
	rec := make([]byte, 16)
	for {
		if _, err := io.ReadFull(f, rec); err != nil {
			return c, nil // its end
		}
		raw := make([]byte, binary.LittleEndian.Uint32(rec[8:]))
		if _, err := io.ReadFull(f, raw); err != nil {
			return c, fmt.Errorf("read the capture: %w", err)
		}
		if len(raw) >= link+28 {
			c.add(raw[link:], sipPort)
		}
	}
}

// add counts one IPv4 packet.
func (c *counts) add(ip []byte, sipPort string) {
	c.all++
	to, _ := netip.AddrFromSlice(ip[16:20])
	offset := binary.BigEndian.Uint16(ip[6:]) & 0x1fff
	if to.String() != "127.0.0.1" {
		c.strange++
	}
	udp := ip[int(ip[0]&15)*4:]
	if offset != 0 || len(udp) < 8 {
		return // a later fragment
	}
	from, at, data := binary.BigEndian.Uint16(udp), binary.BigEndian.Uint16(udp[2:]), udp[8:]
	if at < 1024 {
		c.privileged++
	}
	switch {
	case fmt.Sprint(from) == sipPort:
		c.sip++
	case len(data) >= 8 && data[0]>>6 == 2 && data[1] >= 200 && data[1] <= 207:
		c.rtcp++
	case len(data) >= 12 && data[0]>>6 == 2:
		c.rtp++
	default:
		c.other++
	}
}
