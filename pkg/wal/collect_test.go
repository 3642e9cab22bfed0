package wal

import (
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestLatePin has a consumer pin a range that it pins already, after the log has
// dropped what is before and behind: the frames are there, so it may.
func TestLatePin(t *testing.T) {
	l := openLog(t, "log", Options{FS: vfs.NewMem()})
	defer closeLog(t, l)
	c := consumer(t, l, "mqtt")
	appendFrames(t, l, testSet("plc", 10), 1, 20, 50) // 1…1000
	win := Range{1, 100}
	if err := c.Commit(Commit{Put: []Record{{Key: "m/00001", Pin: win}, {Key: "w/1", Pin: win}}, Sync: true}); err != nil {
		t.Fatal(err)
	}
	// drop_oldest gives up 1…500 but for what is pinned
	if _, err := l.Drop(Range{1, 500}, []*Bookmark{c}, Gap{Reason: "overflow"}); err != nil {
		t.Fatal(err)
	}
	if err := l.Collect(501, false); err != nil {
		t.Fatal(err)
	}
	// frames are there
	mustReadAll(t, l, 1, 100)
	// next message of the same window
	err := c.Commit(Commit{Put: []Record{{Key: "m/00002", Pin: win}, {Key: "w/1", Pin: win}}, Sync: true})
	if err != nil {
		t.Fatal("next part of a pinned window:", err)
	}
}

// TestCollectInsideAppend has the collector run between the two entries of one
// Append, the second of which begins a segment: the tag sets of the first must stay.
func TestCollectInsideAppend(t *testing.T) {
	l := openLog(t, "log", Options{FS: vfs.NewMem()})
	defer closeLog(t, l)
	c := consumer(t, l, "mqtt")
	set := testSet("plc", 10)
	appendFrames(t, l, set, 1, 20, 50) // 1…1000, set in segment 1
	if err := c.Commit(Commit{Ack: []Range{{1, 900}}}); err != nil {
		t.Fatal(err)
	}
	if err := l.Collect(901, false); err != nil { // floor 901, segment 1
		t.Fatal(err)
	}
	if err := c.Commit(Commit{Ack: []Range{{1, 1000}}}); err != nil {
		t.Fatal(err)
	}
	// What Append does with two entries, with the collector running in between.
	b := l.frames.NewBatch()
	e1 := entry(set, 1, 1001, 50)
	e2 := entry(set, 1, 1051, 50)
	if _, err := l.appendOne(b, &e1, l.endPos.Load()); err != nil {
		t.Fatal(err)
	}
	l.w.bytes = 17 << 20 // the segment is full
	if _, err := l.appendOne(b, &e2, l.endPos.Load()+100); err != nil {
		t.Fatal(err)
	}
	if err := l.Collect(1001, false); err != nil { // the collector's goroutine
		t.Fatal(err)
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		t.Fatal(err)
	}
	l.appended.Store(1100)
	if _, err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	if _, err := readAll(l, 1001, 1100); err != nil {
		t.Fatal(err)
	}
}

// TestCollectBesideAppend is the same by real goroutines: only that the segment is
// nearly full is set by hand.
func TestCollectBesideAppend(t *testing.T) {
	l := openLog(t, "log", Options{FS: vfs.NewMem()})
	defer closeLog(t, l)
	c := consumer(t, l, "mqtt")
	set := testSet("plc", 10)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_ = l.Collect(1<<60, false)
			}
		}
	}()
	defer func() { close(stop); <-done }()
	big := entry(set, 1, 1, 10000)
	for i := range 300 {
		l.w.bytes = 16<<20 - 100 // the first entry fills the segment, the second begins one
		at := l.Next()
		es := []Entry{entry(set, 1, at, 200)}
		for next := at + 200; len(es) < 10; next += 10000 {
			e := big
			e.First = next
			es = append(es, e)
		}
		if err := l.Append(es); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Sync(); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Read(at, at, 1); err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
		if err := c.Commit(Commit{Ack: []Range{{1, l.Durable()}}}); err != nil {
			t.Fatal(err)
		}
	}
}
