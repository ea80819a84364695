package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"path/filepath"
	"strings"

	"siprecd/store/bolt"
	"siprecd/store/catalog"
	"siprecd/store/journal"
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
	v := &verifier{found: found, log: log, rows: map[catalog.ID]State{}, boxes: map[catalog.ID]string{}, seen: map[catalog.ID]bool{}}
	v.store = &Store{options: Options{Dir: dir, Logger: log, ReadOnly: true}.withDefaults(), log: log}
	seal.CheckKeys(dir, func(file string, err error) { v.report("keys/"+file, "", err) })
	if err := v.store.openKeys(); err != nil {
		err = errors.Join(err, v.store.release())
		if errors.Is(err, ErrDamaged) {
			return nil // reported; nothing can be opened without the host key
		}
		return fmt.Errorf("verify: %w", err)
	}
	err := v.databases()
	if err == nil {
		err = v.recordings(ctx)
	}
	if err = errors.Join(err, v.store.release()); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	return nil
}

type verifier struct {
	store   *Store
	log     *slog.Logger
	found   func(Finding)
	running bool // another process has the databases
	partial bool // the catalogue could not be read to its end
	rows    map[catalog.ID]State
	boxes   map[catalog.ID]string // SHA-256 of keyboxes; unused when running
	seen    map[catalog.ID]bool   // recordings with a folder
}

func (v *verifier) report(file, recording string, err error) {
	v.found(Finding{file, recording, err})
}

// databases checks stamp, catalogue, keyboxes and journal.
func (v *verifier) databases() error {
	s := v.store
	if r, err := dial(s.options.Dir); err == nil {
		v.running, s.shelf = true, r
		v.readRows()
		return nil
	}
	v.checkStamp()
	var err error
	s.catalog, err = catalog.Open(s.options.Dir, s.host, true, v.log)
	switch {
	case errors.Is(err, catalog.ErrBusy):
		return fmt.Errorf("%w: %w", ErrLocked, err)
	case err != nil:
		v.partial = true
		v.report(databaseIn(err), "", err)
	default:
		s.shelf = s.catalog
		s.catalog.Check(func(f catalog.Finding) {
			v.report(f.File, recordingName(f.ID), f.Err)
		}, func(id catalog.ID, box []byte) { v.boxes[id] = hashBytes(box) })
		v.readRows()
	}
	v.checkJournal()
	return nil
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
	return idString(id)
}

func (v *verifier) checkStamp() {
	st, err := v.store.readStamp()
	if err != nil {
		v.report(stampFile, "", err)
	}
	if st == nil {
		return
	}
	for name, want := range st.Files {
		have, _, err := hashFile(v.store.root, name)
		if err == nil && have != want {
			err = fmt.Errorf("%w: changed since the store was closed", ErrDamaged)
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
		items, err := v.store.shelf.Page(catalog.Selection{}, before, pageSize)
		if err != nil {
			v.partial = true
			v.report(catalog.File, "", err)
			return
		}
		for _, i := range items {
			var row Row
			if i.Err == nil {
				i.Err = json.Unmarshal(i.Row, &row)
			}
			if i.Err != nil && v.running { // else Check has said it
				v.report(catalog.File, idString(i.ID), i.Err)
			}
			v.rows[i.ID] = row.State
			before = i.ID
		}
		if len(items) < pageSize {
			return
		}
	}
}

func (v *verifier) checkJournal() {
	names, err := fs.ReadDir(v.store.root.FS(), "journal")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		v.report("journal", "", err)
	}
	for _, e := range names {
		name := path.Join("journal", e.Name())
		if !strings.HasPrefix(e.Name(), "journal-") || !strings.HasSuffix(e.Name(), ".db") {
			v.report(name, "", errors.New("put aside as damaged, or does not belong here"))
			continue
		}
		full := filepath.Join(v.store.options.Dir, "journal", e.Name())
		journal.Check(full, v.store.host, bolt.Options{Logger: v.log}, func(id [16]byte, err error) {
			v.report(name, recordingName(id), err)
		})
	}
}

// recordings checks every folder below recordings/ and then what is missing.
func (v *verifier) recordings(ctx context.Context) error {
	err := fs.WalkDir(v.store.root.FS(), "recordings", func(name string, e fs.DirEntry, err error) error {
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
	for id, state := range v.rows {
		if state == Finished && !v.seen[id] {
			v.report(folderOf(id), idString(id), errors.New("the recording's folder is missing"))
		}
		if _, ok := v.boxes[id]; !ok && !v.running && !v.partial {
			v.report(catalog.KeysFile, idString(id), errors.New("the keybox is missing"))
		}
	}
	for id := range v.boxes {
		if _, ok := v.rows[id]; !ok && !v.partial {
			v.report(catalog.KeysFile, idString(id), errors.New("a keybox without a recording in the catalogue"))
		}
	}
	return nil
}

func (v *verifier) checkFolder(name string) {
	id, err := parseID(path.Base(name))
	if err != nil || folderOf(id) != name {
		v.report(name, "", errors.New("does not belong here"))
		return
	}
	state, known := v.rows[id]
	if !known && !v.partial {
		v.report(name, idString(id), errors.New("not in the catalogue"))
	}
	v.seen[id] = true
	if state == Live {
		return
	}
	x := &Sealed{ID: idString(id), folder: folder{v.store.root, name}}
	if v.checkManifest(x) {
		v.checkKeybox(id, x.Manifest.Keybox)
		v.checkFiles(x)
	}
}

// checkManifest says whether the manifest can be used.
func (v *verifier) checkManifest(x *Sealed) bool {
	root, dir := x.folder.root, x.folder.path
	var err error
	if x.ManifestBytes, err = root.ReadFile(path.Join(dir, ManifestFile)); err != nil {
		v.report(path.Join(dir, ManifestFile), x.ID, err)
		return false
	}
	if x.Signature, err = root.ReadFile(path.Join(dir, SignatureFile)); err != nil {
		v.report(path.Join(dir, SignatureFile), x.ID, err)
		return false
	}
	if !seal.Verify(v.store.signer.Public(), x.ManifestBytes, x.Signature) {
		err := fmt.Errorf("%w: manifest and signature do not fit", ErrDamaged)
		v.report(path.Join(dir, ManifestFile), x.ID, err)
		v.report(path.Join(dir, SignatureFile), x.ID, err)
		return false
	}
	if err := json.Unmarshal(x.ManifestBytes, &x.Manifest); err != nil || x.Manifest.ID != x.ID {
		v.report(path.Join(dir, ManifestFile), x.ID, fmt.Errorf("%w: not this recording's manifest", ErrDamaged))
		return false
	}
	return true
}

func (v *verifier) checkKeybox(id catalog.ID, want string) {
	have, ok := v.boxes[id]
	if v.running {
		box, err := v.store.shelf.Keybox(id)
		if err != nil {
			v.report(catalog.KeysFile, idString(id), err)
			return
		}
		have, ok = hashBytes(box), true
	}
	if ok && have != want {
		v.report(catalog.KeysFile, idString(id), fmt.Errorf("%w: not the keybox that the manifest names", ErrDamaged))
	}
}

// checkFiles checks what the manifest names, and that nothing else is there.
func (v *verifier) checkFiles(x *Sealed) {
	files := map[string]ManifestFileInfo{x.Manifest.Details.File: x.Manifest.Details}
	for _, g := range x.Manifest.Segments {
		files[g.File] = ManifestFileInfo{g.File, g.Bytes, g.SHA256}
	}
	for _, f := range files {
		name := path.Join(x.folder.path, path.Base(f.File))
		sum, size, err := hashFile(x.folder.root, name)
		if err == nil && (sum != f.SHA256 || size != f.Bytes) {
			err = fmt.Errorf("%w: %d bytes, not the %d that the manifest names", ErrDamaged, size, f.Bytes)
		}
		if err != nil {
			v.report(name, x.ID, err)
		}
	}
	entries, err := fs.ReadDir(x.folder.root.FS(), x.folder.path)
	if err != nil {
		v.report(x.folder.path, x.ID, err)
	}
	for _, e := range entries {
		if _, ok := files[e.Name()]; !ok && e.Name() != ManifestFile && e.Name() != SignatureFile {
			v.report(path.Join(x.folder.path, e.Name()), x.ID, errors.New("not in the manifest"))
		}
	}
}
