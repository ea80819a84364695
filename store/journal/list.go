package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"siprecd/store/disk"
	"siprecd/store/seal"
)

// ListFile names, sealed, the journal files that must be there. It is written
// before a file gets its first frame, and before one is deleted; so a file that
// is named and not there was taken away by somebody else.
const ListFile = "generations"

func listBox(host *seal.Host) (*seal.Box, error) { return host.Box("journal list", nil) }

// list writes the list when it is no longer true.
func (j *Journal) list(numbers []int) error {
	if j.listed != nil && slices.Equal(j.listed, numbers) {
		return nil
	}
	plain, err := json.Marshal(numbers)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(j.options.Dir)
	if err != nil {
		return err
	}
	f := disk.Folder{Root: root, Path: "."}
	_, err = f.Put(ListFile, j.box.Seal(nil, plain, []byte(ListFile)))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, root.Close()); err != nil {
		j.listed = nil // unknown: the next try writes it
		return fmt.Errorf("write %s: %w", ListFile, err)
	}
	j.listed = append([]int{}, numbers...)
	return nil
}

func numbersOf(files []*generation) []int {
	list := make([]int, len(files))
	for i, g := range files {
		list[i] = g.number
	}
	return list
}

// readList returns the numbers in the list; nil when there is no list.
func readList(dir string, host *seal.Host) (numbers []int, err error) {
	text, err := os.ReadFile(filepath.Join(dir, ListFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	box, err := listBox(host)
	if err != nil {
		return nil, err
	}
	plain, err := box.Open(nil, text, []byte(ListFile))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", ListFile, err)
	}
	return numbers, json.Unmarshal(plain, &numbers)
}

// CheckList calls found for the list, if it is missing or damaged, and for each
// journal file that it names and that is not in dir.
func CheckList(dir string, host *seal.Host, found func(file string, err error)) {
	numbers, err := readList(dir, host)
	if err == nil && numbers == nil {
		err = errors.New("the list of journal files is missing")
	}
	if err != nil {
		found(ListFile, err)
	}
	for _, n := range numbers {
		name := generationName(dir, n)
		if _, err := os.Stat(name); err != nil {
			found(filepath.Base(name), fmt.Errorf("a journal file that held frames not yet sealed is missing: %w", err))
		}
	}
}

// compare says which files the list names and a former run did not leave, and
// makes the list true again.
func (j *Journal) compare() (err error) {
	if j.box, err = listBox(j.options.Host); err != nil {
		return err
	}
	numbers, err := readList(j.options.Dir, j.options.Host)
	if err != nil {
		j.log.Error("the list of journal files cannot be read", "err", err)
	}
	for _, n := range numbers {
		if !slices.ContainsFunc(j.files, func(g *generation) bool { return g.number == n }) {
			j.log.Error("a journal file that held frames not yet sealed is missing or damaged", "file", filepath.Base(generationName(j.options.Dir, n)))
		}
		j.number = max(j.number, n)
	}
	if err := j.list(numbersOf(j.files)); err != nil {
		j.log.Warn("the list of journal files is not written; will be tried again", "err", err)
	}
	return nil
}
