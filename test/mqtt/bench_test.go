package mqtt

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

// cpuTime returns the processor time of this process.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkDeliver delivers a backlog through Mosquitto, with QoS 2, in large and
// in small messages: how many frames and messages a second, and what processor
// time each costs here.
func BenchmarkDeliver(b *testing.B) {
	for _, c := range []struct {
		name   string
		frames int
		cfg    map[string]any
	}{
		{"large", 2_000_000, nil},
		{"32-frames", 200_000, map[string]any{"max_bytes": 3400}},
		{"32-frames-qos1", 200_000, map[string]any{"max_bytes": 3400, "qos": 1}},
		{"protobuf", 2_000_000, map[string]any{"payload": "protobuf+zstd"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			broker := peer.StartMosquitto(b)
			r := newRig(b, broker.URL(), c.cfg)
			for i := len(r.set.Tags); i < 1000; i++ {
				r.set.Tags = append(r.set.Tags, frame.Tag{Name: fmt.Sprintf("line.t%03d", i), Unit: "bar"})
			}
			r.openBus()
			var took, cpu time.Duration
			var messages uint64
			for b.Loop() {
				r.publish(c.frames)
				peer.WaitFor(b, 30*time.Second, "the log", func() bool { return r.bus.Head() == uint64(r.value) })
				before := cpuTime(b)
				began := time.Now()
				r.start()
				r.waitDelivered(60 * time.Second)
				took += time.Since(began)
				cpu += cpuTime(b) - before
				messages += r.conn.Status().OutMessages
				r.stopConnector()
			}
			frames := float64(c.frames) * float64(b.N)
			b.ReportMetric(frames/took.Seconds(), "frames/s")
			b.ReportMetric(float64(cpu.Nanoseconds())/frames, "cpu-ns/frame")
			b.ReportMetric(float64(messages)/took.Seconds(), "messages/s")
			b.ReportMetric(float64(cpu.Microseconds())/float64(messages), "cpu-µs/message")
		})
	}
}
