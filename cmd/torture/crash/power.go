package crash

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"siprecd/cmd/torture/rig"
)

// Bench is a machine whose power can be cut: a file system (ext4) in an image
// that lies on another one (XFS) which can copy a file in an instant.
//
//	lab.Dir/outer.img ─ XFS ─► outer/inner.img ─ ext4 ─► inner/   the recorder's folder is here
//	                           outer/snap.img  ─ ext4 ─► snap/    a cut: what a crash would leave
//
// The copy holds what the inner file system has written to its disk and nothing
// that is only in memory, which is what a power cut leaves of a disk without a
// cache of its own.
type Bench struct {
	lab                *rig.Lab
	outer, Inner, Snap string
}

// NewBench makes one with an inner file system of so many MiB. All mounts go
// when the row is over, and also when this process is killed.
func NewBench(l *rig.Lab, size int) (*Bench, error) {
	b := &Bench{lab: l, outer: filepath.Join(l.Dir, "outer"), Inner: filepath.Join(l.Dir, "inner"), Snap: filepath.Join(l.Dir, "snap")}
	for _, dir := range []string{b.outer, b.Inner, b.Snap} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, err
		}
	}
	if err := Guard(l, b.Snap, b.Inner, b.outer); err != nil {
		return nil, err
	}
	image := filepath.Join(l.Dir, "outer.img")
	inner := filepath.Join(b.outer, "inner.img")
	for _, c := range [][]string{
		{"truncate", "-s", fmt.Sprintf("%dM", 3*size+400), image},
		{"mkfs.xfs", "-q", "-m", "reflink=1", image},
		{"mount", "-o", "loop", image, b.outer},
		{"truncate", "-s", fmt.Sprintf("%dM", size), inner},
		{"mkfs.ext4", "-q", inner},
		{"mount", "-o", "loop", inner, b.Inner},
	} {
		if _, err := l.Tool(c[0], c[1:]...); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// Guard unmounts folders when the row is over, or when this process has died in
// whatever way: it waits for the end of its standard input.
func Guard(l *rig.Lab, dirs ...string) error {
	cmd := exec.Command("sh", append([]string{"-c", `cat >/dev/null; for d in "$@"; do umount -l "$d" 2>/dev/null; done; exit 0`, "guard"}, dirs...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	l.Cleanup(func() {
		if err := errors.Join(pipe.Close(), cmd.Wait()); err != nil {
			l.Logf("unmount: %v", err)
		}
	})
	return nil
}

// Cut takes the power away and brings the disk up again at Snap, while the
// recorder at Inner goes on. The returned function takes Snap away again.
func (b *Bench) Cut() (restore func() error, err error) {
	image := filepath.Join(b.outer, "snap.img")
	if _, err := b.lab.Tool("cp", "--reflink=always", filepath.Join(b.outer, "inner.img"), image); err != nil {
		return nil, err
	}
	if _, err := b.lab.Tool("mount", "-o", "loop", image, b.Snap); err != nil {
		return nil, fmt.Errorf("the file system does not come up: %w", err)
	}
	return func() error {
		_, err := b.lab.Tool("umount", b.Snap)
		return errors.Join(err, os.Remove(image))
	}, nil
}

// At is where a path below Inner is below Snap.
func (b *Bench) At(path string) string {
	rel, err := filepath.Rel(b.Inner, path)
	if err != nil {
		return path
	}
	return filepath.Join(b.Snap, rel)
}
