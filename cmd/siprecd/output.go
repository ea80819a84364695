package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// writeOutput writes what make produces to a file, or to stdout for "-". A
// file appears whole or not at all: it is written beside its place, synced
// and renamed. It is for its owner only, since it holds a conversation.
func (e *env) writeOutput(path string, force bool, produce func(io.Writer) error) (err error) {
	if path == "-" {
		w := bufio.NewWriterSize(e.stdout, 64<<10)
		return errors.Join(produce(w), w.Flush())
	}
	if err := mayWrite(path, force); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".siprecd-*.tmp")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	w := bufio.NewWriterSize(f, 64<<10)
	err = produce(w)
	if err == nil {
		err = errors.Join(w.Flush(), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// mayWrite refuses to replace what is there.
func mayWrite(path string, force bool) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("write %s: %w", path, err)
	case info.IsDir():
		return usagef("%s is a folder: name a file", path)
	case !force:
		return usagef("%s exists: --force replaces it", path)
	}
	return nil
}

// makeFolder fills a new folder, which appears whole or not at all.
func makeFolder(path string, fill func(dir string) error) (err error) {
	if entries, err := os.ReadDir(path); err == nil && len(entries) > 0 {
		return usagef("%s exists and is not empty", path)
	}
	temp, err := os.MkdirTemp(filepath.Dir(filepath.Clean(path)), ".siprecd-*.tmp")
	if err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(temp)
		}
	}()
	if err = fill(temp); err != nil {
		return err
	}
	if err = os.Rename(temp, path); err != nil { // an empty folder gives way
		return fmt.Errorf("make %s: %w", path, err)
	}
	return nil
}

// outputName is how an output is called in messages.
func outputName(path string) string {
	if path == "-" {
		return "stdout"
	}
	return path
}
