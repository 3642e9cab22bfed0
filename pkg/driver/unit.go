package driver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/point"
	"github.com/edge-gateway/edge-gateway/pkg/supervise"
)

// The times of supervision.
const (
	stopLimit = 5 * time.Second // a driver has one second by contract
)

// unit is one driver under a manager, from Start to Stop, through any number of
// Driver values: each that ends by itself is followed by another.
type unit struct {
	m        *Manager
	spec     spec
	acquirer endpoint.Acquirer
	giveUp   func() // of the endpoint
	log      *slog.Logger

	op     sync.Mutex // held while an operation changes the unit
	ending bool       // it was told to end, and may not have; guarded by op
	gone   bool       // out of the manager; guarded by Manager.mu

	paused bool               // set by begin
	cancel context.CancelFunc // of supervise; nil while paused
	done   chan struct{}      // closed when supervise has ended

	// mu guards what follows. It is never held while the driver is called: one
	// that hangs holds up who called it, not everybody.
	mu         sync.Mutex
	driver     Driver
	generation int // of driver
	table      *point.Table
	address    []string // by index in table, nil until somebody asks
	fault      error    // why driver has ended by itself; nil while it runs
	since      time.Time
	restarts   uint64
}

// build makes a unit that does not run yet.
func (m *Manager) build(s spec, vars []config.Variable, prev *point.Table) (*unit, error) {
	u := &unit{m: m, spec: s, log: m.cfg.Log.With("driver", s.id), since: time.Now()}
	var err error
	if u.table, err = point.Compile(s.id, vars, prev); err != nil {
		return nil, fmt.Errorf("driver %s: %w", s.id, err)
	}
	if u.acquirer, u.giveUp, err = m.cfg.Open(s.item.EndpointID, s.endpoint); err != nil {
		return nil, fmt.Errorf("driver %s: open endpoint %s: %w", s.id, s.item.EndpointID, err)
	}
	if u.driver, err = u.construct(u.table); err != nil {
		u.release()
		return nil, err
	}
	return u, nil
}

// construct makes a Driver for table.
func (u *unit) construct(table *point.Table) (d Driver, err error) {
	f, err := u.m.factory(u.spec)
	if err != nil {
		return nil, err
	}
	cfg := Config{ID: u.spec.id, Item: u.spec.item, Endpoint: u.spec.endpoint, Points: table}
	deps := Deps{Endpoint: u.acquirer, Out: u.m.cfg.Out, Log: u.log}
	if err := supervise.Contain(func() (err error) { d, err = f.New(cfg, deps); return err }); err != nil {
		return nil, fmt.Errorf("driver %s: %w", u.spec.id, err)
	}
	return d, nil
}

// begin starts the unit's supervision. A paused one gives its endpoint up, so that
// a device that takes one connection is free for others.
func (u *unit) begin(paused bool) {
	u.paused = paused
	if paused {
		u.release()
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	u.cancel, u.done = cancel, make(chan struct{})
	go u.supervise(ctx)
}

// end stops supervision, waits for it, and gives the endpoint up. It may be
// called again after an error.
func (u *unit) end(ctx context.Context) error {
	if u.cancel != nil {
		u.ending = true
		u.cancel()
		limit := time.NewTimer(stopLimit)
		defer limit.Stop()
		select {
		case <-u.done:
		case <-limit.C:
			return fmt.Errorf("driver %s: %w within %v", u.spec.id, ErrStuck, stopLimit)
		case <-ctx.Done():
			return fmt.Errorf("driver %s: %w: %w", u.spec.id, ErrStuck, ctx.Err())
		}
	}
	u.release()
	return nil
}

// release gives the endpoint up, once.
func (u *unit) release() {
	if u.giveUp != nil {
		u.giveUp()
		u.giveUp = nil
	}
}

// supervise runs the driver until ctx ends, and another whenever it ends before.
func (u *unit) supervise(ctx context.Context) {
	defer close(u.done)
	l := supervise.Loop{
		Run: u.run, Failed: u.failed, Renew: u.renew,
		Stopped: func(err error) { u.log.Warn("driver ended with an error when it was stopped", "error", err) },
	}
	l.Do(ctx)
}

// run runs the driver until it ends, and contains its panics.
func (u *unit) run(ctx context.Context) error {
	u.mu.Lock()
	d, table := u.driver, u.table
	u.mu.Unlock()
	err := supervise.Contain(func() error { return d.Run(ctx) })
	var p *supervise.PanicError
	switch {
	case errors.As(err, &p):
		table.Abandon() // it may have been decoding
	case err == nil && ctx.Err() == nil:
		err = errors.New("ended without being told to")
	}
	return err
}

// failed notes and logs why the driver ended.
func (u *unit) failed(err error, wait time.Duration) {
	u.mu.Lock()
	u.fault, u.since = err, time.Now()
	u.restarts++
	u.mu.Unlock()
	u.log.Error("driver failed and will be started anew", append(supervise.Stack(err), "error", err, "retry_in", wait)...)
}

// renew replaces a driver that has ended.
func (u *unit) renew() error {
	for {
		table := u.points()
		d, err := u.construct(table)
		if err != nil {
			return err
		}
		table.ReportAll()
		if u.install(d, table) {
			return nil
		}
	}
}

// install makes d the driver unless the variables changed since it was made.
func (u *unit) install(d Driver, table *point.Table) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.table != table {
		return false
	}
	u.driver, u.fault = d, nil
	u.generation++
	return true
}

// update swaps the variables. The caller holds op.
func (u *unit) update(vars []config.Variable) error {
	table, err := point.Compile(u.spec.id, vars, u.points())
	for err == nil {
		u.mu.Lock()
		d, failed, generation := u.driver, u.fault != nil, u.generation
		u.mu.Unlock()
		if failed { // the driver is dead: ask whether the next one could work
			_, err = u.construct(table)
		} else {
			err = u.call("update", func() error { return d.Update(table) })
		}
		if err == nil && u.swap(table, generation) {
			return nil
		}
	}
	return fmt.Errorf("driver %s: update the variables: %w", u.spec.id, err)
}

// swap makes table the one in use unless the driver that was asked was renewed.
func (u *unit) swap(table *point.Table, generation int) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.generation != generation {
		return false
	}
	u.table, u.address = table, nil
	return true
}

// call calls one of the driver's methods and contains its panics.
func (u *unit) call(what string, do func() error) error {
	err := supervise.Contain(do)
	if stack := supervise.Stack(err); stack != nil {
		u.log.Error("driver panicked", append(stack, "operation", what, "error", err)...)
	}
	return err
}

// running returns the driver if it can be talked to.
func (u *unit) running() (Driver, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.paused:
		return nil, fmt.Errorf("driver %s: %w", u.spec.id, ErrPaused)
	case u.fault != nil:
		return nil, fmt.Errorf("driver %s: %w, it failed: %w", u.spec.id, ErrNotRunning, u.fault)
	}
	return u.driver, nil
}

// describe returns the driver's status as its users see it.
func (u *unit) describe() DriverStatus {
	u.mu.Lock()
	d, fault := u.driver, u.fault
	s := DriverStatus{ID: u.spec.id, Item: u.spec.item, Tags: u.table.Len(), Bad: u.table.Bad(), Restarts: u.restarts}
	s.Since = u.since
	u.mu.Unlock()
	switch {
	case u.paused:
		s.State = Paused
	case fault != nil:
		s.State, s.Error = Fault, fault.Error()
	default:
		if err := u.call("status", func() error { s.Status = d.Status(); return nil }); err != nil {
			s.State, s.Error = Fault, err.Error()
		}
		s.Device = u.reasons().device
	}
	return s
}

func (u *unit) points() *point.Table {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.table
}

func (u *unit) restartCount() uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.restarts
}

// variables returns a copy of the variables in use.
func (u *unit) variables() []config.Variable {
	table := u.points()
	vars := make([]config.Variable, table.Len())
	for i := range vars {
		vars[i] = *table.Variable(i)
	}
	return vars
}

// addresses returns the table in use and the address of each point. They are
// asked for once per table: listings come often, and there may be many points.
func (u *unit) addresses() (*point.Table, []string) {
	u.mu.Lock()
	d, table, addresses := u.driver, u.table, u.address
	u.mu.Unlock()
	if addresses != nil {
		return table, addresses
	}
	addresses = make([]string, table.Len())
	_ = u.call("address", func() error { // a panic is logged; the rest stays empty
		if a, ok := d.(Addresser); ok {
			for i := range addresses {
				addresses[i] = a.Address(table.Variable(i).Tag)
			}
		}
		return nil
	})
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.table == table {
		u.address = addresses
	}
	return table, addresses
}

// reasons are why tags of a driver are bad.
type reasons struct {
	device Reason
	tags   map[string]Reason
}

// reasons asks the driver, if it knows.
func (u *unit) reasons() (why reasons) {
	u.mu.Lock()
	d, fault, since := u.driver, u.fault, u.since
	u.mu.Unlock()
	if fault != nil {
		why.device = Reason{Text: "the driver failed: " + fault.Error(), Hint: "it is started anew by itself; the log has more", Since: since}
		return why
	}
	if r, ok := d.(Reasoner); ok && !u.paused {
		_ = u.call("reasons", func() error { why.device, why.tags = r.Reasons(); return nil }) // a panic is logged
	}
	return why
}

// Unusable is the reason of a tag that is bad although it is read.
const Unusable = "what the device sent is no usable value"

func unusable() Reason {
	return Reason{
		Text: Unusable,
		Hint: "NaN, a digit that is none, or a scale that fails: see edge-ctl read TAG --raw, then datatype, byte_order and scale",
	}
}

// tag describes point i of table.
func (u *unit) tag(table *point.Table, i int, address string, why reasons) TagStatus {
	v := table.Variable(i)
	s := TagStatus{Tag: v.Tag, Driver: u.spec.id, Unit: v.Unit, Address: address, Last: table.Last(i), Variable: v}
	bad := s.Last.Known && s.Last.Quality == frame.Bad
	own, known := why.tags[v.Tag]
	switch {
	case bad && why.device.Text != "":
		s.Reason = why.device
	case known:
		s.Reason = own
	case bad && s.Last.Lost:
		s.Reason = Reason{Text: "not read again yet since it was lost", Since: time.Unix(0, s.Last.TS)}
	case bad:
		s.Reason = unusable()
		s.Reason.Since = time.Unix(0, s.Last.TS)
	}
	return s
}
