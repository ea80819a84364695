package ogg_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pion/webrtc/v4/pkg/media/oggreader"

	"siprecd/media/ogg"
)

var (
	head = ogg.Head{Channels: 2, PreSkip: 312, InputRate: 8000}
	tags = ogg.Tags{Vendor: "siprecd test", Comments: []string{"ENCODER=siprecd", "NOTE="}}
)

// silent is a packet of 20 ms, padded to a size so that packets differ.
func silent(size int) []byte { return append([]byte{0x08 | 4}, make([]byte, size)...) }

// file muxes packets of the given sizes.
func file(t testing.TB, total int64, sizes ...int) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := ogg.NewWriter(&buf, head, 0xfeedface, tags)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range sizes {
		if err := w.WritePacket(silent(n), 960); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(total); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func many(n, size int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = size
	}
	return out
}

// read reads a file to its end or first fault.
func read(b []byte) (sizes []int, r *ogg.Reader, err error) {
	if r, err = ogg.NewReader(bytes.NewReader(b)); err != nil {
		return nil, nil, err
	}
	end := int64(-1)
	for {
		p, err := r.Next()
		if err == io.EOF {
			return sizes, r, nil
		}
		if err != nil {
			return sizes, r, err
		}
		if end >= 0 && p.End != end+int64(p.Samples) {
			return sizes, r, errors.New("positions do not add up")
		}
		end = p.End
		sizes = append(sizes, len(p.Data)-1)
	}
}

func TestRoundTrip(t *testing.T) {
	for name, c := range map[string]struct {
		sizes []int
		total int64
		want  int64
	}{
		"a call":              {many(180, 60), 180*960 - 500, 180*960 - 500},
		"one packet":          {[]int{0}, 100, 100},
		"whole":               {many(10, 0), -1, 9600 - 312},
		"exactly a second":    {many(50, 10), 50*960 - 312, 50*960 - 312},
		"second and a bit":    {many(51, 10), 50*960 - 312, 50*960 - 312},
		"sizes around a lace": {[]int{253, 254, 255, 509, 510, 1274}, 3000, 3000},
		"full pages":          {many(120, 3000), 110000, 110000},
		"more than there is":  {many(10, 9), 1e9, 9600 - 312},
	} {
		b := file(t, c.total, c.sizes...)
		sizes, r, err := read(b)
		if err != nil || !reflect.DeepEqual(sizes, c.sizes) {
			t.Errorf("%s: %v, %d packets of %d", name, err, len(sizes), len(c.sizes))
			continue
		}
		if r.Head() != head || !reflect.DeepEqual(r.Tags(), tags) || r.Total() != c.want {
			t.Errorf("%s: %+v %+v, plays %d, want %d", name, r.Head(), r.Tags(), r.Total(), c.want)
		}
	}
}

// pages splits a file at its pages.
func pages(b []byte) (out [][]byte) {
	for len(b) > 0 {
		next := bytes.Index(b[4:], []byte("OggS\x00"))
		if next < 0 {
			return append(out, b)
		}
		out = append(out, b[:next+4])
		b = b[next+4:]
	}
	return out
}

func TestPagesOfASecond(t *testing.T) {
	if n := len(pages(file(t, -1, many(500, 60)...))); n != 2+10 {
		t.Errorf("%d pages for 10 s", n)
	}
}

// An independent reader sees the same.
func TestAgainstPion(t *testing.T) {
	b := file(t, 170000, many(180, 60)...)
	r, h, err := oggreader.NewWith(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if h.Channels != 2 || h.PreSkip != 312 || h.SampleRate != 8000 {
		t.Errorf("%+v", h)
	}
	last, n := uint64(0), 0
	for {
		data, ph, err := r.ParseNextPage()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		last = ph.GranulePosition
		n += len(data)
	}
	if last != 170312 {
		t.Errorf("last granule %d", last)
	}
}

// Opusinfo finds nothing to complain about, and ffmpeg plays the right length.
func TestAgainstTools(t *testing.T) {
	for name, c := range map[string]struct {
		sizes []int
		total int64
	}{
		"call":  {many(180, 60), 180*960 - 312 - 501},
		"empty": {nil, 0},
		"short": {[]int{5}, 1},
	} {
		b := file(t, c.total, c.sizes...)
		path := filepath.Join(t.TempDir(), "x.opus")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("opusinfo", path).CombinedOutput()
		if err != nil || strings.Contains(string(out), "WARNING") || strings.Contains(string(out), "ERROR") {
			t.Errorf("%s: opusinfo: %v\n%s", name, err, out)
		}
		raw, err := exec.Command("ffmpeg", "-v", "error", "-c:a", "libopus", "-i", path, "-f", "s16le", "-ar", "48000", "-").CombinedOutput()
		if err != nil || int64(len(raw)) != c.total*4 {
			t.Errorf("%s: ffmpeg: %v, %d samples, want %d", name, err, len(raw)/4, c.total)
		}
	}
}

func TestFaultsAreNamed(t *testing.T) {
	good := file(t, -1, many(120, 2)...)
	p := pages(good)
	join := func(list ...[]byte) []byte { return bytes.Join(list, nil) }
	flip := func(at int) []byte {
		b := bytes.Clone(good)
		b[at] ^= 1
		return b
	}
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"nothing":         {nil, ogg.ErrTruncated},
		"not Ogg":         {[]byte("RIFF....WAVEfmt data and more of it"), ogg.ErrFormat},
		"half a page":     {good[:len(good)-10], ogg.ErrTruncated},
		"no last page":    {join(p[:len(p)-1]...), ogg.ErrTruncated},
		"no tags":         {p[0], ogg.ErrTruncated},
		"page missing":    {join(p[0], p[1], p[3], p[4]), ogg.ErrSequence},
		"page twice":      {join(p[0], p[1], p[2], p[2], p[3]), ogg.ErrSequence},
		"flipped audio":   {flip(len(good) - 5), ogg.ErrChecksum},
		"flipped granule": {flip(len(p[0]) + len(p[1]) + 8), ogg.ErrChecksum},
		"something after": {join(good, []byte("x")), ogg.ErrFormat},
		"two in a row":    {join(good, good), ogg.ErrFormat},
	} {
		if _, _, err := read(c.b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	for i := range good { // any flipped bit is found
		if _, _, err := read(flip(i)); err == nil {
			t.Fatalf("a flipped bit in byte %d is not found", i)
		}
	}
	for i := range good { // any cut too
		if _, _, err := read(good[:i]); err == nil {
			t.Fatalf("a cut at byte %d is not found", i)
		}
	}
}

func TestWriterRefuses(t *testing.T) {
	if _, err := ogg.NewWriter(io.Discard, ogg.Head{Channels: 3}, 1, tags); err == nil {
		t.Error("three channels")
	}
	w, err := ogg.NewWriter(io.Discard, head, 1, tags)
	if err != nil {
		t.Fatal(err)
	}
	if w.WritePacket(nil, 960) == nil || w.WritePacket(make([]byte, 70000), 960) == nil {
		t.Error("a packet that is empty or too long")
	}
	if err := w.Close(0); err != nil {
		t.Fatal(err)
	}
	if w.WritePacket([]byte{8}, 960) == nil {
		t.Error("a packet after close")
	}
}

func TestPacketSamples(t *testing.T) {
	for _, c := range []struct {
		p    []byte
		want int // 0: error
	}{
		{nil, 0},
		{[]byte{0 << 3}, 480},
		{[]byte{3 << 3}, 2880},
		{[]byte{13 << 3}, 960},
		{[]byte{16 << 3}, 120},
		{[]byte{31 << 3}, 960},
		{[]byte{31<<3 | 1}, 1920},
		{[]byte{31<<3 | 2}, 1920},
		{[]byte{31<<3 | 3}, 0},
		{[]byte{31<<3 | 3, 0}, 0},
		{[]byte{31<<3 | 3, 6}, 5760},
		{[]byte{31<<3 | 3, 7}, 0},
		{[]byte{3<<3 | 3, 2 | 0x80}, 5760},
	} {
		if got, err := ogg.PacketSamples(c.p); got != c.want || (err == nil) != (c.want > 0) {
			t.Errorf("%x: %d, %v, want %d", c.p, got, err, c.want)
		}
	}
}

// FuzzReader: whatever the bytes, the reader ends, and what it accepts it
// could have written.
func FuzzReader(f *testing.F) {
	f.Add(file(f, -1, many(60, 20)...))
	f.Add(file(f, 0))
	f.Add(file(f, 1000, 255, 510, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		sizes, r, err := read(b)
		if err == nil && r.Total() > int64(len(sizes))*5760 {
			t.Errorf("%d packets play %d samples", len(sizes), r.Total())
		}
		ogg.PacketSamples(b)
	})
}
