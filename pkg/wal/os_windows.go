package wal

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// isFull says that a write failed for want of space.
func isFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL) ||
		errors.Is(err, windows.ERROR_DISK_QUOTA_EXCEEDED)
}

// isUnwritable says that a file could not be made on a medium, or for a user, that
// only reads.
func isUnwritable(err error) bool {
	return errors.Is(err, windows.ERROR_WRITE_PROTECT) || errors.Is(err, os.ErrPermission)
}

// isHeld says that another process has the lock. Pebble's lock is a file that is opened
// and shared with nobody.
func isHeld(err error) bool {
	return errors.Is(err, windows.ERROR_SHARING_VIOLATION) || errors.Is(err, windows.ERROR_LOCK_VIOLATION)
}

// handle is an open file of which nothing is wanted but that it is open.
type handle windows.Handle

// Close implements io.Closer.
func (h handle) Close() error { return windows.Close(windows.Handle(h)) }

// lockShared locks a file that can't be written against those who write: it can't be
// opened while Pebble holds it, nor can Pebble open it until it is closed.
func lockShared(name string) (io.Closer, error) {
	path, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return nil, err
	}
	h, err := windows.CreateFile(path, windows.GENERIC_READ, windows.FILE_SHARE_READ, nil,
		windows.OPEN_EXISTING, windows.FILE_ATTRIBUTE_NORMAL, 0)
	if isHeld(err) {
		return nil, err
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return handle(h), nil
}

// outOfInodes is for file systems that have a fixed number of them; those of Windows
// have not.
func outOfInodes(string) bool { return false }
