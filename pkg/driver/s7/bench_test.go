package s7

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
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/drivertest"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

// TestMain is also the PLC of the benchmarks. It grants PDUs of 480 bytes and 8 jobs.
func TestMain(m *testing.M) {
	os.Exit(drivertest.Main(m, func(c net.Conn, _ string) { benchServe(c) }))
}

// benchServe answers reads with zeroes.
func benchServe(c net.Conn) {
	in := bufio.NewReader(c)
	head := make([]byte, tpktHead)
	for {
		if _, err := io.ReadFull(in, head); err != nil {
			return
		}
		body := make([]byte, int(binary.BigEndian.Uint16(head[2:]))-tpktHead)
		if _, err := io.ReadFull(in, body); err != nil {
			return
		}
		if _, err := c.Write(benchAnswer(body)); err != nil {
			return
		}
	}
}

func benchAnswer(body []byte) []byte {
	if body[1] == tpduConnect {
		return []byte{3, 0, 0, 11, 6, tpduConfirm, 0, ourRef, 0, 7, 0}
	}
	pdu := body[dataHead:]
	params, data := setupParams(480, 8), []byte(nil)
	if request := pdu[jobHead:]; request[0] == fnRead {
		params = request[:2]
		for i := range int(request[1]) {
			n := int(binary.BigEndian.Uint16(request[2+itemBytes*i+4:]))
			data = append(data, codeGood, dataByte, byte(n>>5), byte(n<<3))
			data = append(data, make([]byte, (n+1)&^1)...)
		}
	}
	n := wireHead + ackHead + len(params) + len(data)
	b := []byte{3, 0, byte(n >> 8), byte(n), dataHead - 1, tpduData, endOfMessage, pduProtocol, pduAckData, 0, 0, pdu[4], pdu[5],
		byte(len(params) >> 8), byte(len(params)), byte(len(data) >> 8), byte(len(data)), 0, 0}
	return append(append(b, params...), data...)
}

func startPLC(t testing.TB) string {
	t.Helper()
	return drivertest.StartPeer(t, "")
}

// benchPoller is a poller of n points, every second one scaled, with a session.
func benchPoller(t testing.TB, addr string, n int) *poller {
	t.Helper()
	m, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	s, err := ParseSettings(map[string]any{"polling": "1s", "pdu": 480}, config.Endpoint{})
	if err != nil {
		t.Fatal(err)
	}
	d := newDriver("d", s, driver.Deps{Endpoint: drivertest.Dial(t, addr), Out: drivertest.Discard{}, Log: slog.New(slog.DiscardHandler)}, m)
	vars := make([]config.Variable, n)
	for i := range vars {
		vars[i] = config.Variable{Tag: fmt.Sprintf("line1.machine7.sensor_%05d", i), DriverID: "d", Access: config.AccessR,
			Datatype: config.TypeUint16, Address: config.Address{Type: config.AddrS7DB, DB: uint16(1 + i/1000), Start: uint32(2 * (i % 1000))}}
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
	p := newPoller(d, m.begin("d"), drivertest.Published(t))
	p.adopt()
	if p.ses, err = connect(context.Background(), d.deps.Endpoint, s, nil); err != nil {
		t.Fatal(err)
	}
	p.repack(p.ses.pdu)
	return p
}

// cycle polls everything once.
func (p *poller) cycle(t testing.TB) {
	for _, c := range p.plan.classes {
		c.Next = time.Time{}
	}
	for begun := false; !begun || len(p.flights) > 0; begun = true {
		if err := p.send(time.Now()); err != nil {
			t.Fatal(err)
		}
		if len(p.flights) == 0 {
			break
		}
		if err := p.receive(); err != nil {
			t.Fatal(err)
		}
		if len(p.waiting) >= handOver/2 {
			p.deliver(context.Background(), true)
		}
	}
	p.deliver(context.Background(), true)
}

// BenchmarkPollPoints is the driver's budget: ask, decode, scale, publish, with the system
// calls on a loopback connection, in PDUs of 480 bytes.
func BenchmarkPollPoints(b *testing.B) {
	const n = 4000
	p := benchPoller(b, startPLC(b), n)
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
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/points, "allocs/point")
	b.ReportMetric(0, "ns/op")
}

// TestNoAllocationPerPoint: what an answer costs does not grow with its points.
func TestNoAllocationPerPoint(t *testing.T) {
	addr := startPLC(t)
	few, many := benchPoller(t, addr, 1), benchPoller(t, addr, 200)
	one := testing.AllocsPerRun(200, func() { few.cycle(t) })
	all := testing.AllocsPerRun(200, func() { many.cycle(t) })
	if all > one+1 || all > 4 {
		t.Errorf("an answer of 200 points makes %v allocations, one of a point %v", all, one)
	}
}
