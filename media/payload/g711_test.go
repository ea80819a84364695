package payload

import (
	"bytes"
	"encoding/binary"
	"os/exec"
	"testing"
)

// Both laws give what ffmpeg and sox give, for every code.
func TestLawsAgainstReference(t *testing.T) {
	codes := make([]byte, 256)
	for i := range codes {
		codes[i] = byte(i)
	}
	for _, c := range []struct {
		law  *Law
		name string
		cmd  []string
	}{
		{MuLaw, "mu-law", []string{"ffmpeg", "-v", "error", "-f", "mulaw", "-ar", "8000", "-i", "-", "-f", "s16le", "-"}},
		{ALaw, "A-law", []string{"ffmpeg", "-v", "error", "-f", "alaw", "-ar", "8000", "-i", "-", "-f", "s16le", "-"}},
		{MuLaw, "mu-law", []string{"sox", "-t", "ul", "-r", "8000", "-c", "1", "-", "-t", "s16", "-L", "-"}},
		{ALaw, "A-law", []string{"sox", "-t", "al", "-r", "8000", "-c", "1", "-", "-t", "s16", "-L", "-"}},
	} {
		cmd := exec.Command(c.cmd[0], c.cmd[1:]...)
		cmd.Stdin = bytes.NewReader(codes)
		out, err := cmd.Output()
		if err != nil || len(out) != 512 {
			t.Fatalf("%s: %v, %d bytes", c.cmd[0], err, len(out))
		}
		for i, got := range c.law {
			if want := int16(binary.LittleEndian.Uint16(out[2*i:])); got != want {
				t.Errorf("%s code %d: %d, %s says %d", c.name, i, got, c.cmd[0], want)
			}
		}
	}
}
