// Package disk holds the rows in which the disk is full, slow, failing or wrong.
//
//	A4   full in mid-call, then space again     a small file system of its own
//	A5   a disk that fails writes and syncs     a thin store: its backing runs full
//	A6   each single step fails once            package fault
//	A7   no answer for 30 s                     package fault
//	A9   bytes flipped, files cut               copies of a folder
//	A12  two recorders on one folder
//
// What must hold in all of them: calls live on from memory, what was
// acknowledged is kept, what is not kept is in the ledger of gaps, new calls
// are refused at once while they could not be kept, and all resumes by itself.
package disk

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"siprecd/cmd/torture/calls"
	"siprecd/cmd/torture/fault"
	"siprecd/cmd/torture/rig"
	"siprecd/siprec/siprectest"
	"siprecd/store"
)

// Rows are A4 to A7, A9 and A12 of the goal table.
func Rows() []rig.Row {
	loop := []rig.Need{rig.Root(), rig.Loop(), rig.Tool("mkfs.ext4")}
	return []rig.Row{
		{ID: "A4", What: "disk full in mid-call, then space again", Rounds: 3, Short: 1, Needs: loop, Run: full},
		{ID: "A5", What: "a disk that fails writes and syncs", Rounds: 1, Short: 1, Needs: append(loop, fault.Possible()), Run: failing},
		{ID: "A6", What: "each write, sync, rename, open of a call and of a start fails once", Rounds: 400, Short: 6, Needs: []rig.Need{fault.Possible()}, Run: steps},
		{ID: "A7", What: "the disk does not answer for 30 s (9 s in the short form)", Rounds: 2, Short: 1, Needs: []rig.Need{fault.Possible()}, Run: stall},
		{ID: "A9", What: "a bit flipped or a file cut, anywhere", Rounds: 2000, Short: 12, Run: flips},
		{ID: "A12", What: "a second recorder on one folder", Rounds: 20, Short: 2, Run: second},
	}
}

// Goals of the rows.
const (
	maxRefusal = 100 * time.Millisecond
	maxResume  = 5 * time.Second
	oneFrame   = 20 * time.Millisecond
)

// try places one short call; what its INVITE got, and how soon.
func try(ctx context.Context, l *rig.Lab, s *rig.Server) (code int, took time.Duration) {
	rep := <-calls.Place(ctx, l, s, siprectest.Options{Duration: 100 * time.Millisecond, Timeout: 20 * time.Second})
	if len(rep.Calls) == 0 {
		return 0, 0
	}
	if rep.Calls[0].Code == 0 {
		l.Logf("no answer: %+v", rep.Calls[0])
	}
	return rep.Calls[0].Code, time.Duration(rep.Calls[0].SetupSeconds * float64(time.Second))
}

// memory is a field of /proc/PID/status in bytes: VmRSS, VmHWM.
func memory(pid int, field string) int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == field+":" {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n << 10
		}
	}
	return 0
}

// forgetPeak has the kernel measure VmHWM anew.
func forgetPeak(pid int) error {
	return os.WriteFile(filepath.Join("/proc", strconv.Itoa(pid), "clear_refs"), []byte("5"), 0)
}

// ledger sums up what finished recordings hold against what was to be.
type ledger struct {
	recordings, untrue, damaged, short int
	gap                                time.Duration // the longest in a recording
	worst                              time.Duration // by which a ledger is wrong
}

// add judges one recording: audio is where the ledger has no gap, and nowhere
// else.
func (g *ledger) add(l *rig.Lab, h calls.Heard, want time.Duration) {
	g.recordings++
	listed := 0
	var gap time.Duration
	for _, x := range h.Manifest.Gaps {
		if x.Reason == "not stored" {
			listed += x.Packets
			gap += time.Duration((x.To - x.From) * float64(time.Second))
		}
	}
	real := time.Duration(h.Filled()) * calls.Packet
	wrong := max((gap - real).Abs(), (time.Duration(listed-h.Filled()) * calls.Packet).Abs())
	if wrong > oneFrame {
		g.untrue++
		l.Logf("%s: %v of gaps listed, %d packets of them; %v is missing", h.Manifest.ID, gap, listed, real)
	}
	if length := time.Duration(h.Manifest.Duration * float64(time.Second)); length < want {
		g.short++
		l.Logf("%s: %v long, want %v", h.Manifest.ID, length, want)
	}
	g.gap, g.worst = max(g.gap, gap), max(g.worst, wrong)
}

// read judges all recordings of a server from an instant on.
func (g *ledger) read(l *rig.Lab, s *rig.Server, from time.Time, want time.Duration) error {
	holder, err := calls.Identity(s.Dir)
	if err != nil {
		return err
	}
	st, err := calls.Open(l, s.Dir)
	if err != nil {
		return err
	}
	for row, err := range st.List(l, store.Query{From: from}) {
		if err != nil {
			return err
		}
		h, err := calls.Hear(l, st, row.ID, holder)
		if err != nil {
			g.damaged++
			l.Logf("%s: %v", row.ID, err)
			continue
		}
		g.add(l, h, want)
	}
	return st.Close(l)
}

func (g *ledger) figures(l *rig.Lab, name string, want int) {
	l.Count(name+": recordings kept", g.recordings, want)
	l.Count(name+": recordings that do not open", g.damaged, 0)
	l.Count(name+": recordings too short", g.short, 0)
	l.Count(name+": ledgers that are wrong by more than 20 ms", g.untrue, 0)
}
