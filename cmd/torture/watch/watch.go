// Package watch holds the rows in which the recorder must tell of its own
// troubles: what it does not say, nobody on call can mend.
//
//	fault ─► siprecd ─► /status, /readyz ─► named within 10 s? calls refused, where
//	mended ─►                               they could not be kept? told no longer?
//
// Every fault is a real one: files are moved away, disks are filled and frozen,
// clocks stepped, calls placed that bring no media. One that is told before it
// was made, or stays told after it was mended, is a failure too.
package watch

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"siprecd/cmd/torture/fault"
	"siprecd/cmd/torture/foe"
	"siprecd/cmd/torture/rig"
)

// Rows are G5 of the goal table. Rounds are faults.
func Rows() []rig.Row {
	disk := []rig.Need{rig.Root(), rig.Loop(), rig.Tool("mkfs.ext4"), rig.Tool("fsfreeze"), fault.Possible()}
	return []rig.Row{
		{ID: "G5", What: "faults of calls, clients and files are named on the status", Rounds: 19, Short: 19, Run: told},
		{ID: "G5d", What: "and those of the disk and the clock", Rounds: 4, Short: 4, Needs: disk, Run: toldOfDisks},
	}
}

// toldWithin is how soon the status names a fault, and its end.
const toldWithin = 10 * time.Second

// trouble is one fault.
type trouble struct {
	name    string
	told    string        // how the status names it
	refuses bool          // calls could not be kept, and are refused
	after   time.Duration // it is a fault only when it has lasted so long
	lasts   time.Duration // it is told for so long after it was mended
	stays   bool          // it is told for minutes, for it has done its harm
	// inject makes it; mend ends it.
	inject func(*site) (mend func() error, err error)
}

// site is a server and what surrounds it.
type site struct {
	*rig.Server
	lab   *rig.Lab
	certs string          // the folder of its certificate
	disk  string          // where its own disk is mounted
	inj   *fault.Injector // on its system calls
}

// sums is what came of all faults.
type sums struct {
	mu                            sync.Mutex
	injected, early, named, wrong int
	uncleared                     int
	slowest                       time.Duration
}

// round tries faults on a server, one after the other.
func (s *site) round(list []trouble, sum *sums) error {
	for _, t := range list {
		if err := s.try(t, sum); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return nil
}

// outcome is what came of one fault.
type outcome struct {
	early, named, wrong, uncleared bool
	took                           time.Duration // until it was named
}

// try makes one fault, waits until the status names it, ends it, and waits
// until the status is content.
func (s *site) try(t trouble, sum *sums) error {
	before, _, err := s.names()
	if err != nil {
		return err
	}
	o := outcome{early: slices.Contains(before, t.told)}
	began := time.Now().Add(t.after)
	mend, err := t.inject(s)
	if err != nil {
		return err
	}
	o.named = s.lab.Await("", time.Until(began)+toldWithin, func() bool { return s.tells(t.told) }) == nil
	o.took = max(0, time.Since(began))
	_, well, err := s.names()
	o.wrong = well || (s.Get("/readyz") == 503) != t.refuses
	if err := errors.Join(err, mend()); err != nil {
		return err
	}
	mended := time.Now()
	if !t.stays {
		o.uncleared = s.lab.Await("", t.lasts+toldWithin, func() bool { return !s.tells(t.told) }) != nil
	}
	if err := s.lab.Err(); err != nil {
		return err
	}
	s.lab.Logf("%s: %q, %+v, told no longer after %v", t.name, t.told, o, time.Since(mended).Round(10*time.Millisecond))
	sum.add(o)
	return nil
}

func (s *sums) add(o outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.injected++
	if o.early {
		s.early++
	}
	if o.wrong {
		s.wrong++
	}
	if o.uncleared {
		s.uncleared++
	}
	if o.named && !o.early {
		s.named++
		s.slowest = max(s.slowest, o.took)
	}
}

func (s *sums) figures(l *rig.Lab) {
	l.Control("a fault is named, and only when it is there", s.named, s.injected)
	l.Count("told before they were made", s.early, 0)
	l.AtMost("the slowest to be named", s.slowest, toldWithin)
	l.Count("by which /status is content, or /readyz wrong", s.wrong, 0)
	l.Count("still told when mended", s.uncleared, 0)
}

// names is all that the status tells to be wrong, and whether it says that all
// is well.
func (s *site) names() (out []string, well bool, err error) {
	st, err := foe.Status(s.Server)
	for _, c := range st.Checks {
		if !c.OK {
			out = append(out, c.Name)
		}
	}
	for _, a := range st.Alarms {
		out = append(out, a.Kind)
	}
	for _, f := range st.Faults {
		out = append(out, f.Name)
	}
	return out, st.OK || len(st.Problems) == 0, err
}

func (s *site) tells(name string) bool {
	list, _, err := s.names()
	return err == nil && slices.Contains(list, name)
}

// sideBySide tries lists of faults, each on a server of its own.
func sideBySide(l *rig.Lab, lists ...func(*rig.Lab) (*site, []trouble, error)) error {
	var all sync.WaitGroup
	sum, failed, left := sums{}, make([]error, len(lists)), l.Rounds
	for i, list := range lists {
		s, faults, err := list(l)
		if err != nil {
			failed[i] = err
			break
		}
		faults = faults[:min(left, len(faults))]
		left -= len(faults)
		all.Go(func() { failed[i] = s.round(faults, &sum) })
	}
	all.Wait()
	sum.figures(l)
	return errors.Join(failed...)
}
