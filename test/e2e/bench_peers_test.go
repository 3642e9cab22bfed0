package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/peer"
)

// BenchmarkPeerTelegraf measures the processor time of Telegraf per point in the
// set-up of BenchmarkCPUPerPoint, with the same simulated PLCs, scales, broker and
// quality of service. Telegraf keeps nothing on disk, compresses nothing and numbers
// nothing; its messages hold as many points as ours do at this load.
func BenchmarkPeerTelegraf(b *testing.B) {
	for _, plcs := range []int{10, 50} {
		const points, interval = 1000, 100 * time.Millisecond
		rate := float64(plcs*points) / interval.Seconds()
		b.Run(fmt.Sprintf("%.0fk", rate/1000), func(b *testing.B) {
			p := newLoadPlant(b, plcs, points)
			t := peer.StartTelegraf(b, p.telegraf(interval))
			const period = 15 * time.Second
			time.Sleep(5 * time.Second) // steady state
			for b.Loop() {
				read, cpu, began := p.read(), t.Proc().CPU(b), time.Now()
				time.Sleep(period) // the measurement
				read, cpu = p.read()-read, t.Proc().CPU(b)-cpu
				b.ReportMetric(float64(cpu.Nanoseconds())/read, "cpu-ns/point")
				b.ReportMetric(read/time.Since(began).Seconds(), "points/s")
				rss, anon := t.Proc().Memory(b)
				b.ReportMetric(rss, "rss-MiB")
				b.ReportMetric(anon, "anon-MiB")
			}
			b.ReportMetric(0, "ns/op")
			t.Stop(b)
			if out := t.Output(); strings.Contains(out, " E! ") || strings.Contains(out, " W! ") {
				b.Logf("telegraf said:\n%s", out)
			}
		})
	}
}

// telegrafRequest is how many registers Telegraf reads with one request.
const telegrafRequest = 125

// read returns the points that the PLCs have served to Telegraf.
func (p *loadPlant) read() float64 {
	var requests uint64
	for _, s := range p.sims {
		requests += s.Requests(1)
	}
	return float64(requests) * telegrafRequest
}

// telegraf returns a configuration that polls the plant at interval.
func (p *loadPlant) telegraf(interval time.Duration) string {
	var c strings.Builder
	c.WriteString(peer.TelegrafInto(p.broker, interval))
	for i, sim := range p.sims {
		fmt.Fprintf(&c, `
[[inputs.modbus]]
  name = "plc%d"
  slave_id = 1
  timeout = "1s"
  controller = "tcp://%s"
  configuration_type = "register"
  holding_registers = [
`, i, sim.Addr())
		for r := range p.points {
			fmt.Fprintf(&c, `    {name = "r%04d", byte_order = "AB", data_type = "UFIXED", scale = 0.1, address = [%d]},
`, r, r)
		}
		c.WriteString("  ]\n")
	}
	return c.String()
}
