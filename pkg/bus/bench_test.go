package bus

import (
	"context"
	"log/slog"
	"math"
	"slices"
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
	c := openReader(b, bus, "mqtt")
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

// BenchmarkReplay reads a log of a stopped gateway from end to end, decoding all.
func BenchmarkReplay(b *testing.B) {
	cfg := DefaultConfig(b.TempDir())
	cfg.MinFree = 0
	bus, err := Open(cfg, Deps{})
	if err != nil {
		b.Fatal(err)
	}
	openReader(b, bus, "mqtt")
	const batches = 20000
	for _, driver := range []string{"plc1", "plc2"} {
		set := testSet(driver, 100)
		for i := range batches / 2 {
			publish(b, bus, plantBatch(set, i))
		}
	}
	if err := bus.Close(); err != nil {
		b.Fatal(err)
	}
	a, err := OpenArchive(cfg.WALDir, false, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for range b.N {
		done, err := a.Replay(b.Context(), Selection{}, func(*frame.Batch) error { return nil })
		if err != nil || done.Frames != 100*batches {
			b.Fatalf("%d frames, %v", done.Frames, err)
		}
	}
	b.StopTimer()
	b.ReportMetric(100*batches*float64(b.N)/b.Elapsed().Seconds(), "frames/s")
	if err := a.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkPublishPaced publishes 1,000 batches of 100 frames a second, as a
// busy gateway does, and reports how long Publish takes, and the write
// amplification with everything acknowledged at once (live) and with nothing
// acknowledged (backlog).
func BenchmarkPublishPaced(b *testing.B) {
	for _, live := range []bool{true, false} {
		b.Run(map[bool]string{true: "live", false: "backlog"}[live], func(b *testing.B) {
			bus := benchBus(b, Spill)
			set := testSet("plc", 100)
			c := openReader(b, bus, "mqtt")
			ctx, cancel := context.WithCancel(b.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				for live {
					got, err := c.Read(ctx, 1<<16)
					if err != nil {
						return
					}
					if err := c.Commit(Commit{Ack: []Range{{First: got[0].FirstSeq, Last: got[len(got)-1].LastSeq()}}, Sync: true}); err != nil {
						b.Error(err)
					}
				}
			}()
			took := make([]time.Duration, 0, b.N)
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			b.ResetTimer()
			for i := range b.N {
				batch := plantBatch(set, i)
				<-tick.C
				began := time.Now()
				if err := bus.Publish(ctx, batch); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
			}
			syncBus(b, bus)
			b.StopTimer()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
			appended, written := bus.log.Written()
			b.ReportMetric(float64(appended)/float64(100*b.N), "B/frame")
			b.ReportMetric(float64(written)/float64(appended), "write-amp")
			cancel()
			<-done
		})
	}
}
