package modbus

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/drivertest"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

// TestMain is also the device of the benchmarks, which answers after a delay.
func TestMain(m *testing.M) {
	os.Exit(drivertest.Main(m, func(c net.Conn, option string) {
		if delay, err := time.ParseDuration(option); err == nil {
			benchServe(c, delay)
		}
	}))
}

// benchServe answers register reads, each after delay.
func benchServe(c net.Conn, delay time.Duration) {
	in := bufio.NewReader(c)
	request := make([]byte, 12)
	var mu sync.Mutex
	for {
		if _, err := io.ReadFull(in, request); err != nil {
			return
		}
		n := 2 * int(binary.BigEndian.Uint16(request[10:]))
		answer := make([]byte, 9+n)
		copy(answer, request[:8])
		binary.BigEndian.PutUint16(answer[4:], uint16(3+n))
		answer[8] = byte(n)
		if delay == 0 {
			_, _ = c.Write(answer) // the driver will notice
			continue
		}
		time.AfterFunc(delay, func() {
			mu.Lock()
			defer mu.Unlock()
			_, _ = c.Write(answer) // the driver will notice
		})
	}
}

func startDevice(t testing.TB, delay time.Duration) string {
	t.Helper()
	return drivertest.StartPeer(t, delay.String())
}

// benchPoller is a poller of n uint16 points, every second one scaled.
func benchPoller(t testing.TB, addr string, n, inflight int) *poller {
	t.Helper()
	m, err := newMetrics(prometheus.NewRegistry(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ParseSettings(map[string]any{"unit_id": 1, "polling": "1s", "max_inflight": inflight}, config.Endpoint{})
	if err != nil {
		t.Fatal(err)
	}
	d := newDriver("d", s, driver.Deps{Endpoint: drivertest.Dial(t, addr), Out: drivertest.Discard{}, Log: slog.New(slog.DiscardHandler)}, m)
	vars := make([]config.Variable, n)
	for i := range vars {
		vars[i] = config.Variable{Tag: fmt.Sprintf("line1.machine7.sensor_%05d", i), DriverID: "d", Access: config.AccessR,
			Datatype: config.TypeUint16, Address: config.Address{Type: config.AddrHolding, Addr: uint32(i)}}
		if i%2 == 0 {
			vars[i].Scale = "value / 10"
		}
	}
	table, err := point.Compile("d", vars, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Update(table); err != nil {
		t.Fatal(err)
	}
	p := newPoller(d, drivertest.Published(t))
	p.adopt()
	return p
}

// cycle polls everything once.
func (p *poller) cycle(t testing.TB) {
	now := time.Now()
	for _, c := range p.plan.classes {
		c.restart(now)
	}
	for c := p.plan.classes[0]; c.pos < len(c.requests); {
		p.burst(context.Background())
		if p.enough() {
			p.deliver(context.Background())
		}
	}
	p.deliver(context.Background())
	if text := p.d.Fault(); text != "" { // a whole status would cost as much as some requests
		t.Fatal(text)
	}
}

// BenchmarkPollPoints is the driver's budget: ask, decode, scale, publish, with
// the system calls on a loopback connection, in requests of 120 registers.
func BenchmarkPollPoints(b *testing.B) {
	for _, inflight := range []int{1, 8} {
		b.Run(fmt.Sprintf("inflight=%d", inflight), func(b *testing.B) {
			const n = 120 * 32
			p := benchPoller(b, startDevice(b, 0), n, inflight)
			p.cycle(b)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := drivertest.CPU(b)
			for b.Loop() {
				p.cycle(b)
			}
			used := drivertest.CPU(b) - start
			runtime.ReadMemStats(&after)
			points := float64(n) * float64(b.N)
			b.ReportMetric(float64(used)/points, "cpu-ns/point")
			b.ReportMetric(float64(b.Elapsed())/points, "ns/point")
			b.ReportMetric(points/b.Elapsed().Seconds(), "points/s")
			b.ReportMetric(points/120/b.Elapsed().Seconds(), "requests/s")
			b.ReportMetric(float64(after.Mallocs-before.Mallocs)/points, "allocs/point")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkPingPong is what the line allows: the same bytes without a driver.
func BenchmarkPingPong(b *testing.B) {
	conn, err := net.Dial("tcp", startDevice(b, 0))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	request := []byte{0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 120}
	answer := make([]byte, 249)
	for b.Loop() {
		if _, err := conn.Write(request); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(conn, answer); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

// BenchmarkDecode is decoding and scaling alone.
func BenchmarkDecode(b *testing.B) {
	p := benchPoller(b, startDevice(b, 0), 120, 1)
	r := p.plan.classes[0].requests[0]
	data := make([]byte, 240)
	b.ReportAllocs()
	for b.Loop() {
		p.decode(r, data, 1)
		p.deliver(context.Background())
	}
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/120, "ns/point")
}

// TestNoAllocationPerPoint: what an answer costs does not grow with its points.
func TestNoAllocationPerPoint(t *testing.T) {
	addr := startDevice(t, 0)
	few, many := benchPoller(t, addr, 1, 1), benchPoller(t, addr, 120, 1)
	one := testing.AllocsPerRun(200, func() { few.cycle(t) })
	all := testing.AllocsPerRun(200, func() { many.cycle(t) })
	if all > one+1 || all > 4 {
		t.Errorf("an answer of 120 points makes %v allocations, one of a point %v", all, one)
	}
}

// TestPipelining: eight requests in flight are at least seven times as fast as
// one, against a device that takes 10 ms for each.
func TestPipelining(t *testing.T) {
	addr := startDevice(t, 10*time.Millisecond)
	took := func(inflight int) time.Duration {
		p := benchPoller(t, addr, 120*64, inflight)
		start := time.Now()
		p.cycle(t)
		return time.Since(start)
	}
	best := 0.0
	for range 3 { // other work on the machine costs the faster one more
		one, eight := took(1), took(8)
		t.Logf("64 requests: %v one at a time, %v with 8 in flight", one, eight)
		if best = max(best, float64(one)/float64(eight)); best >= 7 {
			return
		}
	}
	t.Errorf("max_inflight 8 is %.1f times as fast, want at least 7", best)
}
