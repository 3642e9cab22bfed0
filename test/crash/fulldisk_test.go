package crash

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/test/faults"
)

// smallDisk mounts a file system of 96 MiB (Pebble keeps some 30 for itself), which takes root.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=96m"); err != nil {
		t.Fatalf("mount tmpfs: %v (EDGE_FULL_DISK asks for a test that takes root)", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil { // a log that was given up holds files
			t.Error(err)
		}
	})
	return dir
}

// TestRealFullDisk has another program fill the disk in the middle of traffic, to
// the last byte, and free it again. The same with injected errors runs in pkg/wal
// and pkg/bus; this one takes root and runs where EDGE_FULL_DISK is set.
func TestRealFullDisk(t *testing.T) {
	if os.Getenv("EDGE_FULL_DISK") == "" {
		return // part of make crash
	}
	row := faults.Open(t, "disk-full")
	dir := smallDisk(t)
	cfg := bus.DefaultConfig(filepath.Join(dir, "log"))
	cfg.MinFree, cfg.Retain, cfg.WALFlush = 2<<20, 0, 5*time.Millisecond
	b, err := bus.Open(cfg, bus.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := b.OpenReader("mqtt", bus.StartOldest)
	if err != nil {
		t.Fatal(err)
	}
	set := &frame.TagSet{Driver: "plc"}
	for i := range 100 {
		set.Tags = append(set.Tags, frame.Tag{Name: fmt.Sprint("plc.tag", i)})
	}
	const total = 3_000_000
	done := make(chan error, 1)
	go func() {
		for n := 0; n < total; n += 100 {
			batch := &frame.Batch{Set: set, Frames: make([]frame.Frame, 100)}
			for i := range batch.Frames {
				batch.Frames[i] = frame.Frame{Value: frame.IntValue(int64(n + i)), Tag: uint32(i)}
			}
			if err := b.Publish(t.Context(), batch); err != nil {
				done <- err
				return
			}
		}
		done <- b.Sync(t.Context())
	}()
	filler := filepath.Join(dir, "filler")
	next := uint64(1)
	wasFull := false
	var freed time.Time
	for next <= total {
		if next > total/3 && !wasFull {
			wasFull = true
			fill(t, filler)
			time.Sleep(1500 * time.Millisecond) // publishing stops, writes run into the end of the disk
			if s := b.Stats(); !s.Paused && !s.DiskFull {
				t.Error("nobody noticed that the disk is full")
			}
			if err := os.Remove(filler); err != nil {
				t.Fatal(err)
			}
			row.Fault(1)
			freed = time.Now()
		}
		batches, err := c.Read(t.Context(), 5000)
		if err != nil {
			t.Fatal(err)
		}
		for _, got := range batches {
			if got.FirstSeq != next || got.Frames[0].Value.Int() != int64(next)-1 {
				t.Fatalf("frame %d with %d, expected %d", got.FirstSeq, got.Frames[0].Value.Int(), next)
			}
			next = got.LastSeq() + 1
		}
		if !freed.IsZero() {
			row.Recovered(time.Since(freed))
			freed = time.Time{}
		}
		if err := c.Commit(bus.Commit{Ack: []bus.Range{{First: batches[0].FirstSeq, Last: next - 1}}}); err != nil {
			t.Fatal(err)
		}
	}
	row.Count(next-1, 0, 0) // anything else has ended the test
	if err := errors.Join(<-done, b.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestToolsOnFullDisk trims the log of a stopped gateway on a disk without a byte
// left: the ballast makes room. Without it, the tool says what is wrong.
func TestToolsOnFullDisk(t *testing.T) {
	if os.Getenv("EDGE_FULL_DISK") == "" {
		return // part of make crash
	}
	dir := smallDisk(t)
	cfg := bus.DefaultConfig(filepath.Join(dir, "log"))
	cfg.MinFree = 16 << 20
	b, err := bus.Open(cfg, bus.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	set := &frame.TagSet{Driver: "plc", Tags: []frame.Tag{{Name: "plc.a"}, {Name: "plc.b"}}}
	for n := range 1000 {
		if err := b.Publish(t.Context(), &frame.Batch{Set: set, Frames: []frame.Frame{{Value: frame.IntValue(int64(n))}, {Tag: 1}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	fill(t, filepath.Join(dir, "filler"))
	a, err := bus.OpenArchive(cfg.WALDir, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := a.GC(t.Context(), 0, false, false); err != nil || r.Last != 2000 {
		t.Errorf("gc: %+v, %v", r, err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(cfg.WALDir, "ballast")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the ballast is still there: %v", err)
	}
	fill(t, filepath.Join(dir, "filler2"))
	opened := make(chan error, 1)
	go func() {
		_, err := bus.OpenArchive(cfg.WALDir, true, nil)
		opened <- err
	}()
	select {
	case err := <-opened:
		if !errors.Is(err, bus.ErrDiskFull) {
			t.Errorf("without ballast: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the tool waits for ever")
	}
}

// fill writes to path until nothing fits any more.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
