package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"

	"siprecd/cmd/siprecd/config"
	"siprecd/media"
	"siprecd/siprec/siprectest"
	"siprecd/siprec/siprectest/audio"
	"siprecd/store"
)

// The canary: a SIPREC call that the recorder places to itself over its own
// listener, with one tone a party, and whose recording it then opens as a
// user would.
const (
	canaryLine   = "canary"
	canaryLength = 2 * time.Second
	canaryWithin = 30 * time.Second // call, recording and check together
	canaryLeft   = 440              // Hz, the caller
	canaryRight  = 1000             // Hz, our side
	canaryLevel  = -12.0            // dBFS, peak
)

// canaryResult is what came out, and what was checked.
type canaryResult struct {
	ID      string        // recording
	Target  string        // listener that took the call
	Length  time.Duration // of the recording
	Call    time.Duration // of the call, as the client saw it
	Left    float64       // dBFS RMS of the caller's tone in the left channel
	Right   float64       // of our tone in the right channel
	Leakage float64       // dB: the louder of the wrong tones against the right ones
	Setup   time.Duration // INVITE to 200 OK
}

// canary places the call and judges its recording. The identity is the
// console's: the recorder itself cannot open what it wrote.
func (a *app) canary(ctx context.Context, identity string) (*canaryResult, error) {
	res := &canaryResult{Target: a.canaryTarget()}
	call, err := a.canaryCall(ctx, res)
	if err != nil {
		return nil, err
	}
	row, err := a.awaitCanary(ctx)
	if err != nil {
		return nil, err
	}
	res.ID = row.ID
	res.Length = seconds(row.Duration)
	heard, err := a.openCanary(ctx, row.ID, identity)
	if err != nil {
		return nil, err
	}
	res.Call, res.Setup = seconds(call.TalkSeconds), seconds(call.SetupSeconds)
	return res, res.judge(heard)
}

// canaryCall is the client's part.
func (a *app) canaryCall(ctx context.Context, res *canaryResult) (*siprectest.CallReport, error) {
	report, err := siprectest.Run(ctx, siprectest.Options{
		Target: res.Target, TLS: a.canaryTLS(), From: "+999000000000000", To: a.canaryNumber,
		UserAgent: "siprecd-canary", Duration: canaryLength,
		Legs: []siprectest.Leg{
			{Name: "Canary", Audio: audio.Tone(canaryLeft, canaryLevel)},
			{Name: "Recorder", Audio: audio.Tone(canaryRight, canaryLevel)},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("place the call: %w", err)
	}
	call := &report.Calls[0]
	if !call.OK() {
		return nil, fmt.Errorf("the call to %s failed: %s", res.Target, call.String())
	}
	return call, nil
}

// canaryTarget is the first listener that needs no certificate, if there is one.
func (a *app) canaryTarget() string {
	addrs := a.sip.Addrs()
	for _, t := range addrs {
		if !strings.HasPrefix(t, "tls://") {
			return t
		}
	}
	return addrs[0]
}

// canaryTLS trusts this recorder's own certificate and no other: it is called
// by its address, which the certificate need not name.
func (a *app) canaryTLS() *tls.Config {
	if a.tls == nil {
		return nil
	}
	own := a.tls.Certificates[0].Certificate[0]
	return &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: a.tls.Certificates, InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			if !bytes.Equal(s.PeerCertificates[0].Raw, own) {
				return errors.New("another certificate answers")
			}
			return nil
		},
	}
}

// awaitCanary waits until the newest canary recording is finished.
func (a *app) awaitCanary(ctx context.Context) (store.Row, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		for row, err := range a.store.List(ctx, store.Query{Line: canaryLine, Limit: 1}) {
			if err != nil {
				return store.Row{}, fmt.Errorf("find the recording: %w", err)
			}
			if row.State == store.Finished && row.Started.After(a.opened) {
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

// openCanary decrypts and decodes a recording.
func (a *app) openCanary(ctx context.Context, id, identity string) (*media.Audio, error) {
	ids, err := readIdentities(identity)
	if err != nil {
		return nil, err
	}
	sealed, err := a.store.Read(ctx, store.Access{Who: "canary", Why: "self test"}, id)
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
func (c *canaryResult) judge(a *media.Audio) error {
	if d := (c.Length - c.Call).Abs(); d > 100*time.Millisecond {
		return fmt.Errorf("the recording is %v long, the call was %v", c.Length, c.Call)
	}
	if len(a.Channels) == 1 {
		return c.judgeMono(a)
	}
	left, right := a.Channels[0], a.Channels[1]
	c.Left, c.Right = tone(left, canaryLeft), tone(right, canaryRight)
	c.Leakage = max(tone(left, canaryRight)-c.Right, tone(right, canaryLeft)-c.Left)
	if want := canaryLevel - 3; math.Abs(c.Left-want) > 2 || math.Abs(c.Right-want) > 2 {
		return fmt.Errorf("the parties' tones came out at %.1f and %.1f dBFS instead of %.1f", c.Left, c.Right, want)
	}
	if c.Leakage > -20 {
		return fmt.Errorf("the parties are not in their own channels: leakage %.1f dB", c.Leakage)
	}
	return nil
}

// judgeMono checks that both parties are heard in the one channel.
func (c *canaryResult) judgeMono(a *media.Audio) error {
	c.Left, c.Right = tone(a.Channels[0], canaryLeft), tone(a.Channels[0], canaryRight)
	if want := canaryLevel - 9; c.Left < want || c.Right < want {
		return fmt.Errorf("the parties' tones came out at %.1f and %.1f dBFS", c.Left, c.Right)
	}
	return nil
}

// tone is the RMS level in dBFS of one frequency in the middle half of PCM at
// 48 kHz (Goertzel).
func tone(pcm []int16, hz float64) float64 {
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

// identityPath is the identity that opens recordings here.
func identityPath(flag string, cfg *config.Config) string {
	if flag != "" {
		return flag
	}
	return filepath.Join(cfg.Store.Dir, "keys", "console.key")
}

// readIdentities reads an age identity file.
func readIdentities(path string) ([]age.Identity, error) {
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
