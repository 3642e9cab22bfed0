package wal

import (
	"fmt"
	"time"
)

// Stats describes the log.
type Stats struct {
	Epoch       string
	First       uint64 // first seq held; Next if none is
	Last        uint64 // last seq appended
	Durable     uint64 // last seq that survives a crash
	Bytes       uint64 // of the blocks held
	DiskBytes   uint64 // on the disk, with logs and files to be deleted
	Appended    uint64 // bytes of blocks appended since Open
	Written     uint64 // bytes written to files since Open
	Free        uint64 // bytes that the file system has left
	WaitingFull bool   // a write waits for space
}

// Stats returns the log's figures. It asks the databases and the disk.
func (l *Log) Stats() Stats {
	s := Stats{
		Epoch: l.Epoch(), First: l.Floor(), Last: l.appended.Load(), Durable: l.Durable(), Bytes: l.Bytes(),
		Appended: l.endPos.Load() - l.startPos, Written: l.disk.written.Load(), WaitingFull: l.disk.full.Load() > 0,
	}
	if l.begin() != nil {
		return s // closed or failed: what memory knows
	}
	defer l.end()
	s.DiskBytes = l.frames.Metrics().DiskSpaceUsage() + l.state.Metrics().DiskSpaceUsage()
	s.Free, _ = l.FreeSpace() // unknown is 0
	return s
}

// FreeSpace returns how many bytes the file system has left.
func (l *Log) FreeSpace() (uint64, error) {
	u, err := l.fs.GetDiskUsage(l.dir)
	return u.AvailBytes, err
}

// WaitingFull returns why writes wait for room on the disk; nil if none does. Room is
// bytes, a quota, or inodes: a file system that has no inodes left says the same.
func (l *Log) WaitingFull() error {
	p := l.disk.why.Load()
	if p == nil || l.disk.full.Load() == 0 {
		return nil
	}
	if outOfInodes(l.dir) {
		return fmt.Errorf("no inodes are left on the disk: delete files: %w", *p)
	}
	return *p
}

// HoldBallast makes the ballast file again after a full disk; call it when there
// is space.
func (l *Log) HoldBallast() { l.disk.holdBallast() }

// OnSync has f called with the duration of each sync of the log.
func (l *Log) OnSync(f func(time.Duration)) { l.disk.onSync.Store(&f) }

// Written returns the bytes of blocks appended and the bytes written to files
// since Open: their quotient is the write amplification.
func (l *Log) Written() (appended, written uint64) {
	return l.endPos.Load() - l.startPos, l.disk.written.Load()
}
