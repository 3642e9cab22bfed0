package wal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/go-cmp/cmp"

	"github.com/edge-gateway/edge-gateway/test/faults"
)

// TestCrashInRepair crashes the machine at each write of a repair. The repair that
// is made then finds what the first would have found, and nothing else is lost.
func TestCrashInRepair(t *testing.T) {
	row := faults.Open(t, "power-repair")
	for name, harm := range map[string]func(*testing.T, FS){"a block": dropBlock, "a table": flipTable} {
		t.Run(name, func(t *testing.T) {
			mem := damagedMem(t, harm)
			var count atomic.Int64
			want, err := repairOn(errorfs.Wrap(clone(mem), errorfs.InjectorFunc(func(op errorfs.Op) error {
				if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
					count.Add(1)
				}
				return nil
			})))
			if err != nil {
				t.Fatal(err)
			}
			lost := 0
			for _, r := range want {
				lost += int(r.Last - r.First + 1)
			}
			n := count.Load()
			step := int64(campaign(8, int(n)))
			t.Logf("%v damaged, %d writes, every %d", want, n, step)
			for k := int64(1); k <= n; k += step {
				if err := crashInRepair(mem, k, want); err != nil {
					t.Fatalf("crash at write %d: %v", k, err)
				}
				row.Fault(1)
				row.Count(2550-uint64(lost), 0, 0) // a frame that is lost has ended the test, but for those that were damaged before
			}
		})
	}
}

// damagedMem has frames 1 to 3000 in blocks of 100 and a consumer that has had 500
// of them and pins 301 to 350; harm is done to it.
func damagedMem(t *testing.T, harm func(*testing.T, FS)) *vfs.MemFS {
	mem := vfs.NewCrashableMem()
	l := openLog(t, "log", Options{FS: mem})
	c := consumer(t, l, "mqtt")
	appendFrames(t, l, testSet("plc", 10), 1, 30, 100)
	if err := c.Commit(Commit{Ack: []Range{{1, 500}}, Put: []Record{{Key: "m", Pin: Range{301, 350}}}, Sync: true}); err != nil {
		t.Fatal(err)
	}
	if err := l.Collect(501, false); err != nil {
		t.Fatal(err)
	}
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)
	harm(t, mem)
	return clone(mem)
}

func clone(mem *vfs.MemFS) *vfs.MemFS { return mem.CrashClone(vfs.CrashCloneCfg{}) }

func dropBlock(t *testing.T, fs FS) {
	db, err := pebble.Open("log/frames", &pebble.Options{FS: fs, FormatMajorVersion: pebble.FormatTableFormatV6, Logger: pebbleLogger{&Log{log: slog.New(slog.DiscardHandler)}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Delete(blockKey(1001), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// flipTable changes a byte in the middle of the first large table.
func flipTable(t *testing.T, fs FS) {
	names, err := fs.List("log/frames")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		path := fs.PathJoin("log/frames", name)
		info, err := fs.Stat(path)
		if err != nil || !strings.HasSuffix(name, ".sst") || info.Size() < 4000 {
			continue
		}
		f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 1)
		if _, err := f.ReadAt(p, info.Size()/2); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		p[0] ^= 0x80
		if _, err := f.WriteAt(p, info.Size()/2); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatal("no table of some size")
}

// repairOn repairs the log on fs and returns what was damaged.
func repairOn(fs FS) ([]Range, error) {
	l, err := Open("log", Options{FS: fs, memTable: 64 << 10, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	r, err := l.Repair(context.Background())
	if err != nil {
		return nil, err
	}
	return damagedRanges(r), l.Close()
}

func crashInRepair(mem *vfs.MemFS, k int64, want []Range) error {
	disk := clone(mem)
	var left *vfs.MemFS
	var count atomic.Int64
	rng := rand.New(rand.NewPCG(3, uint64(k)))
	inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && count.Add(1) == k {
			left = disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
		}
		return nil
	})
	if _, err := repairOn(errorfs.Wrap(disk, inject)); err != nil {
		return err
	}
	if left == nil {
		return nil
	}
	if _, err := repairOn(left); err != nil {
		return fmt.Errorf("the second repair: %w", err)
	}
	l, err := Open("log", Options{FS: left, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fmt.Errorf("after the second repair: %w", err)
	}
	if l.Next() != 3001 {
		return fmt.Errorf("next seq %d", l.Next())
	}
	var told []Range
	for _, g := range l.Gaps() {
		told = append(told, g.Range)
	}
	if d := cmp.Diff(want, told); d != "" {
		return fmt.Errorf("gaps: %s", d)
	}
	for _, r := range []Range{{301, 350}, {501, 3000}} {
		for _, left := range subtract(r, want) {
			if _, err := readAll(l, left.First, left.Last); err != nil {
				return err
			}
		}
	}
	report, err := l.Check(context.Background())
	if err != nil || len(report.Damaged) > 0 {
		return errors.Join(fmt.Errorf("check: %v", report.Damaged), err)
	}
	return l.Close()
}
