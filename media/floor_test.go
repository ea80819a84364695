package media

import (
	"bytes"
	"testing"

	"siprecd/media/floor"
)

// TestTheFloorCodesAsWeDo keeps the figure that siprecd is measured against
// honest: package floor sets up libopus as the engine does.
func TestTheFloorCodesAsWeDo(t *testing.T) {
	ours, err := newEncoder(8000, 2, 32000, 5)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := floor.NewEncoder(floor.Coding{Bitrate: 32000, Complexity: 5})
	if err != nil {
		t.Fatal(err)
	}
	pcm := interleave(talk(1, 5), talk(2, 5))
	var buf [maxPacket]byte
	for n := range 250 {
		a, err := ours.encode(pcm[n*320:][:320], &buf)
		if err != nil {
			t.Fatal(err)
		}
		b, err := theirs.Encode(pcm[n*320:][:320])
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Fatalf("packet %d: ours has %d bytes, the floor's %d, and they differ", n, len(a), len(b))
		}
	}
}
