// Package modbustest helps to test the Modbus driver: a driver with the least
// endpoint and log around it, and a device that answers right or wrong at will.
package modbustest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/drivertest"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

// DriverID is the id of the driver under test.
const DriverID = "d1"

// Dialer is the least endpoint: one connection, kept while it works.
type Dialer struct {
	dial   func(context.Context) (net.Conn, error)
	turn   chan struct{}
	conn   net.Conn
	count  atomic.Int64
	memo   endpoint.Memo
	closed bool // the connection, by the holder of the lease
}

// Dial returns an endpoint on network, such as tcp, at the address that addr
// returns when it is dialled. Its connection is closed at the test's end.
func Dial(t testing.TB, network string, addr func() string) *Dialer {
	return newDialer(t, func(ctx context.Context) (net.Conn, error) {
		var nd net.Dialer
		return nd.DialContext(ctx, network, addr())
	})
}

func newDialer(t testing.TB, dial func(context.Context) (net.Conn, error)) *Dialer {
	d := &Dialer{dial: dial, turn: make(chan struct{}, 1)}
	t.Cleanup(func() {
		if d.conn != nil {
			_ = d.conn.Close() // the device may have closed it
		}
	})
	return d
}

// Dials returns how many connections were made.
func (d *Dialer) Dials() int { return int(d.count.Load()) }

// Acquire implements endpoint.Acquirer.
func (d *Dialer) Acquire(ctx context.Context) (endpoint.Lease, error) {
	select {
	case d.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if d.conn == nil {
		var err error
		if d.conn, err = d.dial(ctx); err != nil {
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
	d *Dialer
}

// Memo implements endpoint.Rememberer.
func (l lease) Memo() *endpoint.Memo { return &l.d.memo }

// Close closes the connection. Release must follow.
func (l lease) Close() error {
	l.d.closed = true
	return l.Conn.Close()
}

// Release implements endpoint.Lease.
func (l lease) Release(err error) {
	if err != nil {
		_ = l.Close() // broken anyway
	}
	if l.d.closed {
		l.d.conn, l.d.closed = nil, false
	}
	<-l.d.turn
}

// Log collects what a driver publishes.
type Log struct {
	mu     sync.Mutex
	frames []named
	news   chan struct{}
	block  chan struct{} // Publish waits until it is closed; nil: does not
}

type named struct {
	tag, status string
	frame.Frame
}

// NewLog returns an empty log.
func NewLog() *Log { return &Log{news: make(chan struct{}, 1)} }

// Publish implements driver.Publisher.
func (l *Log) Publish(ctx context.Context, b *frame.Batch) error {
	l.mu.Lock()
	block := l.block
	l.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	l.mu.Lock()
	for i := range b.Frames {
		l.frames = append(l.frames, named{b.Tag(i).Name, b.Status(i), b.Frames[i]})
	}
	l.mu.Unlock()
	select {
	case l.news <- struct{}{}:
	default:
	}
	return nil
}

// Block makes Publish wait until free is called, which may be called twice.
func (l *Log) Block() (free func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	block := make(chan struct{})
	l.block = block
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.block = nil
		close(block)
	})
}

// Of returns the frames of tag so far.
func (l *Log) Of(tag string) []frame.Frame {
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

// Wait waits until ok holds, looking whenever something was published.
func (l *Log) Wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	poll := time.NewTicker(5 * time.Millisecond) // what does not publish changes too
	defer poll.Stop()
	for !ok() {
		select {
		case <-l.news:
		case <-poll.C:
		case <-deadline:
			t.Fatalf("not within 30s: %s", what)
		}
	}
}

// Rig is a running driver.
type Rig struct {
	driver.Driver
	Log  *Log
	Said *bytes.Buffer // what the driver logged; to be read after Stop
	Stop func() error  // ends Run, returns its error
	reg  *prometheus.Registry
}

// Option changes a driver's configuration.
type Option func(*driver.Config)

// Cfg sets a key of the driver's cfg.
func Cfg(key string, value any) Option {
	return func(c *driver.Config) { c.Item.Cfg[key] = value }
}

// Config returns a configuration for tests: quick polling, short timeouts.
func Config(t testing.TB, vars []config.Variable, opts ...Option) driver.Config {
	t.Helper()
	c := driver.Config{
		ID: DriverID,
		Item: config.Driver{Kind: config.KindStatic, Proto: modbus.Proto, Cfg: map[string]any{
			"unit_id": 1, "polling": "20ms", "timeout": "200ms", "retry": 1,
		}},
		Points: Compile(t, vars, nil),
	}
	for _, o := range opts {
		o(&c)
	}
	return c
}

// Compile makes the table of vars, whose driver and access it fills in.
func Compile(t testing.TB, vars []config.Variable, prev *point.Table) *point.Table {
	t.Helper()
	for i := range vars {
		if vars[i].DriverID == "" {
			vars[i].DriverID = DriverID
		}
		if vars[i].Access == "" {
			vars[i].Access = config.AccessR
		}
	}
	table, err := point.Compile(DriverID, vars, prev)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// Start runs a driver until the test ends.
func Start(t testing.TB, ep endpoint.Acquirer, vars []config.Variable, opts ...Option) *Rig {
	t.Helper()
	r := &Rig{Log: NewLog(), Said: new(bytes.Buffer), reg: prometheus.NewRegistry()}
	f, err := modbus.NewFactory(r.reg, modbus.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r.Driver, err = f.New(Config(t, vars, opts...), driver.Deps{
		Endpoint: ep, Out: r.Log, Log: slog.New(slog.NewTextHandler(r.Said, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	r.Stop = sync.OnceValue(func() error {
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
		if err := r.Stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	r.Log.Wait(t, "Run has begun", func() bool { return r.Status().State != driver.Stopped })
	return r
}

// Metric returns the value of a counter or gauge of the driver whose labels
// include labels, summed.
func (r *Rig) Metric(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	return drivertest.Metric(t, r.reg, name, labels...)
}

// Holding is a variable in the holding registers.
func Holding(tag string, addr uint32, t config.DataType) config.Variable {
	return config.Variable{Tag: tag, Address: config.Address{Type: config.AddrHolding, Addr: addr}, Datatype: t}
}

// Coil is a variable in the coils.
func Coil(tag string, addr uint32) config.Variable {
	return config.Variable{Tag: tag, Address: config.Address{Type: config.AddrCoil, Addr: addr}, Datatype: config.TypeBool}
}

// Last returns the last frame of tag, a zero one if there is none.
func (l *Log) Last(tag string) frame.Frame {
	fs := l.Of(tag)
	if len(fs) == 0 {
		return frame.Frame{}
	}
	return fs[len(fs)-1]
}

// Statuses returns the statuses of the frames of tag.
func (l *Log) Statuses(tag string) (all []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.frames {
		if f.tag == tag {
			all = append(all, f.status)
		}
	}
	return all
}

// Bad returns how many frames of tag are bad.
func (l *Log) Bad(tag string) (n int) {
	for _, f := range l.Of(tag) {
		if f.Quality == frame.Bad {
			n++
		}
	}
	return n
}

// Good waits until tag was published good n times.
func (l *Log) Good(t testing.TB, tag string, n int) {
	t.Helper()
	l.Wait(t, fmt.Sprintf("%s is good %d times", tag, n), func() bool { return len(l.Of(tag))-l.Bad(tag) >= n })
}
