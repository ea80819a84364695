package store

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"siprecd/media/ogg"
)

// need fails the test where an outside judge is not installed.
func need(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatal(tool + " is not installed: make test installs what it needs")
		}
	}
}

func run2(t *testing.T, stdin []byte, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	var out, bad bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &bad
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, bad.String())
	}
	return out.Bytes()
}

// tone makes real Opus packets of 20 ms: 440 Hz left, 660 Hz right, 8 kHz.
func tone(t *testing.T, seconds float64) (packets [][]byte, head ogg.Head) {
	t.Helper()
	file := run2(t, nil, "ffmpeg", "-v", "error", "-f", "lavfi", "-i",
		fmt.Sprintf("sine=frequency=440:sample_rate=8000:duration=%v[a];sine=frequency=660:sample_rate=8000:duration=%v[b];[a][b]amerge=inputs=2", seconds, seconds),
		"-c:a", "libopus", "-b:a", "32k", "-application", "voip", "-f", "ogg", "-")
	packets, r := packetsOf(t, file)
	return packets, r.Head()
}

// decode returns what ffmpeg plays of an Ogg Opus file, 48 kHz mono samples of
// the given channel.
func decode(t *testing.T, file string, channel int) []int16 {
	t.Helper()
	raw := run2(t, nil, "ffmpeg", "-v", "error", "-i", file, "-af", fmt.Sprintf("pan=mono|c0=c%d", channel), "-ar", "48000", "-f", "s16le", "-")
	pcm := make([]int16, len(raw)/2)
	for i := range pcm {
		pcm[i] = int16(raw[2*i]) | int16(raw[2*i+1])<<8
	}
	return pcm
}

// power is the level of one frequency in the samples (Goertzel).
func power(pcm []int16, freq float64) float64 {
	w := 2 * math.Pi * freq / 48000
	var s1, s2 float64
	for _, x := range pcm {
		s1, s2 = float64(x)+2*math.Cos(w)*s1-s2, s1
	}
	return math.Sqrt(s1*s1+s2*s2-2*math.Cos(w)*s1*s2) / float64(len(pcm))
}

// TestOutsiders lets stock age, openssl, ffmpeg and opusinfo judge a recording:
// the README's recipe, word for word.
func TestOutsiders(t *testing.T) {
	need(t, "age", "openssl", "ffmpeg", "opusinfo", "sh")
	packets, head := tone(t, 3.3)
	h := newHouse(t)
	s := h.open(t, func(o *Options) { o.Segment = time.Second; o.Tick = 20 * time.Millisecond })
	a := admission()
	a.PreSkip = head.PreSkip
	r, err := s.Begin(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	feed(r, packets)
	c := closing(len(packets))
	c.Samples = 3.3 * 48000
	if err := r.Finish(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	x, err := s.Read(t.Context(), someone, r.ID())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := ExportSealed(dir, x); err != nil {
		t.Fatal(err)
	}
	keys := filepath.Join(h.dir, "keys")
	whole := filepath.Join(dir, "whole.opus")
	f, err := os.Create(whole)
	if err != nil {
		t.Fatal(err)
	}
	if err := Export(f, x, h.console); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	script := `set -e; cd "$1"; k="$2"
age -d -i "$k/console.key" keybox.age > rec.key
for f in *.opus.age; do age -d -i rec.key $f > ${f%.age}; done
age -d -i rec.key details.json.age > details.json
openssl pkeyutl -verify -pubin -inkey "$k/manifest.pub" -rawin -in manifest.json -sigfile manifest.sig
`
	run2(t, nil, "sh", "-c", script, "sh", dir, keys)
	details, err := os.ReadFile(filepath.Join(dir, "details.json"))
	if err != nil || !bytes.Contains(details, []byte("Planted Agentname")) {
		t.Errorf("details: %s, %v", details, err)
	}
	var joined []int16
	for _, g := range x.Manifest.Segments {
		name := filepath.Join(dir, strings.TrimSuffix(g.File, ".age"))
		checkOpusinfo(t, name)
		pcm := decode(t, name, 0)
		if int64(len(pcm)) != g.Samples {
			t.Errorf("%s plays %d samples, the manifest says %d", g.File, len(pcm), g.Samples)
		}
		joined = append(joined, pcm...)
	}
	checkOpusinfo(t, whole)
	left, right := decode(t, whole, 0), decode(t, whole, 1)
	if len(joined) != 3.3*48000 || len(left) != len(joined) {
		t.Errorf("segments play %d samples, the export %d, want %d", len(joined), len(left), int(3.3*48000))
	}
	if l, r := power(left, 440), power(left, 660); l < 10*r {
		t.Errorf("left channel: 440 Hz %.0f, 660 Hz %.0f", l, r)
	}
	if l, r := power(right, 440), power(right, 660); r < 10*l {
		t.Errorf("right channel: 440 Hz %.0f, 660 Hz %.0f", l, r)
	}
	checkSeams(t, joined, left)
	shut(t, s)
}

// checkSeams compares the separately decoded segments with the whole: after
// 80 ms of pre-roll a decoder is where it would have been.
func checkSeams(t *testing.T, joined, whole []int16) {
	t.Helper()
	var worst, sum float64
	for i := range min(len(joined), len(whole)) {
		d := math.Abs(float64(joined[i]) - float64(whole[i]))
		worst, sum = max(worst, d), sum+d*d
	}
	rms := math.Sqrt(sum / float64(len(whole)))
	t.Logf("segments against whole: worst difference %.0f, rms %.1f of 32768", worst, rms)
	if worst > 1000 {
		t.Errorf("the seams are audible: worst difference %.0f of 32768", worst)
	}
}

func checkOpusinfo(t *testing.T, file string) {
	t.Helper()
	out := string(run2(t, nil, "opusinfo", file))
	if strings.Contains(out, "WARNING") || strings.Contains(out, "ERROR") {
		t.Errorf("opusinfo: %s", out)
	}
}

// TestPlanted scans the whole folder for what must not be readable there, while
// a call is live and after it.
func TestPlanted(t *testing.T) {
	h := newHouse(t)
	s := h.open(t, func(o *Options) { o.Segment = time.Second })
	planted := []string{
		"planted-call-id", "Planted Agentname", "2079460123", "020 8825 7050", "02088257050", "council tax", "planted event",
	}
	packets := fake(120)
	r, err := s.Begin(t.Context(), admission())
	if err != nil {
		t.Fatal(err)
	}
	feed(r, packets)
	r.Event("note", "planted event")
	s.saveDetails()
	if err := s.journal.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	scan(t, h.dir, append(planted, string(packets[7]), string(packets[100])), nil)
	if err := r.Finish(t.Context(), closing(120)); err != nil {
		t.Fatal(err)
	}
	// The line's name is not personal and stands in the manifest on purpose.
	scan(t, h.dir, append(planted, string(packets[7]), string(packets[100])), []string{"council tax"})
	shut(t, s)
	scan(t, h.dir, planted, []string{"council tax"})
	if scanned := scan(t, h.dir, []string{"siprecd/manifest/1"}, []string{"siprecd/manifest/1"}); scanned == 0 {
		t.Error("the scan finds nothing even where it should")
	}
}

// scan looks for the words in every file and returns how many there are of
// those that are allowed.
func scan(t *testing.T, dir string, words, allowed []string) (seen int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(name)
		for _, w := range words {
			if !bytes.Contains(data, []byte(w)) {
				continue
			}
			if strings.Contains(strings.Join(allowed, "\n"), w) {
				seen++
				continue
			}
			t.Errorf("%q stands in %s", w, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return seen
}
