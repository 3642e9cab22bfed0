package wal

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// openTailFile maps the file. With size 0 it must exist; otherwise it is made anew
// unless it has that size, and its space is set aside.
func openTailFile(path string, size int) (_ tailFile, err error) {
	flags := os.O_RDWR | unix.O_NOFOLLOW
	if size > 0 {
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return tailFile{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }() // the mapping stays
	fi, err := f.Stat()
	switch {
	case err != nil:
		return tailFile{}, err
	case !fi.Mode().IsRegular():
		return tailFile{}, errors.New("it is not a regular file")
	case size == 0 && (fi.Size() < tailHeader || fi.Size() > tailHeader+2*tailHalfMax):
		return tailFile{}, fmt.Errorf("it has %d bytes", fi.Size())
	case size == 0:
		size = int(fi.Size())
	case fi.Size() != int64(size):
		if err := setAside(f, int64(size)); err != nil {
			return tailFile{}, fmt.Errorf("set %d bytes aside: %w", size, errors.Join(err, f.Truncate(0)))
		}
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return tailFile{}, fmt.Errorf("map: %w", err)
	}
	return tailFile{
		mem:   mem,
		sync:  func() error { return unix.Msync(mem[:tailHeader], unix.MS_SYNC) },
		close: func() error { return unix.Munmap(mem) },
	}, nil
}

// setAside gives an emptied file its size, with blocks behind all of it: what is
// mapped must not meet a full disk.
func setAside(f *os.File, size int64) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	err := unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		err = nil
		for zeros := make([]byte, 64<<10); size > 0 && err == nil; {
			var n int
			n, err = f.Write(zeros[:min(size, int64(len(zeros)))])
			size -= int64(n)
		}
	}
	return errors.Join(err, f.Sync())
}
