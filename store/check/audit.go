package check

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"siprecd/store/audit"
	"siprecd/store/audit/prove"
	"siprecd/store/catalog"
	"siprecd/store/disk"
	"siprecd/store/kept"
	"siprecd/store/seal"
)

// booked is what the audit log has of one recording.
type booked struct {
	made, ended, erased bool
	fits                bool // an end names the manifest that is there
}

// ledger is what the audit log has of all recordings.
type ledger struct {
	of    map[catalog.ID]booked
	since time.Time // of its first leaf: before there was none
	until time.Time // leaves from then on are newer than the rows that were read
}

// audit checks the log of what was done, every checkpoint beside it, and that
// it tells of the recordings what the folder tells.
func (v *verifier) audit() error {
	key, err := audit.NewKey(v.auditor)
	if err != nil {
		return err
	}
	box, err := v.host.Box(audit.DetailBox, nil)
	if err != nil {
		return err
	}
	l := &ledger{of: map[catalog.ID]booked{}, until: v.start}
	o := prove.Options{Root: v.root, Key: key, Box: box, Running: v.running, Event: func(e audit.Event) { v.book(l, e) }}
	o.Found = func(f prove.Fault) { v.report(f.File, f.Recording, errors.New(f.Kind+": "+f.Err.Error())) }
	sum, err := prove.Verify(o)
	switch {
	case err != nil:
		return err
	case sum.Trees > 0:
		v.compare(l)
	case len(v.rows) > 0:
		v.report(audit.Dir, "", fs.ErrNotExist)
	}
	return nil
}

// book notes what a leaf says of a recording.
func (v *verifier) book(l *ledger, e audit.Event) {
	if l.since.IsZero() || e.At.Before(l.since) {
		l.since = e.At
	}
	if e.Recording == "" {
		return
	}
	id, err := disk.ParseName(e.Recording)
	if err != nil {
		return
	}
	b := l.of[id]
	switch e.Kind {
	case audit.Made:
		b.made = true
	case audit.Finished, audit.Interrupted:
		if v.running && !e.At.Before(l.until) {
			return
		}
		b.ended = true
		b.fits = b.fits || e.Hash == v.manifests[id]
	case audit.Erased:
		b.erased = true
	default:
		return
	}
	l.of[id] = b
}

// compare holds the log against the catalogue and the manifests.
func (v *verifier) compare(l *ledger) {
	since := l.since.Truncate(time.Millisecond) // as exact as an id's time is
	for id, state := range v.rows {
		v.account(id, state, l.of[id], !disk.Time(id).Before(since))
	}
	if v.partial {
		return
	}
	for id, b := range l.of {
		if _, ok := v.rows[id]; !ok && b.ended && !b.erased {
			v.report(catalog.File, disk.Name(id), errors.New("the audit log has it finished, and it is not in the catalogue"))
		}
	}
}

// account compares one recording; began says that the log was there before it.
func (v *verifier) account(id catalog.ID, state string, b booked, began bool) {
	switch {
	case state == kept.Finished:
		v.accountFinished(id, b, began)
	case state == kept.Erased && !b.erased && began && !v.erasing[id]:
		v.report(audit.Dir, disk.Name(id), errors.New("the recording was erased, and no leaf says so"))
	}
}

func (v *verifier) accountFinished(id catalog.ID, b booked, began bool) {
	name, folder := disk.Name(id), disk.FolderOf(id)
	switch {
	case b.erased:
		v.report(folder, name, errors.New("the audit log has it erased, and it is there"))
	case !b.ended && began:
		v.report(audit.Dir, name, errors.New("the recording is finished, and no leaf says so"))
	case !b.made && began:
		v.report(audit.Dir, name, errors.New("the recording is finished, and no leaf says that it was begun"))
	case b.ended && !b.fits && v.manifests[id] != "":
		v.report(path.Join(folder, kept.ManifestFile), name, fmt.Errorf("%w: not the manifest that the audit log names", seal.ErrDamaged))
	}
}
