package s7

import (
	"bufio"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

// The PLC of the benchmarks is this test binary in a process of its own, so that its CPU
// time is not counted as the driver's. It grants PDUs of 480 bytes and 8 jobs.
const plcEnv = "EDGE_TEST_S7_PLC"

func TestMain(m *testing.M) {
	if _, ok := os.LookupEnv(plcEnv); ok {
		if err := benchPLC(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if p := flag.Lookup("test.parallel"); p.Value.String() == p.DefValue {
		// Most tests wait for a PLC, so as many run at once as a larger machine runs.
		if err := p.Value.Set("8"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// benchPLC answers reads with zeroes until stdin ends.
func benchPLC() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends with the parent
		os.Exit(0)
	}()
	fmt.Println(l.Addr())
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go benchServe(c)
	}
}

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
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), plcEnv+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // which ends it
		if err := cmd.Wait(); err != nil {
			t.Errorf("PLC: %v", err)
		}
	})
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(addr)
}

// oneConn is an endpoint with one connection that is never lost.
type oneConn struct{ net.Conn }

func (c oneConn) Acquire(context.Context) (endpoint.Lease, error) { return c, nil }
func (c oneConn) Release(error)                                   {}

type discard struct{}

func (discard) Publish(context.Context, *frame.Batch) error { return nil }

// benchPoller is a poller of n points, every second one scaled, with a session.
func benchPoller(t testing.TB, addr string, n int) *poller {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	m, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	s, err := ParseSettings(map[string]any{"polling": "1s", "pdu": 480}, config.Endpoint{})
	if err != nil {
		t.Fatal(err)
	}
	d := newDriver("d", s, driver.Deps{Endpoint: oneConn{conn}, Out: discard{}, Log: slog.New(slog.DiscardHandler)}, m)
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
	made, ended, published := make(chan *poller), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(published)
		_ = driver.Publishing(context.Background(), d.deps.Out, func(_ context.Context, out chan<- *frame.Batch) { // discard never fails
			made <- newPoller(d, m.begin("d"), out)
			<-ended
		})
	}()
	t.Cleanup(func() { close(ended); <-published })
	p := <-made
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
		c.next = time.Time{}
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

// cpu returns the CPU time of this process so far, user and system.
func cpu(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkPollPoints is the driver's budget: ask, decode, scale, publish, with the system
// calls on a loopback connection, in PDUs of 480 bytes.
func BenchmarkPollPoints(b *testing.B) {
	const n = 4000
	p := benchPoller(b, startPLC(b), n)
	p.cycle(b)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := cpu(b)
	for b.Loop() {
		p.cycle(b)
	}
	used := cpu(b) - start
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
