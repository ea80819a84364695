package media

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// The library takes a slice's capacity for its length, so nothing but opus.go
// may call it.
func TestOpusIsCalledInOnePlace(t *testing.T) {
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Name() == "opus.go" || !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		text, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte(`hraban/opus"`)) {
			t.Errorf("%s calls libopus", f.Name())
		}
	}
	text, err := os.ReadFile("opus.go")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, ".Encode(") && strings.Count(line, ":") < 5 {
			t.Errorf("not a three-index slice: %s", line)
		}
	}
}

func TestEncoderStaysInItsBuffer(t *testing.T) {
	e, err := newEncoder(48000, 2, 510000, 10)
	if err != nil {
		t.Fatal(err)
	}
	var bufs [2][maxPacket]byte
	for i := range bufs[1] {
		bufs[1][i] = 0xaa
	}
	pcm := make([]int16, 1920)
	for i := range pcm {
		pcm[i] = int16(i * 7919)
	}
	p, err := e.encode(pcm, &bufs[0])
	if err != nil || len(p) == 0 || cap(p) != len(p) {
		t.Fatalf("%d bytes, capacity %d, %v", len(p), cap(p), err)
	}
	for _, b := range bufs[1] {
		if b != 0xaa {
			t.Fatal("wrote beyond the buffer")
		}
	}
}
