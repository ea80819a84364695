package fault

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Launch turns this process into the command on its command line, under a
// filter, when an Injector has started it; otherwise it does nothing and returns
// nil. It comes first in main and in TestMain, which must end on an error.
func Launch() error {
	path := os.Getenv(socketEnv)
	if path == "" {
		return nil
	}
	return fmt.Errorf("start under a filter: %w", launch(path, os.Args[1:])) // it returns only to tell why not
}

func launch(path string, argv []string) error {
	if len(argv) == 0 {
		return errors.New("no command")
	}
	bin, err := exec.LookPath(cmp.Or(os.Getenv(binEnv), argv[0]))
	if err != nil {
		return err
	}
	if err := os.Unsetenv(socketEnv); err != nil {
		return err
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return err
	}
	env := os.Environ()
	runtime.LockOSThread() // the filter is this thread's, and goes with it through exec
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	fd, err := install()
	if err != nil {
		return err
	}
	if _, _, err := conn.WriteMsgUnix([]byte{0}, unix.UnixRights(fd), nil); err != nil {
		return err
	}
	return unix.Exec(bin, argv, env)
}

// install puts the filter in force for this thread and returns the descriptor
// by which its questions are answered.
func install() (int, error) {
	prog := filter()
	head := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	const flags = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
	fd, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&head)))
	if e != 0 {
		return 0, fmt.Errorf("install the filter: %w", e)
	}
	unix.CloseOnExec(int(fd))
	return int(fd), nil
}

// filter asks about the calls that change files, and about the wall clock.
func filter() []unix.SockFilter {
	asked := []uint32{
		unix.SYS_WRITE, unix.SYS_PWRITE64, unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_FTRUNCATE, unix.SYS_FALLOCATE,
		unix.SYS_OPENAT, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_UNLINKAT, unix.SYS_MKDIRAT,
	}
	const number, firstArg = 0, 16 // offsets in struct seccomp_data
	jump := func(v uint32, yes, no int) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: v, Jt: uint8(yes), Jf: uint8(no)}
	}
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	prog := []unix.SockFilter{load(number)}
	for k, nr := range asked { // to the question, behind the rest, the clock's four and the permission
		prog = append(prog, jump(nr, len(asked)-k-1+4, 0))
	}
	return append(prog,
		jump(unix.SYS_CLOCK_GETTIME, 0, 2),
		load(firstArg),
		jump(unix.CLOCK_REALTIME, 1, 0),
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF},
	)
}

// binEnv names another binary for the launcher to run.
const binEnv = "SIPRECD_TORTURE_BINARY"

// OwnClock gives the server a wall clock that Clock can move. A Go program reads
// the time from a page that the kernel lends it; the server runs as a copy in
// which the name is spoilt by which the runtime finds that page's function, so
// that it asks the kernel.
func (i *Injector) OwnClock() error {
	data, err := os.ReadFile(i.lab.Bin)
	if err != nil {
		return err
	}
	old, spoilt := []byte("__vdso_clock_gettime"), []byte("__vdso_clock_gettimX")
	if !bytes.Contains(data, old) {
		return fmt.Errorf("%s: the runtime does not look for %s", i.lab.Bin, old)
	}
	copied := filepath.Join(i.lab.Dir, "siprecd-clock")
	if err := os.WriteFile(copied, bytes.ReplaceAll(data, old, spoilt), 0o755); err != nil {
		return err
	}
	i.server.Env = append(i.server.Env, binEnv+"="+copied)
	return nil
}
