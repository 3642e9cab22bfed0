package wal

import (
	"encoding/binary"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// BenchmarkRawPebble100 is what the log costs at least: batches of 100 frames,
// encoded beforehand, given to Pebble with the log's options, eight to a commit,
// and synced every 100 ms.
func BenchmarkRawPebble100(b *testing.B) {
	l := &Log{fs: defaultFS(), log: slog.New(slog.DiscardHandler), failedCh: make(chan struct{})}
	db, err := pebble.Open(b.TempDir(), l.framesOptions())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }() // thrown away
	set := testSet("plc", 100)
	batch := &frame.Batch{Set: set}
	for i := range 100 {
		batch.Frames = append(batch.Frames, frame.Frame{Value: frame.FloatValue(math.Round(float64(i*7919%65536)*0.6) / 10), Tag: uint32(i)})
	}
	block, err := frame.AppendBlock(nil, batch)
	if err != nil {
		b.Fatal(err)
	}
	last := time.Now()
	group := db.NewBatch()
	key := make([]byte, 9)
	b.ResetTimer()
	for i := range b.N {
		binary.BigEndian.PutUint64(key, uint64(i))
		if err := group.Set(key, block, nil); err != nil {
			b.Fatal(err)
		}
		if i%8 == 7 {
			if err := group.Commit(pebble.NoSync); err != nil {
				b.Fatal(err)
			}
			group.Reset()
		}
		if i%64 == 0 && time.Since(last) > 100*time.Millisecond {
			if err := db.LogData(nil, pebble.Sync); err != nil {
				b.Fatal(err)
			}
			last = time.Now()
		}
	}
	if err := group.Commit(pebble.Sync); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	b.ReportMetric(100*float64(b.N)/b.Elapsed().Seconds(), "frames/s")
	b.ReportMetric(float64(len(block)), "B/block")
}
