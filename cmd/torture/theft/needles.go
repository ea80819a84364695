package theft

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// needles are byte strings of eight bytes at least, found in one pass.
type needles struct {
	by    map[uint64][]needle // by the first eight bytes
	maybe []bool              // by a hash of them: most bytes begin none
}

// hash is the place of eight bytes in needles.maybe.
func hash(k uint64) uint64 { return k * 0x9e3779b97f4a7c15 >> 44 }

type needle struct {
	text []byte
	what string // told when it is found
}

func (n *needles) add(what string, text []byte) {
	if n.by == nil {
		n.by, n.maybe = map[uint64][]needle{}, make([]bool, 1<<20)
	}
	if len(text) < 8 {
		panic("a needle is too short: " + what)
	}
	k := binary.LittleEndian.Uint64(text)
	n.by[k] = append(n.by[k], needle{text, what})
	n.maybe[hash(k)] = true
}

// addForms adds a text in all the forms that a careless program leaves.
func (n *needles) addForms(text string) {
	b := []byte(text)
	n.add(text, b)
	n.add(text+" in hex", []byte(hex.EncodeToString(b)))
	n.add(text+" in upper hex", []byte(strings.ToUpper(hex.EncodeToString(b))))
	wide := make([]byte, 0, 2*len(b))
	for _, c := range b {
		wide = append(wide, c, 0)
	}
	n.add(text+" in UTF-16", wide)
	for shift := range 3 { // what is before it shifts the letters
		e := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), b...))
		from, to := (shift*8+5)/6, len(e)-1
		if to-from >= 8 {
			n.add(text+" in base64", []byte(e[from:to]))
		}
	}
}

// of are the needles for some callers.
func of(list []caller) *needles {
	n := &needles{}
	for _, c := range list {
		n.addForms(strings.TrimPrefix(c.number, "0"))
		n.addForms(c.name)
		_, host, _ := strings.Cut(c.aor, "@")
		n.addForms(host)
		if c.callID != "" {
			n.addForms(c.callID)
		}
	}
	return n
}

// in returns what is found in the data, each needle once.
func (n *needles) in(data []byte) (found []string) {
	seen := map[string]bool{}
	n.each(data, func(x needle, _ int) {
		if !seen[x.what] {
			seen[x.what] = true
			found = append(found, x.what)
		}
	})
	return found
}

func (n *needles) each(data []byte, hit func(x needle, at int)) {
	for i := 0; i+8 <= len(data) && n.by != nil; i++ {
		k := binary.LittleEndian.Uint64(data[i:])
		if !n.maybe[hash(k)] {
			continue
		}
		for _, x := range n.by[k] {
			if len(data)-i >= len(x.text) && string(data[i:i+len(x.text)]) == string(x.text) {
				hit(x, i)
			}
		}
	}
}

// inFolder looks through every file below dir and every file's name.
func (n *needles) inFolder(dir string) (found []string, files int, err error) {
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // it was there a moment ago
			}
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		for _, w := range n.in([]byte(rel)) {
			found = append(found, "the name "+rel+": "+w)
		}
		if !e.Type().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		files++
		for _, w := range n.in(data) {
			found = append(found, rel+": "+w)
		}
		return err
	})
	return found, files, err
}

// region is a piece of a process's memory.
type region struct {
	from, to int64
	name     string
}

// memoryOf reads all memory of a process that can be read, region by region.
func memoryOf(pid int, look func(r region, data []byte)) (bytes int64, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, err
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return 0, err
	}
	defer mem.Close()
	const piece, overlap = 16 << 20, 4096
	for line := range strings.Lines(string(maps)) {
		var r region
		var mode, offset, device, inode string
		n, _ := fmt.Sscanf(line, "%x-%x %s %s %s %s %s", &r.from, &r.to, &mode, &offset, &device, &inode, &r.name)
		if n < 6 || !strings.HasPrefix(mode, "rw") || strings.HasPrefix(r.name, "[v") {
			continue
		}
		for at := r.from; at < r.to; at += piece {
			size := min(r.to-at, piece+overlap)
			data := make([]byte, size)
			k, err := mem.ReadAt(data, at)
			if err != nil && !errors.Is(err, io.EOF) && k == 0 {
				continue // a guard page
			}
			bytes += int64(k)
			look(r, data[:k])
		}
	}
	return bytes, nil
}

// few words a list of findings, cut short.
func few(found []string) string {
	slices.Sort(found)
	if len(found) > 8 {
		return fmt.Sprintf("%q and %d more", found[:8], len(found)-8)
	}
	return fmt.Sprintf("%q", found)
}
