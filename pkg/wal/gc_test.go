package wal

import (
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// bigEntry has 2,000 frames that take 8 bytes each.
func bigEntry(t *testing.T, r *rand.Rand, set *frame.TagSet, seq uint64) Entry {
	t.Helper()
	b := &frame.Batch{Set: set}
	for i := range 2000 {
		b.Frames = append(b.Frames, frame.Frame{Value: frame.FloatValue(r.NormFloat64()), Tag: uint32(i % len(set.Tags))})
	}
	block, err := frame.AppendBlock(nil, b)
	if err != nil {
		t.Fatal(err)
	}
	return Entry{First: seq, Count: 2000, Set: set, Block: block}
}

func countFrames(t *testing.T, l *Log, first, last uint64) (n uint64) {
	t.Helper()
	s := Scan{From: first, To: last, Frames: func(b *frame.Batch) error { n += uint64(len(b.Frames)); return nil }}
	if err := s.Run(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestCollectFarBehind deletes whole tables far from the log's end, around what is
// pinned there.
func TestCollectFarBehind(t *testing.T) {
	l := openLog(t, "log", Options{FS: vfs.NewMem()})
	defer closeLog(t, l)
	c := consumer(t, l, "mqtt")
	r := rand.New(rand.NewPCG(1, 2))
	set := testSet("plc", 100)
	for l.Bytes() < 100<<20 {
		if err := l.Append([]Entry{bigEntry(t, r, set, l.Next())}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	pin := Range{500_001, 503_000} // parts of two blocks, of 8 MiB behind the start
	if err := c.Commit(Commit{Put: []Record{{Key: "k", Pin: pin}}}); err != nil {
		t.Fatal(err)
	}
	if err := c.Commit(Commit{Ack: []Range{{1, l.Durable()}}}); err != nil {
		t.Fatal(err)
	}
	if err := l.Collect(1_000_001, true); err != nil {
		t.Fatal(err)
	}
	if l.Floor() != 1 {
		t.Fatalf("floor %d: so little, so far behind, waits", l.Floor())
	}
	if err := l.Collect(4_000_001, true); err != nil {
		t.Fatal(err)
	}
	if l.Floor() != 4_000_001 {
		t.Fatalf("floor %d", l.Floor())
	}
	if got, err := l.Read(pin.First, pin.Last, 1<<20); err != nil || frame.CountFrames(got) != 3000 {
		t.Errorf("pinned: %d frames, %v", frame.CountFrames(got), err)
	}
	if got, err := l.Read(1, 500_000, 1); err != nil || len(got) != 0 {
		t.Errorf("deleted frames are there: %v, %v", got, err)
	}
	if got, err := l.Read(504_001, 4_000_000, 1); err != nil || len(got) != 0 {
		t.Errorf("deleted frames are there: %v, %v", got, err)
	}
	if n := countFrames(t, l, 4_000_001, 0); n != l.Durable()-4_000_000 {
		t.Errorf("%d frames left, expected %d", n, l.Durable()-4_000_000)
	}
	if err := c.Commit(Commit{Delete: []string{"k"}}); err != nil {
		t.Fatal(err)
	}
	if err := l.Collect(4_000_001, false); err != nil {
		t.Fatal(err)
	}
	if got, err := l.Read(1, 4_000_000, 1); err != nil || len(got) != 0 {
		t.Errorf("unpinned frames are there: %v, %v", got, err)
	}
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	// Besides there are Pebble's log files, and tables that are cut at a pin.
	m := l.frames.Metrics()
	t.Logf("%d MiB of log, %d MiB of tables, %d MiB on disk", l.Bytes()>>20, m.Table.Local.LiveSize>>20, m.DiskSpaceUsage()>>20)
	if used := m.Table.Local.LiveSize; used > l.Bytes()+32<<20 {
		t.Errorf("%d MiB of tables for %d MiB of log", used>>20, l.Bytes()>>20)
	}
}

// TestLongLiveRun: a log whose frames are delivered at once stays small, without
// tombstones piling up, and is written hardly more than once.
func TestLongLiveRun(t *testing.T) {
	l := openLog(t, "log", Options{FS: vfs.NewMem()})
	defer closeLog(t, l)
	c := consumer(t, l, "mqtt")
	r := rand.New(rand.NewPCG(3, 4))
	set := testSet("plc", 100)
	behind := uint64(0)
	for range 3000 { // 100 MB, acknowledged 160 kB behind, collected each 80 kB
		for range 5 {
			if err := l.Append([]Entry{bigEntry(t, r, set, l.Next())}); err != nil {
				t.Fatal(err)
			}
		}
		last, err := l.Sync()
		if err != nil {
			t.Fatal(err)
		}
		if behind > 0 {
			if err := c.Commit(Commit{Ack: []Range{{1, behind}}}); err != nil {
				t.Fatal(err)
			}
			if err := l.Collect(behind+1, true); err != nil {
				t.Fatal(err)
			}
		}
		behind = last
	}
	m := l.frames.Metrics()
	appended, written := l.Written()
	amp := float64(written) / float64(appended)
	t.Logf("%d MB appended, write amplification %.2f, %d tombstones, %d MB on disk, %d tables", appended/1e6, amp, m.Keys.TombstoneCount, m.DiskSpaceUsage()/1e6, m.Table.Local.LiveCount)
	if amp > 1.3 {
		t.Errorf("write amplification %.2f, expected at most 1.3", amp)
	}
	if m.Keys.TombstoneCount > 2000 || m.DiskSpaceUsage() > 64<<20 || m.Table.Local.LiveCount > 50 {
		t.Error("the log does not stay small")
	}
}
