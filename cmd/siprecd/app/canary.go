package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"strings"
	"time"

	"filippo.io/age"

	"siprecd/media"
	"siprecd/siprec/siprectest"
	"siprecd/siprec/siprectest/audio"
	"siprecd/store"
	"siprecd/store/seal"
)

// The canary: a SIPREC call that the recorder places to itself over its own
// listener, with one tone a party, and whose recording it then opens as a
// user would.
const (
	CanaryLine   = "canary"
	canaryLength = 2 * time.Second
	canaryWithin = 30 * time.Second // call, recording and check together
	CanaryLeft   = 440              // Hz, the caller
	CanaryRight  = 1000             // Hz, our side
	canaryLevel  = -12.0            // dBFS, peak
)

// CanaryResult is what came out, and what was checked.
type CanaryResult struct {
	ID      string        // recording
	Target  string        // listener that took the call
	Length  time.Duration // of the recording
	Call    time.Duration // of the call, as the client saw it
	Left    float64       // dBFS RMS of the caller's tone in the left channel
	Right   float64       // of our tone in the right channel
	Leakage float64       // dB: the louder of the wrong tones against the right ones
	Setup   time.Duration // INVITE to 200 OK
}

// Canary is a canary call that is to be placed.
type Canary struct {
	Store    *store.Store // reads what the recorder at Target keeps
	Target   string       // listener, as udp://127.0.0.1:5060
	TLS      *tls.Config  // for a tls:// target
	Number   string       // CanaryNumber of that recorder
	Identity string       // file of the console's age identity
}

// Canary places a call to this recorder and judges its recording. identity is
// the file of the console's: the recorder itself cannot open what it wrote.
func (a *App) Canary(ctx context.Context, identity string) (*CanaryResult, error) {
	number, err := CanaryNumber(a.dir)
	if err != nil {
		return nil, err
	}
	c := Canary{Store: a.store, Target: CanaryTarget(a.Addrs()), Number: number, Identity: identity}
	if a.certs != nil {
		c.TLS = PinnedTLS(a.certs.Own())
	}
	return c.Run(ctx)
}

// Run places the call, waits for its recording, opens it and judges it, within
// half a minute.
func (c *Canary) Run(ctx context.Context) (*CanaryResult, error) {
	ctx, cancel := context.WithTimeout(ctx, canaryWithin)
	defer cancel()
	began := time.Now()
	call, err := c.call(ctx)
	if err != nil {
		return nil, err
	}
	row, err := c.await(ctx, began)
	if err != nil {
		return nil, err
	}
	heard, err := c.open(ctx, row.ID)
	if err != nil {
		return nil, err
	}
	res := &CanaryResult{ID: row.ID, Target: c.Target, Length: seconds(row.Duration),
		Call: seconds(call.TalkSeconds), Setup: seconds(call.SetupSeconds)}
	return res, res.judge(heard)
}

// CanaryNumber is the number that only the canary calls: no network can dial
// it, and without the host key in the store's folder nobody can know it.
func CanaryNumber(dir string) (string, error) {
	host, err := seal.LoadHost(dir)
	if err != nil {
		return "", fmt.Errorf("derive the canary's number: %w", err)
	}
	index, err := host.Index("canary")
	if err != nil {
		return "", fmt.Errorf("derive the canary's number: %w", err)
	}
	return fmt.Sprintf("+999%012d", binary.BigEndian.Uint64(index.Hash("number"))%1e12), nil
}

// CanaryTarget is the first listener that needs no certificate, if there is one.
// One that is bound to every address is called on 127.0.0.1.
func CanaryTarget(addrs []string) string {
	target := addrs[0]
	for _, t := range addrs {
		if !strings.HasPrefix(t, "tls://") {
			target = t
			break
		}
	}
	network, at, _ := strings.Cut(target, "://")
	if ap, err := netip.ParseAddrPort(at); err == nil && ap.Addr().IsUnspecified() {
		return fmt.Sprintf("%s://127.0.0.1:%d", network, ap.Port())
	}
	return target
}

// PinnedTLS trusts the recorder's own certificate and no other: the canary
// calls it by its address, which the certificate need not name.
func PinnedTLS(own tls.Certificate) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{own}, InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			if !bytes.Equal(s.PeerCertificates[0].Raw, own.Certificate[0]) {
				return errors.New("another certificate answers")
			}
			return nil
		},
	}
}

// call is the client's part.
func (c *Canary) call(ctx context.Context) (*siprectest.CallReport, error) {
	report, err := siprectest.Run(ctx, siprectest.Options{
		Target: c.Target, TLS: c.TLS, From: "+999000000000000", To: c.Number,
		UserAgent: "siprecd-canary", Duration: canaryLength,
		Legs: []siprectest.Leg{
			{Name: "Canary", Audio: audio.Tone(CanaryLeft, canaryLevel)},
			{Name: "Recorder", Audio: audio.Tone(CanaryRight, canaryLevel)},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("place the call: %w", err)
	}
	if call := &report.Calls[0]; call.OK() {
		return call, nil
	}
	return nil, fmt.Errorf("the call to %s failed: %s", c.Target, report.Calls[0])
}

// await waits until the newest canary recording is finished.
func (c *Canary) await(ctx context.Context, began time.Time) (store.Row, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		for row, err := range c.Store.List(ctx, store.Query{Line: CanaryLine, Limit: 1}) {
			if err != nil {
				return store.Row{}, fmt.Errorf("find the recording: %w", err)
			}
			if row.State == store.Finished && !row.Started.Before(began.Truncate(time.Millisecond)) {
				return row, nil
			}
		}
		select {
		case <-ctx.Done():
			return store.Row{}, errors.New("the recording was not finished in time")
		case <-tick.C:
		}
	}
}

// open decrypts and decodes a recording.
func (c *Canary) open(ctx context.Context, id string) (*media.Audio, error) {
	ids, err := ReadIdentities(c.Identity)
	if err != nil {
		return nil, err
	}
	sealed, err := c.Store.Read(ctx, store.Access{Who: "canary", Why: "self test"}, id)
	if err != nil {
		return nil, fmt.Errorf("read the recording: %w", err)
	}
	var ogg bytes.Buffer
	if err := store.Export(&ogg, sealed, ids...); err != nil {
		return nil, fmt.Errorf("decrypt the recording: %w", err)
	}
	heard, err := media.Decode(&ogg)
	if err != nil {
		return nil, fmt.Errorf("decode the recording: %w", err)
	}
	return heard, nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// judge says what is wrong with the canary's recording.
func (c *CanaryResult) judge(a *media.Audio) error {
	if d := (c.Length - c.Call).Abs(); d > 100*time.Millisecond {
		return fmt.Errorf("the recording is %v long, the call was %v", c.Length, c.Call)
	}
	if len(a.Channels) == 1 {
		return c.judgeMono(a)
	}
	left, right := a.Channels[0], a.Channels[1]
	c.Left, c.Right = ToneLevel(left, CanaryLeft), ToneLevel(right, CanaryRight)
	c.Leakage = max(ToneLevel(left, CanaryRight)-c.Right, ToneLevel(right, CanaryLeft)-c.Left)
	if want := canaryLevel - 3; math.Abs(c.Left-want) > 2 || math.Abs(c.Right-want) > 2 {
		return fmt.Errorf("the parties' tones came out at %.1f and %.1f dBFS instead of %.1f", c.Left, c.Right, want)
	}
	if c.Leakage > -20 {
		return fmt.Errorf("the parties are not in their own channels: leakage %.1f dB", c.Leakage)
	}
	return nil
}

// judgeMono checks that both parties are heard in the one channel.
func (c *CanaryResult) judgeMono(a *media.Audio) error {
	c.Left, c.Right = ToneLevel(a.Channels[0], CanaryLeft), ToneLevel(a.Channels[0], CanaryRight)
	if want := canaryLevel - 9; c.Left < want || c.Right < want {
		return fmt.Errorf("the parties' tones came out at %.1f and %.1f dBFS", c.Left, c.Right)
	}
	return nil
}

// ToneLevel is the RMS level in dBFS of one frequency in the middle half of PCM at
// 48 kHz (Goertzel).
func ToneLevel(pcm []int16, hz float64) float64 {
	pcm = pcm[len(pcm)/4 : len(pcm)*3/4]
	if len(pcm) == 0 {
		return math.Inf(-1)
	}
	k := 2 * math.Cos(2*math.Pi*hz/media.DecodedRate)
	var s1, s2 float64
	for _, v := range pcm {
		s1, s2 = float64(v)/32768+k*s1-s2, s1
	}
	power := s1*s1 + s2*s2 - k*s1*s2
	amplitude := 2 * math.Sqrt(max(power, 0)) / float64(len(pcm))
	return 20 * math.Log10(max(amplitude/math.Sqrt2, 1e-9))
}

// ReadIdentities reads an age identity file.
func ReadIdentities(path string) ([]age.Identity, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	defer f.Close()
	ids, err := age.ParseIdentities(f)
	if err != nil {
		return nil, fmt.Errorf("identity %s: %w", path, err)
	}
	return ids, nil
}
