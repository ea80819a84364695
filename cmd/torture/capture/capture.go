// Package capture holds the rows that count: what was offered, what was kept.
//
//	calls, packet by packet ─► siprecd ─► list, manifests, exports
//	        │                                    │
//	        └── what was sent, lost on purpose ──┴─► equal, or told in the ledger
//
// Media is sent by code of its own (shape, play), in which the fate of every
// packet is known beforehand: what a recording must hold, and what its ledger
// must tell of, is worked out before the call, not measured.
package capture

import (
	"time"

	"siprecd/cmd/torture/rig"
)

// Rows are B1 to B7 and B9 of the goal table, and A11.
func Rows() []rig.Row {
	return []rig.Row{
		{ID: "B1", What: "SIPp's calls, two streams each, 20 new ones a second", Rounds: sippRounds, Short: 40, Needs: append(ffmpeg(), rig.Tool("sipp")), Run: counted},
		{ID: "B2", What: "answering with 200 live calls; rounds are seconds", Rounds: admitRounds, Short: 2, Run: admission},
		{ID: "B3", What: "loss, reorder, duplicates, late packets, jitter", Rounds: lossyRounds, Short: 1, Needs: ffmpeg(), Run: lossy},
		{ID: "B4", What: "SSRC, codec, packet length and time stamps change in mid-stream", Rounds: turnedRounds, Short: 1, Needs: ffmpeg(), Run: turned},
		{ID: "B5", What: "clients vanish; the recorder restarts in mid-call", Rounds: lostRounds, Short: 1, Run: lostClient},
		{ID: "B6", What: "no media, or one side's only", Rounds: mutedRounds, Short: 1, Run: muted},
		{ID: "B7", What: "a call of 0.3 s is kept", Rounds: briefRounds, Short: 3, Run: shortCall},
		{ID: "B9", What: "SIGTERM with live calls", Rounds: 60, Short: 3, Run: drained},
		{ID: "A11", What: "churn of short calls; rounds are seconds", Rounds: churnRounds, Short: 6, Limit: 25 * time.Minute, Run: churn},
	}
}

// The rounds of the full runs.
const (
	lossyRounds  = 6
	turnedRounds = 5
	briefRounds  = 200
	lostRounds   = 50
	mutedRounds  = 10
	admitRounds  = 90
	churnRounds  = 1200
)

func ffmpeg() []rig.Need { return []rig.Need{rig.Tool("ffmpeg")} }

// brief says that this is a short form, on a machine that does other things as
// well: what depends on its speed is not judged.
func brief(l *rig.Lab, full int) bool { return l.Rounds < (full+1)/2 }

const listed = 20 * time.Second // how soon after its end a recording is finished

// started is a server of the row's own that is ready.
func started(l *rig.Lab, sets ...string) (*rig.Server, error) {
	s, err := l.Server(sets...)
	if err != nil {
		return nil, err
	}
	_, err = s.Start()
	return s, err
}
