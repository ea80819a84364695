package trouble

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestTell tries every 250 ms for two and a half minutes, each time with
// another text: a line at the begin, two on the way, one at the end.
func TestTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, nil))
		x := Trouble{What: "it fails", Over: "it works again"}
		x.Tell(log, nil)
		for i := range 600 {
			x.Tell(log, fmt.Errorf("journal-%d.db", i))
			<-time.After(250 * time.Millisecond)
		}
		x.Tell(log, nil)
		x.Tell(log, nil)
		fails, again := strings.Count(out.String(), "it fails"), strings.Count(out.String(), "it works again")
		if fails != 3 || again != 1 {
			t.Errorf("%d lines of trouble, %d of its end:\n%s", fails, again, out.String())
		}
	})
}
