package crash

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"siprecd/cmd/torture/rig"
)

// putAndCut writes a file as store/disk does: temp, fsync, rename, and the
// folder's fsync if whole.
func putAndCut(b *Bench, name string, whole bool) (gone bool, err error) {
	dir := filepath.Join(b.Inner, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return false, err
	}
	if err := syncPath(b.Inner); err != nil {
		return false, err
	}
	if err := syncPath(dir); err != nil {
		return false, err
	}
	temp, file := filepath.Join(dir, "file.tmp"), filepath.Join(dir, "file")
	if err := os.WriteFile(temp, []byte("kept"), 0o600); err != nil {
		return false, err
	}
	if err := syncPath(temp); err != nil {
		return false, err
	}
	if err := os.Rename(temp, file); err != nil {
		return false, err
	}
	if whole {
		if err := syncPath(dir); err != nil {
			return false, err
		}
	}
	restore, err := b.Cut()
	if err != nil {
		return false, err
	}
	text, _ := os.ReadFile(b.At(file))
	return string(text) != "kept", restore()
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// firstStarts cuts the power at a random moment from the end of siprecd init
// on, and starts the binary on what is left.
func firstStarts(l *rig.Lab) error {
	b, err := NewBench(l, 256)
	if err != nil {
		return err
	}
	first, err := l.ServerIn(filepath.Join(b.Inner, "data"))
	if err != nil {
		return err
	}
	again, err := l.ServerIn(filepath.Join(b.Inner, "data")) // with ports of its own
	if err != nil {
		return err
	}
	refused, cutEarly := 0, 0
	var slowest time.Duration
	for n := range l.Rounds {
		first.Dir = filepath.Join(b.Inner, fmt.Sprintf("data-%d", n))
		again.Dir = b.At(first.Dir)
		if _, err := l.Tool(l.Bin, "init", "--dir", first.Dir); err != nil {
			return err
		}
		if err := first.Launch(); err != nil {
			return err
		}
		pause(l, rand.N(70*time.Millisecond))
		restore, err := b.Cut()
		if err != nil {
			return err
		}
		first.Kill()
		if _, err := os.Stat(filepath.Join(again.Dir, "keys.db")); err != nil {
			cutEarly++
		}
		took, err := again.Start()
		if err != nil {
			refused++
			l.Logf("cut %d: %v", n, err)
		}
		slowest = max(slowest, took)
		again.Kill()
		if err := restore(); err != nil {
			return err
		}
		if err := os.RemoveAll(first.Dir); err != nil {
			return err
		}
	}
	l.Count("starts that failed after a cut in the first one", refused, 0)
	l.Figure("cut before the databases were there", fmt.Sprint(cutEarly), "told", true)
	l.Within("slowest to be ready", slowest, maxReady)
	return nil
}
