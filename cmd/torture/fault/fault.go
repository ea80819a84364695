// Package fault stands between a server and its disk: it sees every system call
// by which the unchanged binary writes, syncs, makes, renames or opens a file
// of its folder, and lets it through, fails it, holds it up, or claims that it
// worked.
//
//	torture ── Wrap ──► this program again: Launch ── seccomp filter, exec ──► siprecd serve
//	   ▲                                                                           │
//	   └───────── Judge(Op) ◄── the kernel asks before each such call (user notification) ─┘
//
// It needs no root and no module of the kernel, and it works on a binary that
// is linked statically. When this process dies the kernel answers the calls
// that wait with ENOSYS, so nothing hangs for ever.
//
// The wall clock can be moved in the same way (Clock), for a binary that cannot
// read it without the kernel: see OwnClock.
//
// Caveats: a failed write leaves the file as it was, where a real disk may have
// written a part; the thin store of package disk is for that. Reads through a
// mapping are not seen. A path is looked at before the kernel uses it, which is
// good enough for a program that is not an enemy.
package fault

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"siprecd/cmd/torture/rig"
)

// Kind is what a system call does to a file.
type Kind string

// The kinds that a Judge sees.
const (
	Write    Kind = "write"
	Sync     Kind = "sync"
	Open     Kind = "open" // made by it, maybe
	Rename   Kind = "rename"
	Remove   Kind = "remove"
	Folder   Kind = "mkdir"
	Truncate Kind = "truncate"
)

// Op is one system call on a file of the server's folder.
type Op struct {
	Kind Kind
	Path string // of the file, below the folder; of a rename the new one
	N    int    // counts the operations of one life of the server, from 1
}

// Answer is what becomes of an operation; the zero value lets it through.
type Answer struct {
	Err   unix.Errno      // it fails with this
	Lie   bool            // it is not done, and is said to have worked
	After <-chan struct{} // first wait until this is closed; nil: do not
}

// Judge decides on one operation. It is called from several goroutines.
type Judge func(Op) Answer

// Injector rules over the system calls of one server.
type Injector struct {
	lab    *rig.Lab
	server *rig.Server
	dir    string
	ln     *net.UnixListener
	work   sync.WaitGroup
	clock  atomic.Int64 // ns added to the wall clock

	mu    sync.Mutex
	judge Judge
	n     int
}

// socketEnv tells the launcher where the injector listens.
const socketEnv = "SIPRECD_TORTURE_FAULT"

// Possible is the need for a kernel that asks about system calls (Linux 5.19).
func Possible() rig.Need {
	return rig.Need{Name: "seccomp user notification", OK: func() bool {
		var sizes [3]uint16
		_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_NOTIF_SIZES, 0, uintptr(unsafe.Pointer(&sizes)))
		return e == 0 && sizes[0] == 80 && sizes[1] == 24
	}}
}

// New puts every life of the server from its next start on under an injector
// that lets all through until Judge says otherwise. It ends with the row.
func New(l *rig.Lab, s *rig.Server) (*Injector, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := filepath.EvalSymlinks(s.Dir)
	if err != nil {
		return nil, err
	}
	temp, err := os.MkdirTemp("", "fault") // a socket's path must be short
	if err != nil {
		return nil, err
	}
	path := filepath.Join(temp, "s")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(temp))
	}
	i := &Injector{lab: l, server: s, dir: dir, ln: ln}
	s.Wrap, s.Env = []string{self}, append(s.Env, socketEnv+"="+path)
	i.work.Go(i.accept)
	l.Cleanup(func() {
		i.Judge(nil)
		s.Kill() // else it would wait for answers
		ln.Close()
		i.work.Wait()
		os.RemoveAll(temp)
	})
	return i, nil
}

// Judge puts another judge in force, from the next operation on; nil lets all
// through. The count of operations begins anew.
func (i *Injector) Judge(j Judge) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.judge, i.n = j, 0
}

// Count is how many operations there were since the last Judge.
func (i *Injector) Count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.n
}

// Clock moves the server's wall clock so far from the true one; see OwnClock.
func (i *Injector) Clock(by time.Duration) { i.clock.Store(int64(by)) }

func (i *Injector) accept() {
	for {
		c, err := i.ln.AcceptUnix()
		if err != nil {
			return
		}
		fd, err := receiveFD(c)
		c.Close()
		if err != nil {
			i.lab.Logf("fault: %v", err)
			continue
		}
		i.work.Go(func() { i.serve(fd) })
	}
}

func receiveFD(c *net.UnixConn) (int, error) {
	b, oob := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := c.ReadMsgUnix(b, oob)
	if err != nil {
		return 0, fmt.Errorf("receive the filter's descriptor: %w", err)
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(msgs) != 1 {
		return 0, fmt.Errorf("no descriptor came: %w", err)
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return 0, fmt.Errorf("no descriptor came: %w", err)
	}
	return fds[0], nil
}

// notice and reply are the kernel's struct seccomp_notif and seccomp_notif_resp.
type notice struct {
	id    uint64
	pid   uint32
	flags uint32
	nr    int32
	arch  uint32
	ip    uint64
	args  [6]uint64
}

type reply struct {
	id    uint64
	val   int64
	err   int32
	flags uint32
}

// serve answers for one life of the server.
func (i *Injector) serve(fd int) {
	defer unix.Close(fd)
	var calls sync.WaitGroup
	defer calls.Wait()
	for {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(p, -1); err == unix.EINTR {
			continue
		}
		if p[0].Revents&unix.POLLIN == 0 {
			return // nobody is left who could ask
		}
		var n notice
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&n))); e != 0 {
			continue // it was killed meanwhile
		}
		a, ours := i.rule(&n)
		switch {
		case n.nr == unix.SYS_CLOCK_GETTIME:
			send(fd, i.tellTime(&n))
		case ours && a.After != nil:
			calls.Go(func() {
				select {
				case <-a.After:
				case <-i.lab.Done():
				}
				send(fd, verdict(&n, a))
			})
		default:
			send(fd, verdict(&n, a))
		}
	}
}

func send(fd int, r reply) {
	// An error means that the asker is gone.
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&r)))
}

// rule asks the judge about a call on one of our files.
func (i *Injector) rule(n *notice) (a Answer, ours bool) {
	if n.nr == unix.SYS_CLOCK_GETTIME {
		return a, false
	}
	path, ours := i.path(n)
	if !ours {
		return a, false
	}
	i.mu.Lock()
	i.n++
	op, judge := Op{Kind: kindOf(n.nr), Path: path, N: i.n}, i.judge
	i.mu.Unlock()
	if judge != nil {
		a = judge(op)
	}
	return a, true
}

func verdict(n *notice, a Answer) reply {
	switch {
	case a.Err != 0:
		return reply{id: n.id, err: -int32(a.Err)}
	case a.Lie && (n.nr == unix.SYS_WRITE || n.nr == unix.SYS_PWRITE64):
		return reply{id: n.id, val: int64(n.args[2])}
	case a.Lie:
		return reply{id: n.id}
	}
	return reply{id: n.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
}

func kindOf(nr int32) Kind {
	switch nr {
	case unix.SYS_WRITE, unix.SYS_PWRITE64:
		return Write
	case unix.SYS_FSYNC, unix.SYS_FDATASYNC:
		return Sync
	case unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2:
		return Rename
	case unix.SYS_UNLINKAT:
		return Remove
	case unix.SYS_MKDIRAT:
		return Folder
	case unix.SYS_OPENAT:
		return Open
	}
	return Truncate
}

// path is the file that a call is about, if it lies in the folder.
func (i *Injector) path(n *notice) (string, bool) {
	var full string
	switch n.nr {
	case unix.SYS_OPENAT, unix.SYS_UNLINKAT, unix.SYS_MKDIRAT:
		full = i.at(n, n.args[0], n.args[1])
	case unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2:
		full = i.at(n, n.args[2], n.args[3])
	default:
		full, _ = os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", n.pid, int32(n.args[0])))
	}
	rel, ok := strings.CutPrefix(full, i.dir)
	if !ok || rel != "" && rel[0] != '/' || strings.HasSuffix(rel, ".sock") {
		return "", false
	}
	return strings.TrimPrefix(rel, "/"), true
}

// at is the path that a folder's descriptor and the text at an address name.
func (i *Injector) at(n *notice, fd, addr uint64) string {
	text := make([]byte, 512)
	local := []unix.Iovec{{Base: &text[0], Len: uint64(len(text))}}
	got, err := unix.ProcessVMReadv(int(n.pid), local, []unix.RemoteIovec{{Base: uintptr(addr), Len: len(text)}}, 0)
	if err != nil { // it may end at a page that is not there
		room := 4096 - int(addr%4096)
		got, err = unix.ProcessVMReadv(int(n.pid), local, []unix.RemoteIovec{{Base: uintptr(addr), Len: min(room, len(text))}}, 0)
	}
	end := bytes.IndexByte(text[:max(got, 0)], 0)
	if err != nil || end < 0 {
		return ""
	}
	name := string(text[:end])
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	link := fmt.Sprintf("/proc/%d/fd/%d", n.pid, int32(fd))
	if int32(fd) == unix.AT_FDCWD {
		link = fmt.Sprintf("/proc/%d/cwd", n.pid)
	}
	base, err := os.Readlink(link)
	if err != nil {
		return ""
	}
	return filepath.Join(base, name)
}

// tellTime writes the moved time where the asker wants it.
func (i *Injector) tellTime(n *notice) reply {
	at := time.Now().Add(time.Duration(i.clock.Load()))
	var text [16]byte
	binary.NativeEndian.PutUint64(text[:], uint64(at.Unix()))
	binary.NativeEndian.PutUint64(text[8:], uint64(at.Nanosecond()))
	local := []unix.Iovec{{Base: &text[0], Len: 16}}
	if _, err := unix.ProcessVMWritev(int(n.pid), local, []unix.RemoteIovec{{Base: uintptr(n.args[1]), Len: 16}}, 0); err != nil {
		return reply{id: n.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
	}
	return reply{id: n.id}
}
