package modbus

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	gomodbus "github.com/goburrow/modbus"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

const (
	answerGrace = 300 * time.Millisecond // for the request in flight when Run is to stop
)

// modbusDriver implements driver.Driver. What polls is the [poller] inside Run;
// this is what others see of it.
type modbusDriver struct {
	id       string
	settings *Settings
	deps     driver.Deps
	metrics  *metrics
	encode   func(Func, uint16, uint16) ([]byte, error)

	jobs  *driver.Jobs[*link] // for the poller, ahead of polls
	plans *driver.Plans[*plan]

	mu      sync.Mutex
	conn    net.Conn // of the lease in use, for abort
	status  driver.Status
	figures figures
	reasons map[string]driver.Reason // of tags that are bad on their own
	away    driver.Reason            // of all tags
}

func newDriver(id string, s *Settings, deps driver.Deps, m *metrics) *modbusDriver {
	return &modbusDriver{
		id: id, settings: s, deps: deps, metrics: m,
		encode:  readEncoder(s.Framing.packager(s.UnitID)),
		jobs:    driver.NewJobs[*link](),
		plans:   driver.NewPlans[*plan](),
		status:  driver.Status{State: driver.Stopped, Since: time.Now()},
		reasons: map[string]driver.Reason{},
	}
}

// readEncoder returns what builds the ADUs of read requests.
func readEncoder(p gomodbus.Packager) func(Func, uint16, uint16) ([]byte, error) {
	return func(f Func, addr, qty uint16) ([]byte, error) {
		data := []byte{byte(addr >> 8), byte(addr), byte(qty >> 8), byte(qty)}
		return p.Encode(&gomodbus.ProtocolDataUnit{FunctionCode: byte(f), Data: data})
	}
}

// Update implements driver.Driver.
func (d *modbusDriver) Update(points *point.Table) error {
	p, err := newPlan(d.settings, points, d.encode)
	if err != nil {
		return fmt.Errorf("driver %s: %w", d.id, err)
	}
	d.plans.Set(p)
	return nil
}

// Address implements driver.Addresser.
func (d *modbusDriver) Address(tag string) string {
	p := d.plans.Newest()
	if i, ok := p.table.Index(tag); ok {
		return p.points[i].String()
	}
	return ""
}

// Run implements driver.Driver.
func (d *modbusDriver) Run(ctx context.Context) error {
	d.jobs.Begin()
	d.setState(driver.Starting)
	defer d.setState(driver.Stopped)
	err := driver.Publishing(ctx, d.deps.Out, func(ctx context.Context, out chan<- *frame.Batch) {
		defer context.AfterFunc(ctx, d.abort)()
		p := newPoller(d, out)
		defer p.metrics.close()
		defer p.link.retire()
		p.loop(ctx)
		p.abandonJob()
		d.jobs.End()
	})
	if err != nil {
		return fmt.Errorf("driver %s: %w", d.id, err)
	}
	return nil
}

// abort gives the request in flight a last while.
func (d *modbusDriver) abort() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn != nil {
		_ = d.conn.SetDeadline(time.Now().Add(answerGrace)) // a connection that refuses is broken, and its request will fail
	}
}

// setConn notes the connection that abort is to end, nil for none.
func (d *modbusDriver) setConn(c net.Conn) {
	d.mu.Lock()
	d.conn = c
	d.mu.Unlock()
}

// Status implements driver.Driver.
func (d *modbusDriver) Status() driver.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	st := d.status
	d.figures.fill(&st, time.Now(), d.settings.held)
	return st
}

// setState changes the state, if it is another one.
func (d *modbusDriver) setState(s driver.State) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.status.State != s {
		d.status.State, d.status.Since = s, time.Now()
	}
}

// count changes the status under the lock.
func (d *modbusDriver) count(change func(*driver.Status)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(&d.status)
}

func (d *modbusDriver) log() *slog.Logger { return d.deps.Log }
