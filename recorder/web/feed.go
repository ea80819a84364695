package web

import (
	"encoding/json"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"

	"siprecd/recorder"
)

const (
	maxFollowers  = 64
	followPeriod  = time.Second     // never more often
	followIdle    = 5 * time.Second // never less often
	snapshotLife  = 900 * time.Millisecond
	silenceDBov   = -127.0 // RFC 6465: the quietest level there is
	followTimeout = 5 * time.Second
	writeTimeout  = 30 * time.Second // of ordinary answers
)

// feed shares one snapshot of the status among all followers.
type feed struct {
	source Source
	epoch  string // makes event ids of two runs differ

	mu        sync.Mutex
	last      *snapshot
	followers int
}

// A snapshot is one status in the forms in which it is sent.
type snapshot struct {
	seq    uint64 // grows when something worth telling has changed
	taken  time.Time
	status recorder.Status
	json   []byte // one line, without the line break
}

func newFeed(src Source) *feed {
	return &feed{source: src, epoch: strconv.FormatInt(time.Now().Unix(), 36)}
}

// snapshot returns a status that is not older than maxAge.
func (f *feed) snapshot(maxAge time.Duration) (*snapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last != nil && time.Since(f.last.taken) < maxAge {
		return f.last, nil
	}
	next := &snapshot{taken: time.Now(), status: clean(f.source.Status()), seq: 1}
	var err error
	if next.json, err = json.Marshal(next.status); err != nil {
		return nil, err
	}
	if f.last != nil {
		next.seq = f.last.seq
		if !reflect.DeepEqual(settled(f.last.status), settled(next.status)) {
			next.seq++
		}
	}
	f.last = next
	return next, nil
}

// id is the event id of a snapshot.
func (f *feed) id(s *snapshot) string { return f.epoch + "-" + strconv.FormatUint(s.seq, 10) }

// join takes one of the places for followers; false when all are taken.
func (f *feed) join() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.followers >= maxFollowers {
		return false
	}
	f.followers++
	return true
}

func (f *feed) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.followers--
}

// following is how many follow now.
func (f *feed) following() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.followers
}

// clean makes a status that JSON can carry and that readers need no nil
// checks for: infinite levels become -127 dBov, nil lists become empty ones.
func clean(st recorder.Status) recorder.Status {
	st.Calls = slices.Clone(st.Calls)
	for i := range st.Calls {
		c := &st.Calls[i]
		c.Seconds = finite(c.Seconds, 0)
		c.Legs = slices.Clone(c.Legs)
		for j := range c.Legs {
			leg := &c.Legs[j]
			leg.LevelDB = finite(leg.LevelDB, silenceDBov)
			leg.SilentSeconds = finite(leg.SilentSeconds, 0)
			leg.LastPacketAge = finite(leg.LastPacketAge, -1)
		}
		c.Legs = list(c.Legs)
	}
	st.Calls = list(st.Calls)
	st.Peers = list(st.Peers)
	st.Listen = list(st.Listen)
	st.Checks = list(st.Checks)
	st.Decisions = nonNil(st.Decisions)
	st.Refusals = nonNil(st.Refusals)
	st.Warnings = nonNil(st.Warnings)
	st.AlarmsRaised = nonNil(st.AlarmsRaised)
	st.Alarms = list(st.Alarms)
	st.Faults = list(st.Faults)
	st.Completeness = list(st.Completeness)
	st.Audit.Sinks = list(st.Audit.Sinks)
	st.Journal.AgeSeconds = finite(st.Journal.AgeSeconds, 0)
	st.Journal.CommitMS = finite(st.Journal.CommitMS, 0)
	return st
}

// list is a list that JSON shows as one, also when it is empty.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

func nonNil(m map[string]uint64) map[string]uint64 {
	if m == nil {
		return map[string]uint64{}
	}
	return maps.Clone(m)
}

func finite(v, otherwise float64) float64 {
	if math.IsInf(v, 0) || math.IsNaN(v) {
		return otherwise
	}
	return v
}

// settled drops the figures that move by themselves, so that what is left
// differs only when something has happened.
func settled(st recorder.Status) recorder.Status {
	st.At = time.Time{}
	st.Journal.AgeSeconds, st.Journal.CommitMS = 0, 0
	st.Disk.FreeBytes >>= 26 // 64 MiB steps
	st.Calls = slices.Clone(st.Calls)
	for i := range st.Calls {
		st.Calls[i].Seconds = 0
	}
	return st
}
