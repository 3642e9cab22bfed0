//go:build unix

package endpoint

import (
	"errors"
	"io"
	"syscall"

	"golang.org/x/sys/unix"
)

// peek looks at a socket without taking anything from it and without waiting.
// Control rather than Read, since that one would obey a deadline of the past.
func peek(raw syscall.RawConn) (peekState, error) {
	var buf [1]byte
	var n int
	var err error
	if ctl := raw.Control(func(fd uintptr) {
		n, _, err = unix.Recvfrom(int(fd), buf[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	}); ctl != nil {
		return peekClosed, ctl
	}
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return peekQuiet, nil
	case err != nil:
		return peekClosed, err
	case n == 0:
		return peekClosed, io.EOF
	}
	return peekData, nil
}

// discard takes everything out of a datagram socket's queue, errors included,
// without waiting. The bound keeps a flood from holding it.
func discard(raw syscall.RawConn) {
	var buf [1]byte
	// A closed socket has nothing to discard.
	_ = raw.Control(func(fd uintptr) {
		for range 1024 {
			if _, _, err := unix.Recvfrom(int(fd), buf[:], unix.MSG_DONTWAIT); errors.Is(err, unix.EAGAIN) {
				return
			}
		}
	})
}
