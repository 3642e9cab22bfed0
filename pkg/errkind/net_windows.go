package errkind

import (
	"errors"

	"golang.org/x/sys/windows"
)

// Reset says that the other end of a connection, or something in between, broke it off.
// Windows has numbers of its own for it, of which [syscall.ECONNRESET] is none.
func Reset(err error) bool {
	return errors.Is(err, windows.WSAECONNRESET) || errors.Is(err, windows.WSAECONNABORTED)
}

// Refused says that nobody listens.
func Refused(err error) bool { return errors.Is(err, windows.WSAECONNREFUSED) }
