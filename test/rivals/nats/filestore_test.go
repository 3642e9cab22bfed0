// Package nats measures NATS JetStream's file store with what the gateway's log is
// measured with: the blocks of BenchmarkRawPebble100 (pkg/wal), encoded already.
// It is a module of its own, so that the gateway's does not list NATS.
package nats

import (
	"fmt"
	"math"
	"testing"
	"time"
	"unsafe"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// The store is not exported, and a server around it would measure its protocol
// too, so it is reached by the names of its symbols.

//go:linkname newFileStore github.com/nats-io/nats-server/v2/server.newFileStore
func newFileStore(server.FileStoreConfig, server.StreamConfig) (unsafe.Pointer, error)

//go:linkname storeMsg github.com/nats-io/nats-server/v2/server.(*fileStore).StoreMsg
func storeMsg(fs unsafe.Pointer, subject string, header, msg []byte, ttl int64) (uint64, int64, error)

//go:linkname stop github.com/nats-io/nats-server/v2/server.(*fileStore).Stop
func stop(fs unsafe.Pointer) error

// plantBlock is a batch of 100 frames as the log stores it.
func plantBlock(b *testing.B) []byte {
	b.Helper()
	batch := &frame.Batch{Set: &frame.TagSet{Driver: "plc"}}
	for i := range 100 {
		batch.Set.Tags = append(batch.Set.Tags, frame.Tag{Name: fmt.Sprintf("plc.tag%03d", i)})
		batch.Frames = append(batch.Frames, frame.Frame{Value: frame.FloatValue(math.Round(float64(i*7919%65536)*0.6) / 10), Tag: uint32(i)})
	}
	block, err := frame.AppendBlock(nil, batch)
	if err != nil {
		b.Fatal(err)
	}
	return block
}

// BenchmarkJetStream100 stores one block a message, synced every 100 ms as the log
// is: with a write per message, JetStream's default, and with its asynchronous
// flush, which like the log keeps what is new in memory until then.
func BenchmarkJetStream100(b *testing.B) {
	for _, async := range []bool{false, true} {
		b.Run(map[bool]string{false: "write", true: "async"}[async], func(b *testing.B) {
			block := plantBlock(b)
			fs, err := newFileStore(server.FileStoreConfig{StoreDir: b.TempDir(), SyncInterval: 100 * time.Millisecond, AsyncFlush: async},
				server.StreamConfig{Name: "frames", Subjects: []string{"frames"}, Storage: server.FileStorage})
			if err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			for range b.N {
				if _, _, err := storeMsg(fs, "frames", nil, block, 0); err != nil {
					b.Fatal(err)
				}
			}
			if err := stop(fs); err != nil { // writes what is left
				b.Fatal(err)
			}
			b.StopTimer()
			b.ReportMetric(100*float64(b.N)/b.Elapsed().Seconds(), "frames/s")
			b.ReportMetric(float64(len(block)), "B/block")
		})
	}
}
