package web

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
)

// SocketName is the control socket's name in the recordings folder.
const SocketName = "siprecd.sock"

// maxSocketPath is what sockaddr_un has room for, with its final zero.
const maxSocketPath = 107

// ListenControl opens the control socket at path for Control, 0600 from its
// first moment. A socket that a killed server left behind is replaced: the
// caller holds the folder's lock, so nobody listens on it. Anything else at
// that path is refused.
func ListenControl(ctx context.Context, path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("control socket: %s has %d bytes, the system takes %d: use a shorter folder name",
			path, len(path), maxSocketPath)
	}
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("control socket: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("control socket: %s exists and is not a socket", path)
	default:
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove old control socket: %w", err)
		}
	}
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		// Linux gives the file the mode that the socket had before bind.
		err := raw.Control(func(fd uintptr) { failed = syscall.Fchmod(int(fd), 0o600) })
		return errors.Join(err, failed)
	}}
	ln, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return ln, nil
}
