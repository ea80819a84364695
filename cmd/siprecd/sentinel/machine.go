package sentinel

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Configuration tells when a file is not what it was when this was called.
func Configuration(path string) Check {
	was, _ := os.ReadFile(path)
	sum := sha256.Sum256(was)
	return Check{"configuration", func(time.Time) string {
		text, err := os.ReadFile(path)
		switch {
		case err != nil:
			return "the configuration cannot be read any more: " + cause(err)
		case sha256.Sum256(text) != sum:
			return "the configuration was changed after the start: what runs is what it was then"
		}
		return ""
	}}
}

// How far the wall clock may leave the monotonic one between two looks, and for
// how long a step is told.
const (
	maxStep  = 2 * time.Second
	stepTold = 10 * time.Minute
)

// Clock tells when the wall clock was stepped. wall is what it shows, elapsed
// how long it truly was since some moment.
func Clock(wall func() time.Time, elapsed func() time.Duration) Check {
	lastWall, last := wall().Round(0), elapsed()
	told, step := time.Duration(-1), time.Duration(0) // since elapsed's moment; -1: never
	return Check{"clock", func(time.Time) string {
		nowWall, now := wall().Round(0), elapsed()
		if off := nowWall.Sub(lastWall) - (now - last); off.Abs() > maxStep {
			told, step = now, off
		}
		lastWall, last = nowWall, now
		if told < 0 || now-told >= stepTold {
			return ""
		}
		return fmt.Sprintf("the clock of this machine was stepped by %+.0f s: times of calls and retention depend on it", step.Seconds())
	}}
}

// fewDescriptors are too few for the calls of a minute.
const fewDescriptors = 64

// Descriptors tells when few files and sockets can still be opened.
func Descriptors() Check {
	return Check{"descriptors", func(time.Time) string {
		var limit unix.Rlimit
		if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
			return ""
		}
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil { // there is none for the look itself
			return "no file can be opened: " + cause(err)
		}
		if used := uint64(len(list)); used+fewDescriptors > limit.Cur {
			return fmt.Sprintf("fewer than %d of %d file descriptors are left (raise LimitNOFILE)", fewDescriptors, limit.Cur)
		}
		return ""
	}}
}

// muchMemory is the share of a limit that is too much.
const muchMemory = 0.9

// Memory tells when the process uses most of what it may have: by its control
// group, or by GOMEMLIMIT. limit is for tests; nil asks the system.
func Memory(limit func() uint64) Check {
	if limit == nil {
		limit = memoryLimit
	}
	return Check{"memory", func(time.Time) string {
		most := limit()
		if used := resident(); most > 0 && float64(used) > muchMemory*float64(most) {
			return fmt.Sprintf("more than %.0f %% of the %d MiB of memory that the process may have is used", 100*muchMemory, most>>20)
		}
		return ""
	}}
}

// memoryLimit is the least limit there is; 0: none.
func memoryLimit() uint64 {
	least := uint64(math.MaxUint64)
	if l := debug.SetMemoryLimit(-1); l < math.MaxInt64 {
		least = uint64(l)
	}
	if text, err := os.ReadFile("/proc/self/cgroup"); err == nil {
		for line := range strings.Lines(string(text)) {
			group, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
			if !ok {
				continue
			}
			for dir := filepath.Join("/sys/fs/cgroup", group); strings.HasPrefix(dir, "/sys/fs/cgroup"); dir = filepath.Dir(dir) {
				b, err := os.ReadFile(filepath.Join(dir, "memory.max"))
				if n, bad := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64); err == nil && bad == nil {
					least = min(least, n)
				}
			}
		}
	}
	if least == math.MaxUint64 {
		return 0
	}
	return least
}

// resident is the memory that the process has, bytes.
func resident() uint64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(text)
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseUint(string(fields[1]), 10, 64)
	return pages * uint64(os.Getpagesize())
}

// File tells when a file that was there at the call is gone or another one.
func File(name, path, what string) Check {
	was, err := os.Lstat(path)
	return Check{name, func(time.Time) string {
		now, failed := os.Lstat(path)
		switch {
		case err != nil: // it never was: no fault of now
			return ""
		case failed != nil:
			return what + ": " + path + " is gone"
		case !os.SameFile(was, now):
			return what + ": " + path + " is another file than at the start"
		}
		return ""
	}}
}

// Keys tells when what load reads cannot be read any more.
func Keys(load func() error) Check {
	return Check{"keys", func(time.Time) string {
		if err := load(); err != nil {
			return "the keys of this recorder cannot be read any more, so the next start will fail: " + err.Error()
		}
		return ""
	}}
}

// Address tells when media is asked to an address that this machine has lost.
func Address(a netip.Addr, interfaces func() ([]net.Addr, error)) Check {
	return Check{"address", func(time.Time) string {
		list, err := interfaces()
		if err != nil {
			return "" // nothing is known
		}
		for _, i := range list {
			n, ok := i.(*net.IPNet)
			if !ok {
				continue
			}
			ip, _ := netip.AddrFromSlice(n.IP)
			if ip.Unmap() == a || a.IsLoopback() && n.Contains(a.AsSlice()) {
				return ""
			}
		}
		return fmt.Sprintf("media.address %s is not an address of this machine any more: no media can arrive", a)
	}}
}

// cause drops the path that a file error repeats.
func cause(err error) string {
	if _, after, ok := strings.Cut(err.Error(), ": "); ok {
		return after
	}
	return err.Error()
}
