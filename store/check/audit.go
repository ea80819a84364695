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
	made, ended, discarded, erased bool
	fits                           bool // an end names the manifest that is there
	old                            bool // begun or ended before the rows were read
}

// vanished says why a recording that is not in the catalogue should be there;
// nil: it need not. Its row is durable before any leaf of it, and goes only when
// it is discarded: an erased one keeps a row, but its leaf is as good. Nothing
// that has ended is discarded.
func (b booked) vanished() error {
	switch {
	case b.erased || !b.old:
		return nil
	case b.ended:
		return errors.New("the audit log has it finished, and it is not in the catalogue")
	case b.made && !b.discarded:
		return errors.New("the audit log has it begun and tells of no end, and it is not in the catalogue")
	}
	return nil
}

// ledger is what the audit log has of all recordings.
type ledger struct {
	of    map[catalog.ID]booked
	since time.Time // of its first leaf: before there was none
	until time.Time // what a running recorder begins from then on, the rows may not have; as exact as a leaf's time
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
	l := &ledger{of: map[catalog.ID]booked{}, until: v.start.Truncate(time.Millisecond)}
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
	b.take(e, e.Hash == v.manifests[id], v.running && !e.At.Before(l.until))
	l.of[id] = b
}

// take notes one leaf; young says that the rows may be older.
func (b *booked) take(e audit.Event, fits, young bool) {
	switch e.Kind {
	case audit.Made:
		b.made, b.old = true, b.old || !young
	case audit.Finished, audit.Interrupted:
		b.ended, b.old = true, b.old || !young
		b.fits = b.fits || fits
	case audit.Discarded:
		b.discarded = true
	case audit.Erased:
		b.erased = true
	}
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
		if _, ok := v.rows[id]; ok {
			continue
		}
		if err := b.vanished(); err != nil {
			v.report(catalog.File, disk.Name(id), err)
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
