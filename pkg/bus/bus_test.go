package bus

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// testConfig is without the waits and reserves that tests don't need.
func testConfig(dir string) Config {
	c := DefaultConfig(dir)
	c.RingPow, c.WALFlush, c.MinFree, c.Retain = 14, time.Millisecond, 0, 0
	return c
}

func openBus(t testing.TB, cfg Config, deps Deps) *Bus {
	t.Helper()
	if deps.Log == nil {
		deps.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
	b, err := Open(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func openReader(t testing.TB, b *Bus, name string) *Reader {
	t.Helper()
	c, err := b.OpenReader(name, StartOldest)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func testSet(driver string, n int) *frame.TagSet {
	s := &frame.TagSet{Driver: driver}
	for i := range n {
		s.Tags = append(s.Tags, frame.Tag{Name: fmt.Sprintf("%s.tag%03d", driver, i), Unit: "bar"})
	}
	return s
}

// batchOf returns n frames whose values count up from value.
func batchOf(set *frame.TagSet, n int, value int64) *frame.Batch {
	b := &frame.Batch{Set: set, ConfigRev: 7}
	for i := range n {
		b.Frames = append(b.Frames, frame.Frame{Value: frame.IntValue(value + int64(i)), TS: 1763888400000000000 + value, Tag: uint32(i % len(set.Tags))})
	}
	return b
}

func publish(t testing.TB, b *Bus, batch *frame.Batch) {
	t.Helper()
	if err := b.Publish(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
}

func syncBus(t testing.TB, b *Bus) {
	t.Helper()
	if err := b.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// readTo reads up to and with seq last and checks that nothing is missing and
// that frame seq has the value seq-1+offset.
func readTo(t testing.TB, c *Reader, first, last uint64, offset int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for at := first; at <= last; {
		batches, err := c.Read(ctx, 1000)
		if err != nil {
			t.Fatalf("read at %d: %v", at, err)
		}
		for _, b := range batches {
			if at > last {
				break
			}
			if b.FirstSeq != at {
				t.Fatalf("batch begins at %d, expected %d", b.FirstSeq, at)
			}
			for i := 0; i < len(b.Frames) && at <= last; i++ {
				if v := b.Frames[i].Value.Int(); v != int64(at)-1+offset {
					t.Fatalf("frame %d has value %d", at, v)
				}
				at++
			}
		}
	}
	c.Seek(last + 1) // it may have read further
}

func TestPublishReadRestart(t *testing.T) {
	cfg := testConfig(t.TempDir())
	set := testSet("plc", 50)
	b := openBus(t, cfg, Deps{})
	c := openReader(t, b, "mqtt")
	for i := range 40 {
		publish(t, b, batchOf(set, 100, int64(i*100)))
	}
	readTo(t, c, 1, 4000, 0)
	if err := c.Commit(Commit{Ack: []Range{{First: 1, Last: 1000}, {First: 2001, Last: 2500}}, Put: []Record{{Key: "1", Value: []byte("x"), Pin: Range{First: 1500, Last: 1600}}}}); err != nil {
		t.Fatal(err)
	}
	epoch := b.Epoch()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	b = openBus(t, cfg, Deps{})
	if b.Epoch() != epoch {
		t.Errorf("epoch %s became %s", epoch, b.Epoch())
	}
	c = openReader(t, b, "mqtt")
	if got := c.Acked(); got != 1000 {
		t.Errorf("position %d, expected 1000", got)
	}
	readTo(t, c, 1001, 2000, 0)
	readTo(t, c, 2501, 4000, 0)
	records, err := c.Records()
	if err != nil || len(records) != 1 || records[0].Key != "1" || string(records[0].Value) != "x" || records[0].Pin != (Range{First: 1500, Last: 1600}) {
		t.Errorf("records %+v, %v", records, err)
	}
	got, err := c.Fetch(1550, 1750)
	if err != nil || frame.CountFrames(got) != 201 || got[0].FirstSeq != 1550 {
		t.Errorf("fetch: %d frames, %v", frame.CountFrames(got), err)
	}
	if tag := got[0].Tag(0); tag.Unit != "bar" || got[0].ConfigRev != 7 || got[0].Set.Driver != "plc" {
		t.Errorf("fetched %+v of %+v", tag, got[0])
	}
	publish(t, b, batchOf(set, 3, 4000))
	readTo(t, c, 4001, 4003, 0)
}

// long reports whether the long campaigns are asked for (make crash).
func long() bool { return os.Getenv("EDGE_CRASH") == "all" }

// TestRewindGoesBackOnly sets consumers to a seq that one has passed and the other
// has not reached: going forward would skip frames.
func TestRewindGoesBackOnly(t *testing.T) {
	b := openBus(t, testConfig(t.TempDir()), Deps{})
	ahead, behind := openReader(t, b, "ahead"), openReader(t, b, "behind")
	publish(t, b, batchOf(testSet("plc", 1), 100, 1))
	syncBus(t, b)
	for c, acked := range map[*Reader]uint64{ahead: 90, behind: 10} {
		if err := c.Commit(Commit{Ack: []Range{{First: 1, Last: acked}}, Sync: true}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Rewind(50); err != nil {
		t.Fatal(err)
	}
	if ahead.Acked() != 49 || behind.Acked() != 10 {
		t.Errorf("acknowledged up to %d and %d; want 49 and 10", ahead.Acked(), behind.Acked())
	}
}
