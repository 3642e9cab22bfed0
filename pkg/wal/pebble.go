package wal

import (
	"cmp"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// framesBuffer is the memtable of a large log's frames, in bytes.
const framesBuffer = 8 << 20

// framesOptions tunes Pebble for a queue: keys only grow, every value is written
// once, read about once and deleted in order, so tables never overlap and move
// down the levels without being rewritten.
func (l *Log) framesOptions() *pebble.Options {
	o := l.commonOptions()
	o.MemTableSize = cmp.Or(l.memTable, l.buffer(framesBuffer))
	o.MemTableStopWritesThreshold = 4
	o.CacheSize = 2 << 20
	o.L0CompactionThreshold = 4
	o.L0StopWritesThreshold = 1000 // tables don't overlap: a high L0 costs nothing
	o.LBaseMaxBytes = 64 << 20
	o.TargetFileSizes[0] = 16 << 20
	for i := range o.Levels {
		o.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
		o.Levels[i].BlockSize = 8 << 10 // of a damaged one, Pebble takes a time quadratic in this to find the wrong bit
	}
	return o
}

// buffer returns the size of a database's memtable: most, but 1/64 of a small log
// and 256 KiB at least. Pebble keeps up to five log files of that size.
func (l *Log) buffer(most uint64) uint64 {
	if l.maxBytes == 0 {
		return most
	}
	return min(most, max(l.maxBytes/64, 256<<10))
}

// stateOptions: few small keys, overwritten all the time.
func (l *Log) stateOptions() *pebble.Options {
	o := l.commonOptions()
	o.MemTableSize = cmp.Or(l.memTable, l.buffer(1<<20))
	o.MemTableStopWritesThreshold = 4
	o.CacheSize = 512 << 10
	o.L0CompactionThreshold = 2
	return o
}

func (l *Log) commonOptions() *pebble.Options {
	o := &pebble.Options{
		FS: l.fs,
		// WAL sync chunks tell a torn end from damage in the middle; the table
		// format has a checksum on its footer too.
		FormatMajorVersion: pebble.FormatTableFormatV6,
		Logger:             pebbleLogger{l},
		MaxOpenFiles:       200,
		ReadOnly:           l.readOnly,
		// Statistics of tables steer compactions. In the tests that have the disk
		// fail they are off: Pebble reads for them after an Open that failed.
		DisableTableStats: l.memTable != 0,
	}
	o.Experimental.ReadSamplingMultiplier = -1 // no compactions because of reads
	o.EventListener = &pebble.EventListener{
		BackgroundError: l.backgroundError,
		DataCorruption:  l.damagedFile,
	}
	return o
}

// backgroundError learns of flushes and compactions that failed. A disk that
// can't be written is the end: Pebble would try again for ever, at full speed.
// Damage that a compaction met only keeps those files as they are.
func (l *Log) backgroundError(err error) {
	if pebble.IsCorruptionError(err) {
		l.log.Error("log: damaged files, run edge-bus check", "error", err)
	} else {
		l.fail(err)
	}
	time.Sleep(100 * time.Millisecond) // Pebble tries again at once
}

// damagedFile is told each time that somebody runs into a damaged file.
func (l *Log) damagedFile(i pebble.DataCorruptionInfo) {
	if _, known := l.damaged.LoadOrStore(i.Path, true); !known {
		l.log.Error("log: damaged file: stop the gateway and run edge-bus check --repair", "file", i.Path)
	}
}

// pebbleLogger passes on what matters. Fatalf must not return: Pebble's state is
// broken at that point. The goroutine stays until the process ends, which the
// owner of the log must see to when it learns of the failure.
type pebbleLogger struct{ l *Log }

func (p pebbleLogger) Infof(format string, args ...any) {
	p.l.log.Debug("pebble", "detail", slog.AnyValue(fmt.Sprintf(format, args...)))
}

func (p pebbleLogger) Errorf(format string, args ...any) {
	p.l.log.Warn("pebble", "detail", fmt.Sprintf(format, args...))
}

func (p pebbleLogger) Fatalf(format string, args ...any) {
	p.l.fail(fmt.Errorf(format, args...))
	select {}
}

const maxSeq = math.MaxUint64

func defaultFS() FS { return vfs.Default }
