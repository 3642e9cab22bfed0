package bus

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// fillLog publishes noise, which does not compress, until the log holds about n bytes.
func fillLog(t *testing.T, b *Bus, set *frame.TagSet, n uint64) {
	t.Helper()
	for b.log.Bytes() < n {
		for range 20 {
			publish(t, b, batchOf(set, 500, int64(1)<<61))
		}
		syncBus(t, b)
	}
}

// small makes the log full at 1 MiB.
func small(dir string, o Overflow) Config {
	cfg := testConfig(dir)
	cfg.WALMaxBytes, cfg.Overflow = 1<<20, o
	return cfg
}

type gapObject struct {
	From, To uint64
	Reason   string
	Consumer string
}

// gapsTold returns the sys.gap frames in the log.
func gapsTold(t *testing.T, b *Bus) []gapObject {
	t.Helper()
	var gaps []gapObject
	_, err := b.Archive().Replay(t.Context(), Selection{Filter: frame.Filter{Tags: []string{"sys.gap"}}}, func(b *frame.Batch) error {
		for _, f := range b.Frames {
			var g gapObject
			if err := json.Unmarshal([]byte(f.Value.Text()), &g); err != nil {
				return err
			}
			gaps = append(gaps, g)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return gaps
}

func TestSpillPausesAndResumes(t *testing.T) {
	pressure := newPressureLog()
	b := openBus(t, small(t.TempDir(), Spill), Deps{OnPressure: pressure.hook})
	c := openReader(t, b, "mqtt")
	set := testSet("plc", 100)
	fillLog(t, b, set, 900<<10)
	pressure.expect(t, true)
	// Drivers that do not listen run into the limit.
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	blocked := make(chan error, 1)
	var last atomic.Uint64
	go func() {
		for {
			batch := batchOf(set, 500, 1<<61)
			if err := b.Publish(ctx, batch); err != nil {
				blocked <- err
				return
			}
			last.Store(batch.LastSeq())
		}
	}()
	waitFor(t, "the log to be full", func() bool { return b.log.Bytes() >= 1<<20 })
	time.Sleep(50 * time.Millisecond) // to see whether more gets in
	if held := b.log.Bytes(); held > 3<<20 {
		t.Errorf("the log holds %d bytes, its limit is 1 MiB", held)
	}
	cancel()
	if err := <-blocked; !errors.Is(err, context.Canceled) {
		t.Errorf("a blocked publisher got %v", err)
	}
	syncBus(t, b)
	if err := c.Commit(Commit{Ack: []Range{{First: 1, Last: last.Load()}}}); err != nil {
		t.Fatal(err)
	}
	pressure.expect(t, false)
	publish(t, b, batchOf(set, 1, 0))
	if gaps := gapsTold(t, b); len(gaps) != 0 {
		t.Errorf("gaps %+v", gaps)
	}
}

func TestDropOldestTellsAndKeepsPinned(t *testing.T) {
	b := openBus(t, small(t.TempDir(), DropOldest), Deps{})
	c := openReader(t, b, "mqtt")
	set := testSet("plc", 100)
	publish(t, b, batchOf(set, 1000, 0))
	syncBus(t, b)
	readTo(t, c, 1, 1000, 0)
	if err := c.Commit(Commit{Put: []Record{{Key: "7", Pin: Range{First: 301, Last: 400}}}, Sync: true}); err != nil {
		t.Fatal(err)
	}
	fillLog(t, b, set, 1<<20+1)
	waitFor(t, "frames to be dropped", func() bool { return b.Stats().FirstSeq > 1000 })
	waitFor(t, "it to be told", func() bool { return len(gapsTold(t, b)) >= 2 })
	floor := b.Stats().FirstSeq
	missing := map[uint64]bool{}
	for _, g := range gapsTold(t, b) {
		if g.Reason != "overflow" {
			t.Errorf("reason %q", g.Reason)
		}
		for seq := g.From; seq <= g.To; seq++ {
			missing[seq] = true
		}
	}
	for seq := uint64(1); seq < floor; seq++ {
		if pinned := seq >= 301 && seq <= 400; missing[seq] == pinned {
			t.Fatalf("frame %d: told as gone: %v, pinned: %v", seq, missing[seq], pinned)
		}
	}
	if got, err := c.Fetch(301, 400); err != nil || frame.CountFrames(got) != 100 {
		t.Errorf("the pinned message: %d frames, %v", frame.CountFrames(got), err)
	}
	if got := c.Acked(); got != 300 {
		t.Errorf("position %d, expected 300: what is pinned is not delivered yet", got)
	}
	batches, err := c.Read(t.Context(), 10)
	if err != nil || batches[0].FirstSeq < floor {
		t.Fatalf("the next read begins at %v, %v; expected %d or later", batches, err, floor)
	}
	if err := c.Commit(Commit{Ack: []Range{{First: 301, Last: 400}}, Delete: []string{"7"}}); err != nil {
		t.Fatal(err)
	}
	if got := c.Acked(); got+1 < floor {
		t.Errorf("position %d: the dropped frames count as settled up to %d", got, floor)
	}
	// With the pin gone, its frames go too.
	waitFor(t, "the pinned frames to go", func() bool {
		got, err := b.log.Read(1, floor-1, 10)
		return err == nil && len(got) == 0
	})
}

func TestParkedLosesFirst(t *testing.T) {
	for _, policy := range []Overflow{Spill, Pause, DropOldest} {
		t.Run(string(policy), func(t *testing.T) {
			cfg := small(t.TempDir(), policy)
			b := openBus(t, cfg, Deps{})
			parked, live := openReader(t, b, "old"), openReader(t, b, "mqtt")
			parked.Close()
			set := testSet("plc", 100)
			for b.Stats().FirstSeq == 1 { // the live one keeps up; in the end the parked one must give
				batch := batchOf(set, 500, 1<<61)
				publish(t, b, batch)
				syncBus(t, b)
				got, err := live.Read(t.Context(), 1<<20)
				if err != nil {
					t.Fatal(err)
				}
				last := got[len(got)-1].LastSeq()
				if err := live.Commit(Commit{Ack: []Range{{First: 1, Last: last}}}); err != nil {
					t.Fatal(err)
				}
			}
			waitFor(t, "it to be told", func() bool { return len(gapsTold(t, b)) > 0 })
			for _, g := range gapsTold(t, b) {
				if g.Consumer != "old" || g.Reason != "parked" {
					t.Errorf("gap %+v: only the parked consumer may miss frames", g)
				}
			}
			if err := b.RemoveConsumer("mqtt"); err == nil {
				t.Error("a consumer in use was removed")
			}
			if err := b.RemoveConsumer("old"); err != nil {
				t.Error(err)
			}
			if n := len(b.Consumers()); n != 1 {
				t.Errorf("%d consumers left, expected 1", n)
			}
		})
	}
}

func TestParkedKeepsItsPlace(t *testing.T) {
	cfg := testConfig(t.TempDir())
	b := openBus(t, cfg, Deps{})
	c := openReader(t, b, "mqtt")
	if _, err := b.OpenReader("mqtt", StartOldest); err == nil {
		t.Error("a name was held twice")
	}
	set := testSet("plc", 10)
	publish(t, b, batchOf(set, 100, 0))
	readTo(t, c, 1, 100, 0)
	if err := c.Commit(Commit{Ack: []Range{{First: 1, Last: 40}}}); err != nil {
		t.Fatal(err)
	}
	c.Close()
	publish(t, b, batchOf(set, 100, 100))
	if s := b.Consumers(); !s[0].Parked || s[0].ParkedSince.IsZero() {
		t.Errorf("consumers %+v", s)
	}
	readTo(t, openReader(t, b, "mqtt"), 41, 200, 0)
	late, err := b.OpenReader("late", StartEnd)
	if err != nil {
		t.Fatal(err)
	}
	publish(t, b, batchOf(set, 5, 200))
	readTo(t, late, 201, 205, 0)
}

func TestRetain(t *testing.T) {
	now := atomic.Int64{}
	now.Store(1763888400)
	clock := func() time.Time { return time.Unix(now.Load(), 0) }
	for _, tc := range []struct {
		name   string
		retain time.Duration
		bytes  uint64
		first  uint64 // what must be the first frame after 10 × 1000 frames, one minute apart
	}{
		{"time", 5*time.Minute + time.Second, 0, 4001},
		{"bytes", time.Hour, 1, 10001},
		{"both", time.Hour, 1 << 30, 1},
		{"none", 0, 1 << 30, 10001},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := testConfig(t.TempDir())
			cfg.Retain, cfg.RetainBytes = tc.retain, tc.bytes
			b := openBus(t, cfg, Deps{Now: clock})
			c := openReader(t, b, "mqtt")
			set := testSet("plc", 100)
			for i := range 10 {
				now.Add(60)
				publish(t, b, batchOf(set, 1000, int64(i*1000)))
				syncBus(t, b)
			}
			if err := c.Commit(Commit{Ack: []Range{{First: 1, Last: 10000}}}); err != nil {
				t.Fatal(err)
			}
			wake(b.wakeCollector)
			waitFor(t, "the collector", func() bool { return b.Stats().FirstSeq >= tc.first })
			time.Sleep(3 * collectPause) // for it to go too far
			if s := b.Stats(); s.FirstSeq != tc.first {
				t.Errorf("first frame %d, expected %d", s.FirstSeq, tc.first)
			}
		})
	}
}

// TestDiskNearlyFull: below min_free nothing enters; above it all goes on.
func TestDiskNearlyFull(t *testing.T) {
	mem := vfs.NewMem()
	mem.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 1 << 30})
	cfg := testConfig("log")
	cfg.MinFree = 100 << 20
	pressure := newPressureLog()
	b := openBus(t, cfg, Deps{FS: mem, OnPressure: pressure.hook})
	c := openReader(t, b, "mqtt")
	set := testSet("plc", 10)
	publish(t, b, batchOf(set, 10, 0))
	mem.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 99 << 20})
	pressure.expect(t, true)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := b.Publish(ctx, batchOf(set, 10, 10)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("publish on a nearly full disk: %v", err)
	}
	mem.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 126 << 20})
	pressure.expect(t, false)
	publish(t, b, batchOf(set, 10, 10))
	readTo(t, c, 1, 20, 0)
}

// TestDiskReallyFull: writes fail for want of space for a while, in the middle of
// full traffic; publishers wait, and nothing is lost.
func TestDiskReallyFull(t *testing.T) {
	var full atomic.Bool
	inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && (op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpCreate) {
			return &fs.PathError{Op: "write", Path: op.Path, Err: syscall.ENOSPC}
		}
		return nil
	})
	b := openBus(t, testConfig("log"), Deps{FS: errorfs.Wrap(vfs.NewMem(), inject)})
	c := openReader(t, b, "mqtt")
	set := testSet("plc", 100)
	var published atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 2000 {
			if err := b.Publish(t.Context(), batchOf(set, 100, int64(i*100))); err != nil {
				t.Error(err)
				return
			}
			published.Add(100)
		}
	}()
	waitFor(t, "some traffic", func() bool { return published.Load() > 10000 })
	full.Store(true)
	waitFor(t, "a write to wait for space", func() bool { return b.log.Stats().WaitingFull })
	time.Sleep(30 * time.Millisecond) // publishers fill what room there is
	full.Store(false)
	<-done
	readTo(t, c, 1, 200000, 0)
}

// TestFailedDisk: a disk that can't be written is reported once, and everything
// ends with an error instead of hanging.
func TestFailedDisk(t *testing.T) {
	var dead atomic.Bool
	inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if dead.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return syscall.EIO
		}
		return nil
	})
	failures := make(chan error, 10)
	b, err := Open(testConfig("log"), Deps{FS: errorfs.Wrap(vfs.NewMem(), inject), OnFailure: func(err error) { failures <- err }})
	if err != nil {
		t.Fatal(err)
	}
	c := openReader(t, b, "mqtt")
	dead.Store(true)
	for err = nil; err == nil; {
		err = b.Publish(t.Context(), batchOf(testSet("plc", 10), 10, 0))
	}
	if err := <-failures; !errors.Is(err, ErrFailed) {
		t.Errorf("reported %v", err)
	}
	if _, err := c.Read(t.Context(), 1); !errors.Is(err, ErrFailed) {
		t.Errorf("read: %v", err)
	}
	if err := b.Sync(t.Context()); !errors.Is(err, ErrFailed) {
		t.Errorf("sync: %v", err)
	}
	if err := b.Close(); !errors.Is(err, ErrFailed) {
		t.Errorf("close: %v", err)
	}
	if len(failures) != 0 {
		t.Error("reported twice")
	}
}

func TestLocked(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	openBus(t, testConfig(dir), Deps{})
	if _, err := Open(testConfig(dir), Deps{}); !errors.Is(err, ErrLocked) {
		t.Errorf("second open: %v", err)
	}
	if _, err := OpenArchive(dir, false, nil); !errors.Is(err, ErrLocked) {
		t.Errorf("archive of a running gateway: %v", err)
	}
	if _, err := OpenArchive(filepath.Join(dir, "nowhere"), false, nil); !errors.Is(err, ErrNoLog) {
		t.Errorf("archive of nothing: %v", err)
	}
}
