//go:build !windows

package errkind

import (
	"errors"
	"syscall"
)

// Reset says that the other end of a connection, or something in between, broke it off.
func Reset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// Refused says that nobody listens.
func Refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
