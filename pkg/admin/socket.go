package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"strconv"
	"syscall"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/errkind"
)

// ErrSocketInUse says that another process listens on the socket.
var ErrSocketInUse = errors.New("another process listens on it")

// maxSocketPath is what the kernel takes (sun_path, with its final zero).
const maxSocketPath = 107

// listen opens the socket of c. A file left by a process that is gone is
// replaced; one that somebody listens on is not, nor is anything but a socket.
func listen(ctx context.Context, c Config) (net.Listener, error) {
	if len(c.Socket) > maxSocketPath {
		return nil, fmt.Errorf("admin socket %s: the path has %d bytes, the system takes %d: set admin.socket to a shorter one",
			c.Socket, len(c.Socket), maxSocketPath)
	}
	if err := removeStale(c.Socket); err != nil {
		return nil, fmt.Errorf("admin socket %s: %w", c.Socket, err)
	}
	// The file is born with mode 0600, so that nobody slips in before the mode
	// and group are set.
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var chmod error
		if err := raw.Control(func(fd uintptr) { chmod = bornPrivate(fd) }); err != nil {
			return err
		}
		return chmod
	}}
	l, err := lc.Listen(ctx, "unix", c.Socket)
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	if err := setRights(c); err != nil {
		_ = l.Close() // the first error counts
		return nil, fmt.Errorf("admin socket %s: %w", c.Socket, err)
	}
	return l, nil
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&os.ModeSocket == 0 {
		return errors.New("a file of this name exists that is not a socket; move it away or set admin.socket to another path")
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = c.Close() // nothing was sent
		return fmt.Errorf("%w: is the gateway running already?", ErrSocketInUse)
	}
	if !errkind.Refused(err) {
		return fmt.Errorf("find out whether somebody listens: %w", err)
	}
	return os.Remove(path)
}

func setRights(c Config) error {
	if c.Group != "" {
		gid, err := groupID(c.Group)
		if err != nil {
			return err
		}
		if err := os.Chown(c.Socket, -1, gid); err != nil {
			return fmt.Errorf("give it to group %q: %w", c.Group, err)
		}
	}
	return os.Chmod(c.Socket, c.Mode.Perm())
}

func groupID(name string) (int, error) {
	if gid, err := strconv.Atoi(name); err == nil {
		return gid, nil
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, fmt.Errorf("admin.group: %w", err)
	}
	return strconv.Atoi(g.Gid)
}
