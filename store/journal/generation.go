package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"time"

	"siprecd/store/bolt"
	"siprecd/store/seal"
)

const (
	metaBucket = "meta"
	saltKey    = "salt"
	frameKey   = "f"
)

// generation is one journal file.
type generation struct {
	path   string
	number int
	db     *bolt.DB
	box    *seal.Box
	made   time.Time
	open   map[Segment]struct{}  // segments with frames here that are not released; guarded by Journal.mu
	held   map[[16]byte]struct{} // recordings that ever had frames here; guarded by Journal.mu
	ticks  int                   // commits written in this run
	failed bool                  // has failed a write: never written again
}

func (g *generation) age() time.Duration { return time.Since(g.made) }

func (g *generation) put(tick uint64, value []byte) error {
	return g.db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket(binary.BigEndian.AppendUint64(nil, tick))
		if err != nil {
			return err
		}
		return b.Put([]byte(frameKey), value)
	})
}

// writable returns the generation to write to, beginning a new one when the
// current one is old or has failed.
func (j *Journal) writable() (*generation, error) {
	if g := j.current; g != nil && !g.failed && g.age() < j.options.Generation {
		return g, nil
	}
	j.number++
	g := &generation{number: j.number, path: generationName(j.options.Dir, j.number), made: time.Now(), open: map[Segment]struct{}{}, held: map[[16]byte]struct{}{}}
	err := j.begin(g)
	if err == nil {
		if err = j.list(append(numbersOf(j.files), g.number)); err != nil {
			err = errors.Join(err, g.db.Close(), removeIfThere(g.path))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("begin %s: %w", filepath.Base(g.path), err)
	}
	j.current = g
	j.mu.Lock()
	j.files = append(j.files, g)
	j.mu.Unlock()
	return g, nil
}

func (j *Journal) begin(g *generation) error {
	salt := seal.Salt()
	var err error
	if g.box, err = j.options.Host.Box("journal", salt); err != nil {
		return err
	}
	o := bolt.Options{NoRotate: true, Buckets: []string{metaBucket}, Logger: j.options.Logger}
	o.Init = func(tx *bolt.Tx) error { return tx.Bucket([]byte(metaBucket)).Put([]byte(saltKey), salt) }
	if g.db, err = bolt.Open(g.path, o); err != nil {
		return errors.Join(err, removeIfThere(g.path))
	}
	return nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

// load reads the generations that former runs left behind. One that cannot be
// read is put aside under another name and said loudly; the rest is used.
func (j *Journal) load() error {
	names, err := filepath.Glob(filepath.Join(j.options.Dir, "*journal-*.db*"))
	if err != nil {
		return err
	}
	for _, name := range names {
		var n int
		if _, err := fmt.Sscanf(filepath.Base(name), "journal-%d.db", &n); err != nil {
			continue // put aside earlier
		}
		j.number = max(j.number, n)
		if name != generationName(j.options.Dir, n) { // an unfinished beginning
			if err := os.Remove(name); err != nil {
				return err
			}
			continue
		}
		g := &generation{path: name, number: n, made: time.Now(), open: map[Segment]struct{}{}, held: map[[16]byte]struct{}{}, failed: true}
		err := j.scan(g)
		if err != nil && !errors.Is(err, bolt.ErrDamaged) {
			return err // not the file's fault: it must not be put aside
		}
		if err != nil {
			aside := filepath.Join(j.options.Dir, "damaged-"+filepath.Base(name))
			j.log.Error("journal file is damaged and put aside", "file", filepath.Base(name), "err", err)
			if err := os.Rename(name, aside); err != nil {
				return err
			}
			continue
		}
		j.files = append(j.files, g)
	}
	sort.Slice(j.files, func(a, b int) bool { return j.files[a].number < j.files[b].number })
	return nil
}

// scan indexes the entries of an old generation without opening them.
func (j *Journal) scan(g *generation) error {
	found := map[Segment][]ref{}
	var err error
	if g.db, err = bolt.Open(g.path, bolt.Options{ReadOnly: true, NoRotate: true, Logger: j.options.Logger}); err != nil {
		return err
	}
	err = g.db.View(func(tx *bolt.Tx) error {
		if g.box, err = openBox(tx, j.options.Host); err != nil {
			return err
		}
		return eachTick(tx, func(tick uint64, value []byte) error {
			return eachEntry(value, func(e entry) {
				r := ref{g, tick, uint32(e.offset), uint32(e.length), e.first}
				found[e.segment] = append(found[e.segment], r)
			})
		})
	})
	if err != nil && len(found) == 0 {
		return errors.Join(err, g.db.Close())
	}
	if err != nil {
		j.log.Error("journal file is damaged; what can be read is used", "file", filepath.Base(g.path), "err", err)
	}
	for s, refs := range found {
		j.index[s] = append(j.index[s], refs...)
		g.hold(s)
	}
	return nil
}

func openBox(tx *bolt.Tx, host *seal.Host) (*seal.Box, error) {
	b := tx.Bucket([]byte(metaBucket))
	if b == nil {
		return nil, fmt.Errorf("%w: no meta bucket", bolt.ErrDamaged)
	}
	salt := b.Get([]byte(saltKey))
	if len(salt) != 32 {
		return nil, fmt.Errorf("%w: no salt", bolt.ErrDamaged)
	}
	return host.Box("journal", append([]byte(nil), salt...))
}

func eachTick(tx *bolt.Tx, fn func(tick uint64, value []byte) error) error {
	c := tx.Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		if len(k) != 8 {
			continue // meta
		}
		b := tx.Bucket(k)
		if b == nil {
			return fmt.Errorf("%w: tick %x is not a bucket", bolt.ErrDamaged, k)
		}
		if err := fn(binary.BigEndian.Uint64(k), b.Get([]byte(frameKey))); err != nil {
			return err
		}
	}
	return nil
}

// entry is one entry of a tick's value as its header says.
type entry struct {
	segment        Segment
	first          uint32
	offset, length int // of the sealed bytes
}

// eachEntry reads the headers of a tick's value.
func eachEntry(value []byte, fn func(entry)) error {
	for at := 0; at < len(value); {
		if len(value)-at < headerSize {
			return fmt.Errorf("%w: cut entry", bolt.ErrDamaged)
		}
		h := value[at : at+headerSize]
		e := entry{first: binary.BigEndian.Uint32(h[20:]), offset: at + headerSize, length: int(binary.BigEndian.Uint32(h[24:]))}
		copy(e.segment.ID[:], h)
		e.segment.Seq = binary.BigEndian.Uint32(h[16:])
		if e.length > len(value)-e.offset {
			return fmt.Errorf("%w: entry longer than its tick", bolt.ErrDamaged)
		}
		fn(e)
		at = e.offset + e.length
	}
	return nil
}
