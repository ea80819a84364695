// Package check verifies a recordings folder from outside the store: it opens
// what it finds for itself, read-only, and takes nothing for granted.
//
//	keys ► stamp ► catalogue and keyboxes ► journal ► every recording's folder
//	     ► what should be there and is not, what is there and should not be
//	     ► the audit log
package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"siprecd/store/bolt"
	"siprecd/store/catalog"
	"siprecd/store/disk"
	"siprecd/store/journal"
	"siprecd/store/kept"
	"siprecd/store/remote"
	"siprecd/store/seal"
)

// Finding is one fault that Verify found.
type Finding struct {
	File      string // path below the store's folder
	Recording string // id; "" when it is not one recording's
	Err       error
}

// String is the finding on one line.
func (f Finding) String() string {
	if f.Recording == "" {
		return fmt.Sprintf("%s: %v", f.File, f.Err)
	}
	return fmt.Sprintf("%s: recording %s: %v", f.File, f.Recording, f.Err)
}

// Verify checks every byte that can be checked without a holder's identity and
// calls found for each fault: key files, databases and every sealed piece in
// them, journal frames, and of each finished recording the manifest's
// signature and all that it names; files missing and files too many. It never
// changes anything. While another process records into the folder, the
// databases are checked only as far as that process serves them.
//
// The error says that Verify itself could not do its work; faults are findings.
func Verify(ctx context.Context, dir string, log *slog.Logger, found func(Finding)) error {
	if log == nil {
		log = slog.Default()
	}
	v := &verifier{dir: dir, found: found, log: log, rows: map[catalog.ID]string{}, boxes: map[catalog.ID]string{}, seen: map[catalog.ID]bool{},
		start: time.Now(), manifests: map[catalog.ID]string{}, erasing: map[catalog.ID]bool{}}
	seal.CheckKeys(dir, func(file string, err error) { v.report("keys/"+file, "", err) })
	err := v.openKeys()
	if err == nil {
		err = v.databases()
	} else if errors.Is(err, seal.ErrDamaged) {
		err = nil // reported; nothing can be opened without the host key
	}
	if err == nil && v.signer != nil {
		err = errors.Join(v.recordings(ctx), v.audit())
	}
	if err == nil && v.signer != nil && !v.running {
		if r, err2 := remote.Dial(dir); err2 == nil {
			err = errors.Join(errors.New("a recorder has started on the folder meanwhile: verify again"), r.Close())
		}
	}
	if err = errors.Join(err, v.close()); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	return nil
}

func (v *verifier) openKeys() (err error) {
	if v.root, err = os.OpenRoot(v.dir); err != nil {
		return err
	}
	if v.host, err = seal.LoadHost(v.dir); err != nil {
		return err
	}
	if v.auditor, err = v.host.AuditSigner(); err != nil {
		return err
	}
	v.signer, err = v.host.Signer()
	return err
}

func (v *verifier) close() (err error) {
	if v.shelf != nil {
		err = v.shelf.Close()
	}
	if v.root != nil {
		err = errors.Join(err, v.root.Close())
	}
	return err
}

// closingShelf is the catalogue, or the process that has it open.
type closingShelf interface {
	remote.Shelf
	Close() error
}

// maxErasing is how long an erasure may take in a recorder that runs.
const maxErasing = 10 * time.Minute

type verifier struct {
	dir     string
	root    *os.Root
	host    *seal.Host
	signer  *seal.Signer
	auditor *seal.Signer
	shelf   closingShelf // nil: the databases cannot be opened
	log     *slog.Logger
	found   func(Finding)
	running bool // another process has the databases
	partial bool // the catalogue could not be read to its end
	rows    map[catalog.ID]string
	boxes   map[catalog.ID]string // SHA-256 of keyboxes; unused when running
	seen    map[catalog.ID]bool   // recordings with a folder

	start     time.Time
	manifests map[catalog.ID]string // SHA-256 of those that are whole
	erasing   map[catalog.ID]bool   // erasures that are not finished
}

func (v *verifier) report(file, recording string, err error) {
	v.found(Finding{file, recording, err})
}

// databases checks stamp, catalogue, keyboxes and journal.
func (v *verifier) databases() error {
	if r, err := remote.Dial(v.dir); err == nil {
		v.running, v.shelf = true, r
		for _, name := range []string{catalog.File, catalog.KeysFile} {
			if err := r.Intact(name); err != nil {
				v.report(name, "", err)
			}
		}
		v.readRows()
		return nil
	}
	v.checkStamp()
	c, err := catalog.Open(v.dir, v.host, true, v.log)
	switch {
	case errors.Is(err, catalog.ErrBusy):
		return fmt.Errorf("%w: %w", disk.ErrLocked, remote.ErrUnanswered)
	case err != nil:
		v.partial = true
		v.report(databaseIn(err), "", err)
	default:
		v.shelf = c
		c.Check(func(f catalog.Finding) {
			v.report(f.File, recordingName(f.ID), f.Err)
			v.erasing[f.ID] = v.erasing[f.ID] || errors.Is(f.Err, catalog.ErrUnderWay)
		}, func(id catalog.ID, box []byte) { v.boxes[id] = disk.Hash(box) })
		v.readRows()
		v.checkLive(c)
	}
	v.checkJournal()
	return nil
}

// checkLive checks the segments of live recordings that are sealed already:
// the journal has let go of them.
func (v *verifier) checkLive(c *catalog.Catalog) {
	err := c.Live(func(id catalog.ID, text []byte, err error) {
		var state struct{ Segments []kept.ManifestSegment }
		if err == nil {
			err = json.Unmarshal(text, &state)
		}
		if err != nil {
			return // Check has said it
		}
		for _, g := range state.Segments {
			v.checkFile(disk.FolderOf(id), disk.Name(id), kept.ManifestFileInfo{File: g.File, Bytes: g.Bytes, SHA256: g.SHA256})
		}
	})
	if err != nil {
		v.report(catalog.File, "", err)
	}
}

// databaseIn names the file that an error of opening is about.
func databaseIn(err error) string {
	if strings.Contains(err.Error(), catalog.KeysFile) {
		return catalog.KeysFile
	}
	return catalog.File
}

func recordingName(id catalog.ID) string {
	if id == (catalog.ID{}) {
		return ""
	}
	return disk.Name(id)
}

func (v *verifier) checkStamp() {
	st, err := readStamp(v.root, v.signer)
	if err != nil {
		v.report(stampFile, "", err)
	}
	if st == nil {
		return
	}
	for name, want := range st.Files {
		have, _, err := disk.HashFile(v.root, name)
		if err == nil && have != want {
			err = fmt.Errorf("%w: changed since the store was closed", seal.ErrDamaged)
		}
		if err != nil {
			v.report(name, "", err)
		}
	}
}

func (v *verifier) readRows() {
	before := catalog.ID{}
	for i := range before {
		before[i] = 0xff
	}
	for {
		items, err := v.shelf.Page(catalog.Selection{}, before, catalog.PageSize)
		if err != nil {
			v.partial = true
			v.report(catalog.File, "", err)
			return
		}
		for _, i := range items {
			var row struct {
				State  string
				Erased time.Time
			}
			if i.Err == nil {
				i.Err = json.Unmarshal(i.Row, &row)
			}
			if i.Err != nil && v.running { // else Check has said it
				v.report(catalog.File, disk.Name(i.ID), i.Err)
			}
			v.rows[i.ID] = row.State
			if v.running && v.start.Sub(row.Erased) < maxErasing {
				v.erasing[i.ID] = true
			}
			before = i.ID
		}
		if len(items) < catalog.PageSize {
			return
		}
	}
}

func (v *verifier) checkJournal() {
	names, err := fs.ReadDir(v.root.FS(), "journal")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		v.report("journal", "", err)
	}
	if len(v.rows) > 0 || len(names) > 0 { // else nothing was ever recorded here
		journal.CheckList(filepath.Join(v.dir, "journal"), v.host, func(file string, err error) {
			v.report(path.Join("journal", file), "", err)
		})
	}
	for _, e := range names {
		name := path.Join("journal", e.Name())
		if e.Name() == journal.ListFile {
			continue
		}
		if !strings.HasPrefix(e.Name(), "journal-") || !strings.HasSuffix(e.Name(), ".db") {
			v.report(name, "", errors.New("put aside as damaged, or does not belong here"))
			continue
		}
		full := filepath.Join(v.dir, "journal", e.Name())
		journal.Check(full, v.host, bolt.Options{Logger: v.log}, func(id [16]byte, err error) {
			v.report(name, recordingName(id), err)
		})
	}
}

// recordings checks every folder below recordings/ and then what is missing.
func (v *verifier) recordings(ctx context.Context) error {
	err := fs.WalkDir(v.root.FS(), "recordings", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				v.report(name, "", err)
			}
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		depth := strings.Count(name, "/")
		if depth < 4 {
			if !e.IsDir() {
				v.report(name, "", errors.New("does not belong here"))
			}
			return nil
		}
		v.checkFolder(name)
		return fs.SkipDir
	})
	if err != nil {
		return err
	}
	v.absent()
	return nil
}

// absent reports what should be there and is not.
func (v *verifier) absent() {
	for id, state := range v.rows {
		if state == kept.Finished && !v.seen[id] {
			v.report(disk.FolderOf(id), disk.Name(id), errors.New("the recording's folder is missing"))
		}
	}
	if v.running || v.partial {
		return // keyboxes or rows are not all known
	}
	for id, state := range v.rows {
		_, ok := v.boxes[id]
		if state == kept.Erased {
			if ok {
				v.report(catalog.KeysFile, disk.Name(id), errors.New("the recording was erased, and its keybox is there"))
			}
		} else if !ok {
			v.report(catalog.KeysFile, disk.Name(id), errors.New("the keybox is missing"))
		}
	}
	for id := range v.boxes {
		if _, ok := v.rows[id]; !ok {
			v.report(catalog.KeysFile, disk.Name(id), errors.New("a keybox without a recording in the catalogue"))
		}
	}
}

// found is a recording's folder as it was found.
type found struct {
	id, dir         string
	root            *os.Root
	text, signature []byte
	manifest        kept.Manifest
}

func (v *verifier) checkFolder(name string) {
	id, err := disk.ParseName(path.Base(name))
	if err != nil || disk.FolderOf(id) != name {
		v.report(name, "", errors.New("does not belong here"))
		return
	}
	state, known := v.rows[id]
	if !known && !v.partial {
		v.report(name, disk.Name(id), errors.New("not in the catalogue"))
	}
	v.seen[id] = true
	if state == kept.Erased {
		v.report(name, disk.Name(id), errors.New("the recording was erased, and its folder is there"))
	}
	if state == kept.Live || state == kept.Erased {
		return
	}
	x := &found{id: disk.Name(id), root: v.root, dir: name}
	if v.checkManifest(x) {
		v.manifests[id] = disk.Hash(x.text)
		v.checkKeybox(id, x.manifest.Keybox)
		v.checkFiles(x)
	}
}

// checkManifest says whether the manifest can be used.
func (v *verifier) checkManifest(x *found) bool {
	root, dir := x.root, x.dir
	var err error
	if x.text, err = root.ReadFile(path.Join(dir, kept.ManifestFile)); err != nil {
		v.report(path.Join(dir, kept.ManifestFile), x.id, err)
		return false
	}
	if x.signature, err = root.ReadFile(path.Join(dir, kept.SignatureFile)); err != nil {
		v.report(path.Join(dir, kept.SignatureFile), x.id, err)
		return false
	}
	if !seal.Verify(v.signer.Public(), x.text, x.signature) {
		err := fmt.Errorf("%w: manifest and signature do not fit", seal.ErrDamaged)
		v.report(path.Join(dir, kept.ManifestFile), x.id, err)
		v.report(path.Join(dir, kept.SignatureFile), x.id, err)
		return false
	}
	if err := json.Unmarshal(x.text, &x.manifest); err != nil || x.manifest.ID != x.id {
		v.report(path.Join(dir, kept.ManifestFile), x.id, fmt.Errorf("%w: not this recording's manifest", seal.ErrDamaged))
		return false
	}
	return true
}

func (v *verifier) checkKeybox(id catalog.ID, want string) {
	have, ok := v.boxes[id]
	if v.running {
		box, err := v.shelf.Keybox(id)
		if err != nil {
			v.report(catalog.KeysFile, disk.Name(id), err)
			return
		}
		have, ok = disk.Hash(box), true
	}
	if ok && have != want {
		v.report(catalog.KeysFile, disk.Name(id), fmt.Errorf("%w: not the keybox that the manifest names", seal.ErrDamaged))
	}
}

// checkFile checks one file against what is known of it.
func (v *verifier) checkFile(dir, id string, f kept.ManifestFileInfo) {
	name := path.Join(dir, path.Base(f.File))
	sum, size, err := disk.HashFile(v.root, name)
	if err == nil && (sum != f.SHA256 || size != f.Bytes) {
		err = fmt.Errorf("%w: %d bytes, not the %d that were written", seal.ErrDamaged, size, f.Bytes)
	}
	if err != nil {
		v.report(name, id, err)
	}
}

// checkFiles checks what the manifest names, and that nothing else is there.
func (v *verifier) checkFiles(x *found) {
	files := map[string]kept.ManifestFileInfo{x.manifest.Details.File: x.manifest.Details}
	for _, g := range x.manifest.Segments {
		files[g.File] = kept.ManifestFileInfo{File: g.File, Bytes: g.Bytes, SHA256: g.SHA256}
	}
	for _, f := range files {
		v.checkFile(x.dir, x.id, f)
	}
	entries, err := fs.ReadDir(x.root.FS(), x.dir)
	if err != nil {
		v.report(x.dir, x.id, err)
	}
	for _, e := range entries {
		if _, ok := files[e.Name()]; !ok && e.Name() != kept.ManifestFile && e.Name() != kept.SignatureFile {
			v.report(path.Join(x.dir, e.Name()), x.id, errors.New("not in the manifest"))
		}
	}
}
