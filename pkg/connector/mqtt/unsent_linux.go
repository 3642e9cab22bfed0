package mqtt

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// unsent returns how many bytes the system holds that the broker has not acknowledged
// on the level of TCP, 0 if that cannot be told.
func (c *conn) unsent() int {
	sc, ok := c.under.Conn.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0
	}
	n := 0
	if err := raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); err != nil {
		return 0
	}
	if err != nil {
		return 0
	}
	return n
}
