package wal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// diskFS is the file system that the databases see. It counts what is written,
// and it makes a full disk a wait instead of an error: Pebble ends the process
// when a write of its log or manifest fails. A write that finds no space gives
// the ballast back and tries again until there is space. Only writes wait; a sync
// that fails has lost data, whatever the reason, and must be fatal.
//
// Any other error of a write, once Pebble is at work, means that the disk can't be
// relied on. Pebble would panic, or try again for ever; it is not told. The log
// fails, in good order, and the goroutine that met the error stays where it is
// until the process ends.
type diskFS struct {
	vfs.FS
	l       *Log
	live    atomic.Bool   // the log is open
	written atomic.Uint64 // bytes
	closed  chan struct{}
	once    sync.Once

	onSync atomic.Pointer[func(time.Duration)]
	full   atomic.Int64 // how many writers wait for space
	why    atomic.Pointer[error]

	mu          sync.Mutex
	ballast     string
	ballastSize int64
	ballastHeld bool
}

func newDiskFS(inner vfs.FS, l *Log) *diskFS {
	return &diskFS{FS: inner, l: l, closed: make(chan struct{})}
}

func (d *diskFS) close() { d.once.Do(func() { close(d.closed) }) }

func (d *diskFS) synced(took time.Duration) {
	if f := d.onSync.Load(); f != nil {
		(*f)(took)
	}
}

// retry runs op until it does not fail for want of space.
func (d *diskFS) retry(op func() error) error {
	err := op()
	if err == nil || !isFull(err) {
		return d.check(err)
	}
	d.why.Store(&err)
	if d.full.Add(1) == 1 {
		d.l.log.Error("log: the disk is full; waiting for space", "dir", d.l.dir, "error", err)
	}
	defer d.full.Add(-1)
	for wait := 10 * time.Millisecond; isFull(err); wait = min(2*wait, time.Second) {
		d.dropBallast()
		if d.l.tool && wait > time.Second/2 { // a person waits, who had better free some space
			d.l.fail(fmt.Errorf("%w: free some space, then try again: %w", ErrDiskFull, err))
			select {}
		}
		t := time.NewTimer(wait)
		select {
		case <-d.closed:
			t.Stop()
			return err
		case <-t.C:
		}
		err = op()
	}
	return d.check(err)
}

// check returns err, or does not return if it is the end of the log.
func (d *diskFS) check(err error) error {
	if err == nil || !d.live.Load() || errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrExist) {
		return err
	}
	d.l.fail(err)
	select {}
}

// openBallast sets size bytes aside in path; what can't be had now is tried
// again by holdBallast. With size 0 nothing is set aside, but what is there can be
// given up: a tool that trims the log of a stopped gateway may meet a full disk.
func (d *diskFS) openBallast(path string, size int64) {
	_, err := d.FS.Stat(path)
	d.mu.Lock()
	d.ballast, d.ballastSize = path, size
	d.ballastHeld = err == nil && size <= 0
	d.mu.Unlock()
	d.holdBallast()
}

// holdBallast makes the ballast file if it is not there. It is called when there
// is space again.
func (d *diskFS) holdBallast() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ballastHeld || d.ballastSize <= 0 {
		return
	}
	f, err := d.FS.Create(d.ballast, vfs.WriteCategoryUnspecified)
	if err == nil {
		err = errors.Join(f.Preallocate(0, d.ballastSize), f.Close())
	}
	if err != nil {
		d.l.log.Warn("log: no ballast file, the disk is nearly full", "error", err)
		return
	}
	d.ballastHeld = true
}

func (d *diskFS) dropBallast() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.ballastHeld {
		return
	}
	if err := d.FS.Remove(d.ballast); err != nil && !errors.Is(err, os.ErrNotExist) {
		d.l.log.Warn("log: ballast file stays", "error", err)
		return
	}
	d.ballastHeld = false
}

// The operations that take space.

func (d *diskFS) file(op func() (vfs.File, error)) (f vfs.File, err error) {
	err = d.retry(func() (err error) { f, err = op(); return err })
	if err != nil {
		return nil, err
	}
	return &diskFile{File: f, d: d}, nil
}

// Create implements vfs.FS.
func (d *diskFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := d.orderMarker(name); err != nil {
		return nil, err
	}
	return d.file(func() (vfs.File, error) { return d.FS.Create(name, c) })
}

// OpenReadWrite implements vfs.FS.
func (d *diskFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return d.file(func() (vfs.File, error) { return d.FS.OpenReadWrite(name, c, opts...) })
}

// ReuseForWrite implements vfs.FS.
func (d *diskFS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return d.file(func() (vfs.File, error) { return d.FS.ReuseForWrite(from, to, c) })
}

// Remove implements vfs.FS.
func (d *diskFS) Remove(name string) error {
	if err := d.orderMarker(name); err != nil {
		return err
	}
	return d.FS.Remove(name)
}

// orderMarker syncs the directory before a marker file is made in it or removed.
// Pebble points to its manifest by making a marker and removing the one before,
// and syncs the directory once after both: after a crash, a file system that
// does not keep the order of such changes (F2FS, for one) may have a marker
// without its manifest, or none at all, and the database would be gone.
func (d *diskFS) orderMarker(name string) error {
	if !strings.HasPrefix(d.PathBase(name), "marker.") {
		return nil
	}
	dir, err := d.OpenDir(d.PathDir(name))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Lock implements vfs.FS.
func (d *diskFS) Lock(name string) (lock io.Closer, err error) {
	if d.l.readOnly {
		return d.lockToRead(name)
	}
	err = d.retry(func() (err error) { lock, err = d.FS.Lock(name); return err })
	return lock, err
}

// lockToRead locks a log that is only read. On a medium that can't be written there may
// be no lock file, and then nobody has the log open; one that is there shows whether
// somebody writes through another mount.
func (d *diskFS) lockToRead(name string) (io.Closer, error) {
	lock, err := d.FS.Lock(name)
	if !isUnwritable(err) {
		return lock, err
	}
	shared, shareErr := lockShared(name)
	switch {
	case errors.Is(shareErr, os.ErrNotExist):
		return noLock{}, nil
	case isHeld(shareErr):
		return nil, shareErr
	case shareErr != nil:
		return nil, err
	}
	return shared, nil
}

// noLock is the lock of what nobody else can open for writing.
type noLock struct{}

// Close implements io.Closer.
func (noLock) Close() error { return nil }

// Link implements vfs.FS.
func (d *diskFS) Link(from, to string) error {
	return d.retry(func() error { return d.FS.Link(from, to) })
}

// Rename implements vfs.FS.
func (d *diskFS) Rename(from, to string) error {
	return d.retry(func() error { return d.FS.Rename(from, to) })
}

// MkdirAll implements vfs.FS.
func (d *diskFS) MkdirAll(dir string, perm os.FileMode) error {
	return d.retry(func() error { return d.FS.MkdirAll(dir, perm) })
}

// OpenDir implements vfs.FS.
func (d *diskFS) OpenDir(name string) (vfs.File, error) {
	f, err := d.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &diskFile{File: f, d: d}, nil
}

// Unwrap implements vfs.FS.
func (d *diskFS) Unwrap() vfs.FS { return d.FS }

// diskFile is a file opened for writing, or a directory.
type diskFile struct {
	vfs.File
	d *diskFS
}

// Write implements vfs.File. A write that was cut short by a full disk goes on
// where it stopped.
func (f *diskFile) Write(p []byte) (n int, err error) {
	err = f.d.retry(func() error {
		m, err := f.File.Write(p[n:])
		n += m
		f.d.written.Add(uint64(m))
		return err
	})
	return n, err
}

// WriteAt implements vfs.File.
func (f *diskFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.d.retry(func() error {
		m, err := f.File.WriteAt(p[n:], off+int64(n))
		n += m
		f.d.written.Add(uint64(m))
		return err
	})
	return n, err
}

// Sync implements vfs.File.
func (f *diskFile) Sync() error { return f.d.check(f.File.Sync()) }

// SyncData implements vfs.File.
func (f *diskFile) SyncData() error { return f.d.check(f.File.SyncData()) }

// SyncTo implements vfs.File.
func (f *diskFile) SyncTo(length int64) (bool, error) {
	full, err := f.File.SyncTo(length)
	return full, f.d.check(err)
}
