package modbus_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

const driverID = "d1"

// dialer is the least endpoint: one connection, kept while it works.
type dialer struct {
	network, addr string
	turn          chan struct{}
	conn          net.Conn
	count         atomic.Int64
}

func dialTCP(addr string) *dialer {
	return &dialer{network: "tcp", addr: addr, turn: make(chan struct{}, 1)}
}

// dial is dialTCP with the connection closed at the test's end.
func dial(t testing.TB, addr string) *dialer {
	d := dialTCP(addr)
	t.Cleanup(d.close)
	return d
}

func (d *dialer) dials() int { return int(d.count.Load()) }

// close closes the connection; its user must be gone.
func (d *dialer) close() {
	if d.conn != nil {
		_ = d.conn.Close() // the device may have closed it
	}
}

func (d *dialer) Acquire(ctx context.Context) (endpoint.Lease, error) {
	select {
	case d.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if d.conn == nil {
		var err error
		var nd net.Dialer
		if d.conn, err = nd.DialContext(ctx, d.network, d.addr); err != nil {
			d.conn = nil
			<-d.turn
			return nil, err
		}
		d.count.Add(1)
	}
	return lease{d.conn, d}, nil
}

type lease struct {
	net.Conn
	d *dialer
}

func (l lease) Release(err error) {
	if err != nil {
		_ = l.Close() // broken anyway
		l.d.conn = nil
	}
	<-l.d.turn
}

// log collects what a driver publishes.
type log struct {
	mu     sync.Mutex
	frames []named
	news   chan struct{}
}

type named struct {
	tag string
	frame.Frame
}

func newLog() *log { return &log{news: make(chan struct{}, 1)} }

func (l *log) Publish(_ context.Context, b *frame.Batch) error {
	l.mu.Lock()
	for i := range b.Frames {
		l.frames = append(l.frames, named{b.Tag(i).Name, b.Frames[i]})
	}
	l.mu.Unlock()
	select {
	case l.news <- struct{}{}:
	default:
	}
	return nil
}

// of returns the frames of tag so far.
func (l *log) of(tag string) []frame.Frame {
	l.mu.Lock()
	defer l.mu.Unlock()
	var fs []frame.Frame
	for _, f := range l.frames {
		if f.tag == tag {
			fs = append(fs, f.Frame)
		}
	}
	return fs
}

// wait waits until ok holds, looking whenever something was published.
func (l *log) wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	poll := time.NewTicker(5 * time.Millisecond) // what does not publish changes too
	defer poll.Stop()
	for !ok() {
		select {
		case <-l.news:
		case <-poll.C:
		case <-deadline:
			t.Fatalf("not within 10s: %s", what)
		}
	}
}

// rig is a running driver.
type rig struct {
	driver.Driver
	log  *log
	reg  *prometheus.Registry
	stop func() error // ends Run, returns its error
}

type option func(*driver.Config)

func cfg(key string, value any) option {
	return func(c *driver.Config) { c.Item.Cfg[key] = value }
}

func config0(t testing.TB, vars []config.Variable, opts ...option) driver.Config {
	t.Helper()
	for i := range vars {
		if vars[i].DriverID == "" {
			vars[i].DriverID = driverID
		}
		if vars[i].Access == "" {
			vars[i].Access = config.AccessR
		}
	}
	c := driver.Config{
		ID: driverID,
		Item: config.Driver{Kind: config.KindStatic, Proto: modbus.Proto, Cfg: map[string]any{
			"unit_id": 1, "polling": "20ms", "timeout": "200ms", "retry": 1,
		}},
		Points: compile(t, vars, nil),
	}
	for _, o := range opts {
		o(&c)
	}
	return c
}

func compile(t testing.TB, vars []config.Variable, prev *point.Table) *point.Table {
	t.Helper()
	table, err := point.Compile(driverID, vars, prev)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// start runs a driver until the test ends.
func start(t testing.TB, ep endpoint.Acquirer, vars []config.Variable, opts ...option) *rig {
	t.Helper()
	r := &rig{log: newLog(), reg: prometheus.NewRegistry()}
	f, err := modbus.NewFactory(r.reg, modbus.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r.Driver, err = f.New(config0(t, vars, opts...), driver.Deps{
		Endpoint: ep, Out: r.log, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	r.stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(3 * time.Second):
			t.Error("Run did not end within 3s")
			return nil
		}
	})
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return r
}

// metric returns the value of a counter or gauge of the driver whose labels
// include labels, summed.
func (r *rig) metric(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			match := 0
			for _, l := range m.GetLabel() {
				for i := 0; i < len(labels); i += 2 {
					if l.GetName() == labels[i] && l.GetValue() == labels[i+1] {
						match++
					}
				}
			}
			if match == len(labels)/2 {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

// holding is a variable in the holding registers.
func holding(tag string, addr uint32, t config.DataType) config.Variable {
	return config.Variable{Tag: tag, Address: config.Address{Type: config.AddrHolding, Addr: addr}, Datatype: t}
}
