package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/peer"
)

// BenchmarkStartToFirstFrame measures from the start of the process, tables in a
// directory, until the first poll's 100 frames are on the bus. Budget: 300 ms.
func BenchmarkStartToFirstFrame(b *testing.B) {
	plc := peer.StartPLC(b, "")
	gw := peer.NewGateway(b, "", tables(plc.Addr, 100, "1s"))
	var took []time.Duration
	for b.Loop() {
		if err := os.RemoveAll(filepath.Join(gw.Dir, "data")); err != nil {
			b.Fatal(err)
		}
		for range 10 {
			began := time.Now()
			gw.Start(b)
			for {
				if n, ok := gw.Metric(`framebus_publish_total{kind="data"}`); ok && n >= 100 {
					break
				}
				if time.Since(began) > 10*time.Second {
					b.Fatalf("no frame in 10 s:\n%s", gw.Output())
				}
				time.Sleep(time.Millisecond) // between looks at another process
			}
			took = append(took, time.Since(began))
			gw.Stop(b)
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms/p50")
	b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "ms/max")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkCPUPerPoint measures the processor time of the whole gateway per point,
// PLC to broker at QoS 2 with log and JSON + zstd. Budget: 0.6 µs at 500,000
// points a second.
func BenchmarkCPUPerPoint(b *testing.B) {
	for _, c := range []struct {
		plcs, points int
		interval     time.Duration
	}{{10, 1000, 100 * time.Millisecond}, {50, 1000, 100 * time.Millisecond}} {
		rate := float64(c.plcs*c.points) / c.interval.Seconds()
		b.Run(fmt.Sprintf("%.0fk", rate/1000), func(b *testing.B) {
			l := newLoad(b, c.plcs, c.points, c.interval, "")
			const period = 15 * time.Second
			time.Sleep(3 * time.Second) // steady state
			for b.Loop() {
				frames, cpu, began := l.published(b), l.gw.Proc().CPU(b), time.Now()
				time.Sleep(period) // the measurement
				frames, cpu = l.published(b)-frames, l.gw.Proc().CPU(b)-cpu
				b.ReportMetric(float64(cpu.Nanoseconds())/frames, "cpu-ns/point")
				b.ReportMetric(frames/time.Since(began).Seconds(), "points/s")
				if lag, ok := l.gw.Metric(`framebus_backlog_lag{consumer="mqtt"}`); ok {
					b.ReportMetric(lag, "backlog")
				}
				rss, anon := l.gw.Proc().Memory(b)
				b.ReportMetric(rss, "rss-MiB")
				b.ReportMetric(anon, "anon-MiB")
			}
			b.ReportMetric(0, "ns/op")
			l.gw.Stop(b)
		})
	}
}

// BenchmarkLatency measures from a value's source time to its arrival at a
// subscriber, at 100,000 points a second. Budgets: p99 150 ms with wal_flush_ms
// 100, 30 ms with 10.
func BenchmarkLatency(b *testing.B) {
	for _, flush := range []int{100, 10} {
		b.Run(fmt.Sprintf("flush=%dms", flush), func(b *testing.B) {
			l := newLoad(b, 10, 1000, 100*time.Millisecond, fmt.Sprintf("bus: {wal_flush_ms: %d}\n", flush))
			time.Sleep(2 * time.Second) // steady state
			sub := peer.Subscribe(b, l.broker.Addr, "latency", topic)
			for b.Loop() {
				time.Sleep(10 * time.Second) // the measurement
			}
			var ms []int64
			for _, m := range sub.Messages() {
				for _, f := range m.Frames {
					ms = append(ms, m.Received.UnixMilli()-f.TS)
				}
			}
			slices.Sort(ms)
			if len(ms) == 0 {
				b.Fatal("nothing arrived")
			}
			b.ReportMetric(float64(ms[len(ms)/2]), "ms/p50")
			b.ReportMetric(float64(ms[len(ms)*99/100]), "ms/p99")
			b.ReportMetric(0, "ns/op")
			l.gw.Stop(b)
		})
	}
}

// BenchmarkBuild measures a build of the whole from a warm module cache and an
// empty build cache. Budget: three minutes on two cores.
func BenchmarkBuild(b *testing.B) {
	for b.Loop() {
		cmd := exec.Command("go", "build", "-o", b.TempDir()+"/", "./cmd/...")
		cmd.Dir = "../.."
		cmd.Env = append(os.Environ(), "GOCACHE="+b.TempDir())
		began := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		b.ReportMetric(time.Since(began).Seconds(), "s/build")
	}
	b.ReportMetric(0, "ns/op")
}
