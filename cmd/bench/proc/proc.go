// Package proc reads what Linux tells of processes and of the machine: CPU
// time, memory, and the time that the hypervisor gave to others.
//
//	/proc/PID/stat ─► CPU        /proc/PID/status ─► Memory       /proc/stat ─► Machine
//
// Caveats: the kernel counts CPU time in ticks of 10 ms, so a window should hold
// at least a second of it.
package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is the unit of CPU time in /proc (USER_HZ, 100 on every Linux that Go
// runs on).
const tick = 10 * time.Millisecond

// CPU is the time that a process has used so far, user and system, of all its
// threads.
func CPU(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read CPU time: %w", err)
	}
	return parseStat(b)
}

// parseStat reads the fields 14 and 15 of proc_pid_stat(5). The name before
// them is in brackets and may hold anything.
func parseStat(b []byte) (time.Duration, error) {
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 13 {
		return 0, errors.New("read CPU time: too few fields")
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err = errors.Join(err, err2); err != nil {
		return 0, fmt.Errorf("read CPU time: %w", err)
	}
	return time.Duration(user+system) * tick, nil
}

// Memory is what a process has of the machine's memory, bytes.
type Memory struct {
	Resident  int64 // all of it: RssAnon and mapped files
	Anonymous int64 // without mapped files, which the kernel can take back
	Peak      int64 // the most that was resident
}

// MemoryOf is the memory of a process.
func MemoryOf(pid int) (Memory, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Memory{}, fmt.Errorf("read memory: %w", err)
	}
	return parseStatus(b)
}

func parseStatus(b []byte) (m Memory, err error) {
	into := map[string]*int64{"VmRSS:": &m.Resident, "RssAnon:": &m.Anonymous, "VmHWM:": &m.Peak}
	found := 0
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 || into[f[0]] == nil {
			continue
		}
		kib, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			return m, fmt.Errorf("read memory: %w", err)
		}
		*into[f[0]] = kib << 10
		found++
	}
	if found < len(into) {
		return m, errors.New("read memory: fields are missing")
	}
	return m, nil
}

// Machine is the CPU time of all cores together since the machine started.
type Machine struct {
	Busy  time.Duration // used by any process or interrupt
	Stole time.Duration // wanted, but the hypervisor gave it to others
	Total time.Duration // with idle time
}

// Read is the machine's time now.
func Read() (Machine, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return Machine{}, fmt.Errorf("read the machine's time: %w", err)
	}
	return parseMachine(b)
}

// parseMachine reads the first line of proc_stat(5): user nice system idle
// iowait irq softirq steal guest guest_nice; guests are in user and nice.
func parseMachine(b []byte) (m Machine, err error) {
	line, _, _ := strings.Cut(string(b), "\n")
	f := strings.Fields(line)
	if len(f) < 9 || f[0] != "cpu" {
		return m, errors.New("read the machine's time: no cpu line")
	}
	for i, text := range f[1:9] {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return m, fmt.Errorf("read the machine's time: %w", err)
		}
		t := time.Duration(n) * tick
		m.Total += t
		switch i {
		case 3, 4: // idle, waiting for a disk
		case 7:
			m.Stole += t
		default:
			m.Busy += t
		}
	}
	return m, nil
}

// Since is the time from an earlier moment to m.
func (m Machine) Since(was Machine) Machine {
	return Machine{Busy: m.Busy - was.Busy, Stole: m.Stole - was.Stole, Total: m.Total - was.Total}
}

// Nice makes the calling thread give way to every other one, for good. The
// caller has locked its goroutine to it.
func Nice() error {
	if err := syscall.Setpriority(syscall.PRIO_PROCESS, 0, 19); err != nil { // 0: on Linux, this thread
		return fmt.Errorf("give way to others: %w", err)
	}
	return nil
}
