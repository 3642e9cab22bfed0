package bus

import (
	"context"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// plantBatch is what a driver of 100 points publishes: mostly scaled integers, a
// few floats, some booleans, one source time.
func plantBatch(set *frame.TagSet, round int) *frame.Batch {
	b := &frame.Batch{Set: set, ConfigRev: 12, Frames: make([]frame.Frame, len(set.Tags))}
	ts := int64(1763888400000000000) + int64(round)*int64(100*time.Millisecond)
	for i := range b.Frames {
		x := float64((i*7919+round*31)%65536) / 65536
		v := frame.FloatValue(math.Round(x*40000) / 10)
		switch i % 10 {
		case 7:
			v = frame.FloatValue(float64(float32(math.Sin(x) * 1e3)))
		case 8:
			v = frame.IntValue(int64(x * 65536))
		case 9:
			v = frame.BoolValue(x > 0.5)
		}
		b.Frames[i] = frame.Frame{Value: v, TS: ts, Tag: uint32(i)}
	}
	return b
}

func benchBus(b *testing.B, overflow Overflow) *Bus {
	cfg := DefaultConfig(b.TempDir())
	cfg.MinFree, cfg.Retain, cfg.Overflow, cfg.WALMaxBytes = 0, 0, overflow, 8<<30
	bus, err := Open(cfg, Deps{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := bus.Close(); err != nil {
			b.Error(err)
		}
	})
	return bus
}

// BenchmarkPublish100 publishes batches of 100 frames, encoding and logging
// included, until all are durable; a consumer reads and acknowledges beside it.
func BenchmarkPublish100(b *testing.B) {
	bus := benchBus(b, Spill)
	set := testSet("plc", 100)
	var batches [64]*frame.Batch
	for i := range batches {
		batches[i] = plantBatch(set, i)
	}
	c := openConsumer(b, bus, "mqtt")
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			got, err := c.Read(ctx, 4096)
			if err != nil {
				return
			}
			last := got[len(got)-1].LastSeq()
			if err := c.Commit(Commit{Ack: []Range{{First: got[0].FirstSeq, Last: last}}}); err != nil {
				b.Error(err)
			}
		}
	}()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		batch := *batches[i%len(batches)]
		if err := bus.Publish(ctx, &batch); err != nil {
			b.Fatal(err)
		}
	}
	syncBus(b, bus)
	b.StopTimer()
	b.ReportMetric(100*float64(b.N)/b.Elapsed().Seconds(), "frames/s")
	appended, written := bus.log.Written()
	b.ReportMetric(float64(appended)/float64(100*b.N), "B/frame")
	b.ReportMetric(float64(written)/float64(appended), "write-amp")
	cancel()
	<-done
}
