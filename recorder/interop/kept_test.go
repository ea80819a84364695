package interop_test

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"siprecd/media"
	"siprecd/store"
)

// kept is a finished recording as the console opens it.
type kept struct {
	t     *testing.T
	row   store.Row
	d     store.Details
	audio *media.Audio
	gaps  []store.Gap
	raw   string // the manifest
}

func (r *rig) openKept(row store.Row) kept {
	r.t.Helper()
	k := kept{t: r.t, row: row}
	s, err := r.store.Read(r.t.Context(), store.Access{Who: "test", Why: "test"}, row.ID)
	if err != nil {
		r.t.Fatal(err)
	}
	if k.d, err = s.Details(r.identity...); err != nil {
		r.t.Fatal(err)
	}
	var b bytes.Buffer
	if err := store.Export(&b, s, r.identity...); err != nil {
		r.t.Fatal(err)
	}
	if k.audio, err = media.Decode(&b); err != nil {
		r.t.Fatal(err)
	}
	k.gaps, k.raw = s.Manifest.Gaps, string(s.ManifestBytes)
	return k
}

// seconds is the length of the audio.
func (k kept) seconds() float64 {
	return float64(len(k.audio.Channels[0])) / media.DecodedRate
}

// share is the least part of a stretch in which a tone must be loud to count
// as heard: little, for on a busy machine the senders stutter.
const share = 0.15

// tones in a stretch of a channel, from 0 to 7, as digits: those that are loud
// in the given share of it.
func (k kept) tones(ch int, from, to, share float64) string {
	pcm := k.audio.Channels[ch]
	lo := max(min(int(from*media.DecodedRate), len(pcm)), 0)
	hi := max(min(int(to*media.DecodedRate), len(pcm)), lo)
	const window = media.DecodedRate / 25
	var b strings.Builder
	for n := range 8 {
		loud, all := 0, 0
		for at := lo; at+window <= hi; at += window / 2 {
			all++
			if level(pcm[at:at+window], toneHz(n)) > -30 {
				loud++
			}
		}
		if loud > 0 && float64(loud) >= share*float64(all) {
			b.WriteByte('0' + byte(n))
		}
	}
	return b.String()
}

// hears checks which tones, and only which, are in each channel. Of a mono
// recording left is all.
func (k kept) hears(from, to float64, left, right string) {
	k.t.Helper()
	if to-from < 0.05 {
		k.t.Errorf("nothing to hear between %.2f and %.2f s", from, to)
	}
	k.holds(from, to, share, left, right)
}

func (k kept) holds(from, to, share float64, left, right string) {
	k.t.Helper()
	for ch, want := range []string{left, right}[:len(k.audio.Channels)] {
		if got := k.tones(ch, from, to, share); got != want {
			k.t.Errorf("channel %d from %.2f to %.2f s holds the tones %q, want %q", ch, from, to, got, want)
		}
	}
}

// sounds checks the tones of the whole recording.
func (k kept) sounds(left, right string) {
	k.t.Helper()
	k.holds(0, k.seconds(), share/4, left, right)
}

// spans checks that the recording is as long as the call: no shorter than the
// client's talk, no longer than the time from INVITE to the end of the BYE.
func (k kept) spans(d *dialog) {
	k.t.Helper()
	const tolerance = 0.12
	least, most := d.over.Sub(d.begun).Seconds(), d.gone.Sub(d.asked).Seconds()
	if got := k.seconds(); got < least-tolerance || got > most+tolerance {
		k.t.Errorf("the recording lasts %.2f s, want %.2f to %.2f", got, least, most)
	}
}

// at is the place of an instant in the recording, in seconds.
func (k kept) at(t time.Time) float64 {
	k.t.Helper()
	begun := k.events("established")
	if len(begun) == 0 {
		k.t.Fatal("the history does not say when the recording began")
	}
	return t.Sub(begun[0].At).Seconds()
}

// heard checks the tones between two instants, less what the ends may smear.
func (k kept) heard(from, to time.Time, left, right string) {
	k.t.Helper()
	k.hears(k.at(from)+0.08, k.at(to)-0.04, left, right)
}

// on checks the line.
func (k kept) on(line string) {
	k.t.Helper()
	if k.row.Line != line {
		k.t.Errorf("on line %q, want %q", k.row.Line, line)
	}
}

// flagged checks the flags, all of them.
func (k kept) flagged(want ...string) {
	k.t.Helper()
	if !slices.Equal(k.row.Flags, want) {
		k.t.Errorf("flags %q, want %q", k.row.Flags, want)
	}
}

// hasFlag checks one flag.
func (k kept) hasFlag(want string) {
	k.t.Helper()
	if !slices.Contains(k.row.Flags, want) {
		k.t.Errorf("flags %q lack %q", k.row.Flags, want)
	}
}

// parties are those that the details name, as name|first address|channel.
func (k kept) parties() []string {
	var out []string
	for _, p := range k.d.Parties {
		aor := ""
		if len(p.AoRs) > 0 {
			aor = p.AoRs[0]
		}
		out = append(out, p.Name+"|"+aor+"|"+p.Channel)
	}
	return out
}

// events are the kinds of the history, in order.
func (k kept) events(kind string) []store.Event {
	var out []store.Event
	for _, e := range k.d.History {
		if e.Kind == kind {
			out = append(out, e)
		}
	}
	return out
}

// hasEvent checks that the history has an event of a kind, and text in it.
func (k kept) hasEvent(kind, text string) {
	k.t.Helper()
	for _, e := range k.events(kind) {
		if strings.Contains(e.Text, text) {
			return
		}
	}
	k.t.Errorf("the history has no %q with %q: %+v", kind, text, k.d.History)
}

// hasGap checks that the manifest marks a gap of a reason between two instants.
func (k kept) hasGap(reason string, since, until time.Time) {
	k.t.Helper()
	from, to := k.at(since)+0.12, k.at(until)-0.1
	for _, g := range k.gaps {
		if g.Reason == reason && g.From <= from && g.To >= to {
			return
		}
	}
	k.t.Errorf("no gap for %s from %.2f to %.2f s: %+v", reason, from, to, k.gaps)
}

// level is the RMS level of one frequency in a stretch of PCM, dBFS.
func level(pcm []int16, hz float64) float64 {
	var re, im float64
	sin, cos := math.Sincos(2 * math.Pi * hz / media.DecodedRate)
	x, y := 1.0, 0.0
	for _, v := range pcm {
		s := float64(v) / 32768
		re += s * x
		im += s * y
		x, y = x*cos-y*sin, x*sin+y*cos
	}
	return 20 * math.Log10(max(math.Hypot(re, im)*math.Sqrt2/float64(max(len(pcm), 1)), 1e-9))
}

// toneHz is the frequency of a source.
func toneHz(n int) float64 { return float64(400 + 300*n) }

// quiet checks that a channel is next to silent between two instants.
func (k kept) quiet(ch int, from, to time.Time) {
	k.t.Helper()
	pcm := k.audio.Channels[ch]
	lo := max(int((k.at(from)+0.15)*media.DecodedRate), 0)
	hi := min(int((k.at(to)-0.06)*media.DecodedRate), len(pcm))
	sum := 0.0
	for _, v := range pcm[min(lo, hi):hi] {
		sum += float64(v) * float64(v)
	}
	if l := 10 * math.Log10(max(sum/float64(max(hi-lo, 1)), 1)/32768/32768); l > -50 {
		k.t.Errorf("channel %d is not silent but at %.1f dBFS", ch, l)
	}
}

// hasText looks for text in the details.
func (k kept) hasText(text string) bool {
	b, err := json.Marshal(k.d)
	if err != nil {
		k.t.Fatal(err)
	}
	return strings.Contains(string(b), text)
}
