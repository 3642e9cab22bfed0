package bus

import (
	"context"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// TestPause: the next sync begins as soon as the disk and the rate allow, and never
// later than WALFlush asks.
func TestPause(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		flush time.Duration
		rate  int
		took  time.Duration
		want  time.Duration
	}{
		{100 * ms, 100, 0, 10 * ms}, // nothing was synced yet
		{100 * ms, 100, ms, 9 * ms}, // a fast disk: as often as the rate allows
		{100 * ms, 100, 2 * ms, 8 * ms},
		{100 * ms, 100, 10 * ms, 40 * ms}, // a slow one is left alone for most of the time
		{100 * ms, 100, 50 * ms, 100 * ms},
		{100 * ms, 100, 3 * time.Second, 100 * ms}, // as if there were no rate
		{100 * ms, 10, ms, 99 * ms},
		{20 * ms, 10, ms, 20 * ms}, // what WALFlush promises comes first
		{0, 100, ms, 0},
		{100 * ms, 0, ms, 39 * ms}, // as the disk bears
	} {
		cfg := Config{WALFlush: c.flush, WALSyncRate: c.rate}
		if got := cfg.pause(c.took, 25); got != c.want {
			t.Errorf("flush %v, rate %d, after %v: %v, expected %v", c.flush, c.rate, c.took, got, c.want)
		}
	}
}

// TestSyncRate: with a rate that allows it, nobody waits for WALFlush; with a low one
// there are no more syncs than it says.
func TestSyncRate(t *testing.T) {
	for _, c := range []struct {
		rate  int
		flush time.Duration
		quick bool
	}{{1000, time.Minute, true}, {1, time.Minute, false}} {
		cfg := DefaultConfig(t.TempDir())
		cfg.WALFlush, cfg.WALSyncRate, cfg.MinFree, cfg.Retain = c.flush, c.rate, 0, 0
		b, err := Open(cfg, Deps{})
		if err != nil {
			t.Fatal(err)
		}
		set := &frame.TagSet{Driver: "plc", Tags: []frame.Tag{{Name: "a"}}}
		shown, last := 0, uint64(0)
		end := time.Now().Add(700 * time.Millisecond)
		if c.quick {
			end = end.Add(30 * time.Second) // a bound for a machine under load
		}
		for time.Now().Before(end) && (shown < 10 || !c.quick) {
			if err := b.Publish(context.Background(), &frame.Batch{Set: set, Frames: make([]frame.Frame, 1)}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond) // a poll's interval
			if head := b.Head(); head != last {
				shown, last = shown+1, head
			}
		}
		if c.quick && shown < 10 || !c.quick && shown > 1 {
			t.Errorf("rate %d: frames became visible %d times", c.rate, shown)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
