package secure

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wire carries datagrams to the other handshake, and loses some.
type wire struct {
	from  netip.AddrPort
	other func(b []byte, from netip.AddrPort)
	n     atomic.Int64
	lose  int64 // every so many; 0: none
}

func (w *wire) Send(b []byte, _ netip.AddrPort) {
	if n := w.n.Add(1); w.lose == 0 || n%w.lose != 0 {
		w.other(b, w.from)
	}
}

func (w *wire) Poll() {}

// outcome is what a handshake came to.
type outcome struct {
	keys Keys
	err  error
}

// shake runs a handshake of two and returns what both came to; tamper changes
// what the passive side has been told.
func shake(t *testing.T, lose int64, tamper func(*DTLS)) (active, passive outcome) {
	t.Helper()
	ida, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	idp, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	to := netip.MustParseAddrPort("127.0.0.1:9")
	wa, wp := &wire{from: to, lose: lose}, &wire{from: to, lose: lose}
	da, dp := DTLS{Active: true, Prints: []Fingerprint{idp.Print()}}, DTLS{Prints: []Fingerprint{ida.Print()}}
	if tamper != nil {
		tamper(&dp)
	}
	a, p := NewHandshake(ida, da, to, wa), NewHandshake(idp, dp, to, wp)
	wa.other, wp.other = p.Deliver, a.Deliver
	var wg sync.WaitGroup
	results := [2]chan outcome{make(chan outcome, maxAttempts), make(chan outcome, maxAttempts)}
	for i, h := range []*Handshake{a, p} {
		wg.Go(func() { h.Run(func(k Keys, err error) { results[i] <- outcome{k, err} }) })
	}
	defer wg.Wait()
	defer p.Close()
	defer a.Close()
	for i, r := range []*outcome{&active, &passive} {
		select {
		case *r = <-results[i]:
		case <-time.After(20 * time.Second):
			t.Fatalf("side %d comes to nothing", i)
		}
	}
	return active, passive
}

func TestHandshake(t *testing.T) {
	for name, lose := range map[string]int64{"clean": 0, "every third packet lost": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, p := shake(t, lose, nil)
			if a.err != nil || p.err != nil {
				t.Fatalf("%v, %v", a.err, p.err)
			}
			for _, o := range []outcome{a, p} {
				if o.keys.Suite != "AEAD_AES_256_GCM" {
					t.Errorf("suite %s", o.keys.Suite)
				}
				newSender(t, o.keys).opens(guardOf(t, o.keys), 10, 0)
			}
			if a.keys.Equal(&p.keys) {
				t.Error("both sides have the same key")
			}
		})
	}
}

func TestForeignCertificateIsRefused(t *testing.T) {
	t.Parallel()
	_, p := shake(t, 0, func(d *DTLS) { d.Prints[0].Sum = append([]byte{}, make([]byte, 32)...) })
	if !errors.Is(p.err, ErrFingerprint) || len(p.keys.Keys) != 0 {
		t.Errorf("%+v", p)
	}
}

func TestFingerprints(t *testing.T) {
	id, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	der := id.cert.Certificate[0]
	good := id.Print()
	if matches(der, []Fingerprint{{Hash: "md5", Sum: []byte{1}}, good}) != nil {
		t.Error("one good fingerprint of two is not enough")
	}
	for _, bad := range [][]Fingerprint{nil, {{Hash: "md5", Sum: good.Sum}}, {{Hash: "sha-256", Sum: good.Sum[1:]}}, {{Hash: "sha-1", Sum: nil}}} {
		if matches(der, bad) == nil {
			t.Errorf("%v matches", bad)
		}
	}
}

func TestIsDTLS(t *testing.T) {
	for b, want := range map[byte]bool{0: false, 19: false, 20: true, 22: true, 63: true, 64: false, 0x80: false} {
		if IsDTLS([]byte{b}) != want {
			t.Errorf("first byte %d", b)
		}
	}
	if IsDTLS(nil) {
		t.Error("an empty datagram is DTLS")
	}
}
