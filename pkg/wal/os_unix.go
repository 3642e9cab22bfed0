//go:build unix

package wal

import (
	"errors"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// isFull says that a write failed for want of space.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// isUnwritable says that a file could not be made on a medium, or for a user, that
// only reads.
func isUnwritable(err error) bool {
	return errors.Is(err, syscall.EROFS) || errors.Is(err, os.ErrPermission)
}

// isHeld says that another process has the lock: fcntl(2) answers EAGAIN or EACCES. If
// there is a path in the error, it was the file that could not be opened.
func isHeld(err error) bool {
	var pathErr *os.PathError
	return (errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES)) && !errors.As(err, &pathErr)
}

// lockShared locks a file that can't be written against those who write.
func lockShared(name string) (io.Closer, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	spec := unix.Flock_t{Type: unix.F_RDLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &spec); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// outOfInodes says that the file system of dir takes no more files, whatever its space.
func outOfInodes(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && st.Files > 0 && st.Ffree == 0
}
