package catalog

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"siprecd/store/bolt"
	"siprecd/store/seal"
)

func openCatalog(t *testing.T) (*Catalog, string) {
	t.Helper()
	dir := t.TempDir()
	if _, err := seal.InitKeys(dir); err != nil {
		t.Fatal(err)
	}
	host, err := seal.LoadHost(dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Open(dir, host, false, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return c, dir
}

func faults(c *Catalog) (list []Finding) {
	c.Check(func(f Finding) { list = append(list, f) }, func(ID, []byte) {})
	return list
}

func TestLifeOfAnEntry(t *testing.T) {
	c, _ := openCatalog(t)
	id := ID{5, 1}
	e := Entry{ID: id, Row: []byte("row"), Details: []byte("details"), State: []byte("state"), Line: "parks", Numbers: []string{"1", "2"}}
	if err := c.Admit(e, []byte("box")); err != nil {
		t.Fatal(err)
	}
	row, err := c.Row(id)
	d, err2 := c.Details(id)
	box, err3 := c.Keybox(id)
	if err = errors.Join(err, err2, err3); err != nil || string(row) != "row" || string(d) != "details" || string(box) != "box" {
		t.Fatalf("%q %q %q %v", row, d, box, err)
	}
	over := Entry{ID: id, Row: []byte("done"), Over: true, Add: Totals{1, 100}}
	if err := c.PutLive(over); err != nil {
		t.Fatal(err)
	}
	late := Entry{ID: id, Row: []byte("late"), Add: Totals{1, 1}} // a save that lost the race
	if err := c.PutLive(late); err != nil {
		t.Fatal(err)
	}
	if row, _ := c.Row(id); string(row) != "done" {
		t.Errorf("row %q", row)
	}
	if tot, err := c.Totals(); err != nil || tot != (Totals{1, 100}) {
		t.Errorf("totals %+v, %v", tot, err)
	}
	for _, sel := range []Selection{{}, {Line: "parks"}, {Number: "2"}} {
		if items, err := c.Page(sel, ID{0xff}, 10); err != nil || len(items) != 1 || items[0].ID != id {
			t.Errorf("%+v: %v, %v", sel, items, err)
		}
	}
	if items, _ := c.Page(Selection{Live: true}, ID{0xff}, 10); len(items) != 0 {
		t.Errorf("live: %v", items)
	}
	if list := faults(c); len(list) != 0 {
		t.Errorf("findings %v", list)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestMoved moves sealed rows and index entries: every one is found.
func TestMoved(t *testing.T) {
	for _, bucket := range []string{rows, details, live, lines, numbers} {
		t.Run(bucket, func(t *testing.T) {
			c, _ := openCatalog(t)
			a := Entry{ID: ID{1}, Row: []byte("a"), Details: []byte("a"), State: []byte("a"), Line: "a", Numbers: []string{"a"}}
			if err := c.Put(a); err != nil {
				t.Fatal(err)
			}
			err := c.rows.Update(func(tx *bolt.Tx) error {
				b := tx.Bucket([]byte(bucket))
				k, v := b.Cursor().First()
				other := append([]byte(nil), k...)
				other[len(other)-1] ^= 1
				return b.Put(other, append([]byte(nil), v...))
			})
			if err != nil {
				t.Fatal(err)
			}
			list := faults(c)
			if len(list) != 1 || list[0].ID != (ID{1, 15: 1}) {
				t.Errorf("findings %v", list)
			}
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestStrayKeyboxes drops what one crash can leave, and keeps everything when
// the keyboxes without a row speak of an older catalogue.
func TestStrayKeyboxes(t *testing.T) {
	for _, c := range []struct {
		name   string
		strays []ID
		known  bool
		want   bool // it stays
	}{
		{"one", []ID{{3: 1, 9: 1}}, false, false},
		{"known", []ID{{3: 1, 9: 1}}, true, true},
		{"in one moment", []ID{{3: 1, 9: 1}, {3: 1, 4: 1}}, false, false},
		{"over a minute", []ID{{3: 1, 9: 1}, {3: 2, 9: 1}}, false, true},
		{"many", manyIDs(maxStrays + 1), false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, dir := openCatalog(t)
			if err := k.Admit(Entry{ID: ID{3: 1}, Row: []byte("r")}, []byte("box")); err != nil {
				t.Fatal(err)
			}
			for _, id := range c.strays {
				if err := k.keys.Update(func(tx *bolt.Tx) error { return tx.Bucket([]byte(boxes)).Put(id[:], []byte("x")) }); err != nil {
					t.Fatal(err)
				}
			}
			kept, err := k.DropStrayKeyboxes(func(id ID) bool { return c.known })
			if err != nil || (kept > 0) != c.want {
				t.Fatal(kept, err)
			}
			for _, id := range c.strays {
				if _, err := k.Keybox(id); (err == nil) != c.want {
					t.Errorf("%x: %v", id, err)
				}
			}
			if _, err := k.Keybox(ID{3: 1}); err != nil {
				t.Error(err)
			}
			if err := k.Close(); err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(filepath.Join(dir, KeysFile)); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("keys.db: %v, %v", info.Mode(), err)
			}
		})
	}
}

func manyIDs(n int) (list []ID) {
	for i := range n {
		list = append(list, ID{3: 1, 8: 1, 9: byte(i)})
	}
	return list
}

// TestIncomplete takes one of the files away, or both, and wants no new one.
func TestIncomplete(t *testing.T) {
	for _, filled := range []bool{true, false} {
		for _, gone := range [][]string{{File}, {KeysFile}, {File, KeysFile}} {
			c, dir := openCatalog(t)
			if filled {
				if err := c.Admit(Entry{ID: ID{1}, Row: []byte("r")}, []byte("box")); err != nil {
					t.Fatal(err)
				}
				if err := os.MkdirAll(filepath.Join(dir, "recordings", "2026"), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			for _, name := range gone {
				if err := os.Remove(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			host, err := seal.LoadHost(dir)
			if err != nil {
				t.Fatal(err)
			}
			c, err = Open(dir, host, false, slog.New(slog.DiscardHandler))
			if filled {
				if !errors.Is(err, ErrIncomplete) || !strings.Contains(err.Error(), gone[0]) {
					t.Errorf("without %v: %v", gone, err)
				}
				if _, err := os.Stat(filepath.Join(dir, gone[0])); err == nil {
					t.Errorf("%s was made anew", gone[0])
				}
			} else if err != nil { // a first start that was cut short
				t.Errorf("empty, without %v: %v", gone, err)
			}
			if err == nil {
				_ = c.Close()
			}
		}
	}
}
