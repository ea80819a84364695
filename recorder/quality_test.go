package recorder_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"siprecd/media"
	"siprecd/media/ogg"
	"siprecd/siprec/siprectest/audio"
	"siprecd/store"
	"siprecd/store/seal"
)

// tee hands packets on and keeps a copy.
type tee struct {
	to   media.Sink
	kept [][]byte
}

func (s *tee) WritePackets(packets [][]byte) {
	for _, p := range packets {
		s.kept = append(s.kept, bytes.Clone(p))
	}
	s.to.WritePackets(packets)
}

// A recording of many segments, exported whole, holds the packets of one
// encoder in their order, nothing between them: there is no joint to hear.
func TestSegmentsHaveNoJoint(t *testing.T) {
	dir := t.TempDir()
	if _, err := seal.InitKeys(dir); err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.Context(), store.Options{Dir: dir, Segment: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	e, err := media.Open(media.Config{Address: netip.MustParseAddr("127.0.0.1"), PortMin: 35000, PortMax: 35099})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	rec, err := st.Begin(t.Context(), store.Admission{Line: "Parks", Started: time.Now(), Channels: 2, Rate: 8000, PreSkip: media.PreSkip})
	if err != nil {
		t.Fatal(err)
	}
	sink := &tee{to: rec}
	call, err := e.NewCall(media.CallConfig{Start: time.Now(), Layout: media.Stereo, Rate: 8000, Complexity: 5, Sink: sink})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := call.Add(media.StreamConfig{Name: "1", Codecs: map[uint8]media.Codec{0: {Encoding: "PCMU", Clock: 8000, Channels: 1}},
		Source: netip.MustParseAddrPort("127.0.0.1:9")})
	if err != nil {
		t.Fatal(err)
	}
	tone(t, stream.Port(), 200)
	sum := call.Finish(time.Now())
	if err := rec.Finish(t.Context(), store.Closing{Ended: time.Now(), Samples: sum.Samples, Cause: "bye"}); err != nil {
		t.Fatal(err)
	}
	var row store.Row
	await(t, "the recording to be finished", func() bool {
		for r, err := range st.List(t.Context(), store.Query{}) {
			if err == nil && r.State == store.Finished {
				row = r
			}
		}
		return row.ID != ""
	})
	s, err := st.Read(t.Context(), store.Access{Who: "test", Why: "test"}, row.ID)
	if err != nil {
		t.Fatal(err)
	}
	segments := 0
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.Contains(path, row.ID) && strings.HasSuffix(path, ".opus.age") {
			segments++
		}
		return err
	})
	if err != nil || segments < 4 {
		t.Fatalf("%d segments, %v", segments, err)
	}
	var b bytes.Buffer
	if err := store.Export(&b, s, identities(t, filepath.Join(dir, "keys", seal.ConsoleKeyFile))...); err != nil {
		t.Fatal(err)
	}
	in, err := ogg.NewReader(&b)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; ; n++ {
		p, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if n >= len(sink.kept) || !bytes.Equal(p.Data, sink.kept[n]) {
			t.Fatalf("packet %d is not the one that was encoded", n)
		}
	}
	if n != len(sink.kept) || n < 200 || in.Total() != sum.Samples {
		t.Errorf("%d packets of %d, %d samples of %d", n, len(sink.kept), in.Total(), sum.Samples)
	}
}

// tone sends a sine as mu-law for so many packets.
func tone(t *testing.T, port, packets int) {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := range packets {
		ts := uint32(n * 160)
		p := []byte{0x80, 0, byte(n >> 8), byte(n), byte(ts >> 24), byte(ts >> 16), byte(ts >> 8), byte(ts), 0, 0, 0, 3}
		for i := range 160 {
			p = append(p, audio.EncodeMuLaw(int16(6000*math.Sin(2*math.Pi*500*float64(n*160+i)/8000))))
		}
		if _, err := conn.WriteToUDP(p, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}); err != nil {
			t.Fatal(err)
		}
		<-tick.C
	}
}
