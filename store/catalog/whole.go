package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"siprecd/store/bolt"
)

// ErrIncomplete is returned (wrapped) when a file of the catalogue is missing
// that must be there.
var ErrIncomplete = errors.New("a database is missing")

// complete refuses to make a database in the place of one that was there. That
// the other one is empty is no reason: a first start may have been cut short.
func complete(dir string, log *slog.Logger) error {
	var missing, there []string
	for _, name := range []string{File, KeysFile} {
		_, err := os.Stat(filepath.Join(dir, name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			missing = append(missing, name)
		case err != nil:
			return err
		case !empty(filepath.Join(dir, name), log):
			there = append(there, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	for folder, suffix := range map[string]string{"recordings": "", "journal": ".db"} {
		entries, err := os.ReadDir(filepath.Join(dir, folder))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return strings.HasSuffix(e.Name(), suffix) }) {
			there = append(there, folder+"/")
		}
	}
	if len(there) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s is not in %s, but what belongs to it is (%s): put back the file, or the whole folder from a backup; "+
		"only to give up what was recorded, move that away too",
		ErrIncomplete, missing[0], dir, strings.Join(there, ", "))
}

// empty says that a database can be read and holds nothing.
func empty(path string, log *slog.Logger) bool {
	db, err := bolt.Open(path, bolt.Options{ReadOnly: true, Logger: log})
	if err != nil {
		return false
	}
	n := 0
	err = db.View(func(tx *bolt.Tx) error {
		for _, name := range []string{rows, live, boxes} {
			if b := tx.Bucket([]byte(name)); b != nil {
				if k, _ := b.Cursor().First(); k != nil {
					n++
				}
			}
		}
		return nil
	})
	return errors.Join(err, db.Close()) == nil && n == 0
}

// Most keyboxes that one crash can leave without a row: as many as calls are
// admitted in one moment.
const (
	maxStrays   = 64
	strayWithin = 10 * time.Second
)

// DropStrayKeyboxes deletes keyboxes whose admission was cut off by a crash, so
// that there is no row for them. Whoever has a keybox without a row in any other
// way has an older catalogue; then keeping is right, and it keeps them all: if
// known tells of anything recorded for one, or if they are many, or if they
// were not made in the same moment, at the very end. It returns how many
// keyboxes without a row it has kept of those that it looked at.
func (c *Catalog) DropStrayKeyboxes(known func(ID) bool) (kept int, err error) {
	var newest ID
	err = c.rows.View(func(tx *bolt.Tx) error {
		k, _ := tx.Bucket([]byte(rows)).Cursor().Last()
		copy(newest[:], k)
		return nil
	})
	if err != nil {
		return 0, err
	}
	strays, err := c.withoutRow(newest)
	if err != nil || len(strays) == 0 {
		return 0, err
	}
	if len(strays) > maxStrays || at(strays[0])-at(strays[len(strays)-1]) > strayWithin {
		return len(strays), nil
	}
	for _, id := range strays {
		if known(id) {
			return len(strays), nil
		}
	}
	for _, id := range strays {
		if err := c.DropKeybox(id); err != nil {
			return len(strays), err
		}
	}
	return 0, nil
}

// withoutRow lists the keyboxes without a row, newest first, from a minute
// before the newest row on; it ends when there are more than a crash can leave.
func (c *Catalog) withoutRow(newest ID) (strays []ID, err error) {
	var boxed []ID
	err = c.keys.View(func(tx *bolt.Tx) error {
		cur := tx.Bucket([]byte(boxes)).Cursor()
		for k, _ := cur.Last(); k != nil && len(boxed) < 4096; k, _ = cur.Prev() {
			if len(k) != len(newest) || at(newest)-at(ID(k)) > time.Minute {
				break
			}
			boxed = append(boxed, ID(bytes.Clone(k)))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = c.rows.View(func(tx *bolt.Tx) error {
		for _, id := range boxed {
			if tx.Bucket([]byte(rows)).Get(id[:]) == nil && len(strays) <= maxStrays {
				strays = append(strays, id)
			}
		}
		return nil
	})
	return strays, err
}

// at is the time of an id since 1970.
func at(id ID) time.Duration {
	var ms int64
	for _, b := range id[:6] {
		ms = ms<<8 | int64(b)
	}
	return time.Duration(ms) * time.Millisecond
}

// advise says what to do about a database that cannot be read. To go on without
// it would be to forget recordings and keys in silence.
func advise(err error) error {
	if !errors.Is(err, bolt.ErrDamaged) {
		return err
	}
	return fmt.Errorf("%w: put back the file, or the whole folder from a backup; siprecd verify tells what is damaged; "+
		"to record meanwhile, serve from another folder (store.dir)", err)
}
