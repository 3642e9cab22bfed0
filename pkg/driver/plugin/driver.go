package plugin

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/point"
	"github.com/edge-gateway/edge-gateway/pkg/sdk/driverpb"
)

// Host is what the kind of a driver does for it.
type Host struct {
	// Start starts the driver's code.
	Start func(ctx context.Context) (Session, error)
	// Check has the driver's code check a configuration. It connects to nothing.
	Check func(*driverpb.CheckRequest) error
}

// Driver is a driver whose code is a [Session]. What speaks to that is the runner inside
// Run; this is what others see of it.
type Driver struct {
	*driver.Account
	id       string
	settings *Settings
	open     *driverpb.OpenRequest
	deps     driver.Deps
	host     Host

	jobs   *driver.Jobs[*runner] // for the runner, ahead of polls
	plans  *driver.Plans[*plan]
	advice atomic.Pointer[string]
}

// New makes a driver. It does not start its code.
func New(cfg driver.Config, deps driver.Deps, host Host) (*Driver, error) {
	s, rest, err := Split(cfg.Item.Cfg)
	if err != nil {
		return nil, fmt.Errorf("driver %s: %w", cfg.ID, err)
	}
	text, err := settingsText(rest)
	if err != nil {
		return nil, fmt.Errorf("driver %s: %w", cfg.ID, err)
	}
	d := &Driver{
		Account: driver.NewAccount(), id: cfg.ID, settings: s, deps: deps, host: host,
		open: &driverpb.OpenRequest{Id: cfg.ID, Settings: text, Endpoint: endpointOf(cfg.Endpoint), TimeoutMs: uint32(s.Timeout.Milliseconds())},
		jobs: driver.NewJobs[*runner](), plans: driver.NewPlans[*plan](),
	}
	return d, d.Update(cfg.Points)
}

// Update implements driver.Driver.
func (d *Driver) Update(points *point.Table) error {
	p, err := newPlan(d.id, d.settings, points)
	if err == nil {
		err = d.host.Check(&driverpb.CheckRequest{Id: d.id, Settings: d.open.GetSettings(), Endpoint: d.open.GetEndpoint(), Points: p.points})
	}
	if err != nil {
		return fmt.Errorf("driver %s: %w", d.id, err)
	}
	d.plans.Set(p)
	return nil
}

// Address implements driver.Addresser.
func (d *Driver) Address(tag string) string {
	p := d.plans.Newest()
	if i, ok := p.table.Index(tag); ok {
		return clean(p.points[i].GetAddress())
	}
	return ""
}

// Status implements driver.Driver.
func (d *Driver) Status() driver.Status {
	st := d.Account.Status()
	if text := d.advice.Load(); text != nil {
		st.Advice = *text
	}
	return st
}

// Run implements driver.Driver.
func (d *Driver) Run(ctx context.Context) error {
	d.jobs.Begin()
	var failed error
	err := d.Publishing(ctx, d.deps.Out, func(ctx context.Context, out chan<- *frame.Batch) {
		r := newRunner(d, out)
		failed = r.run(ctx)
		r.turn.End()
	})
	if err == nil && ctx.Err() == nil {
		err = failed
	}
	if err != nil {
		return fmt.Errorf("driver %s: %w", d.id, err)
	}
	return nil
}

// Diagnose implements driver.Diagnoser.
func (d *Driver) Diagnose(ctx context.Context) (facts []driver.Fact, err error) {
	err = d.jobs.Submit(driver.NewJob(ctx, func(r *runner) error {
		call, limit, cancel := r.limit()
		defer cancel()
		resp, err := r.ses.Diagnose(call, &driverpb.DiagnoseRequest{TimeoutMs: uint32(limit.Milliseconds())})
		if err != nil {
			return r.failed("Diagnose", err)
		}
		for _, f := range resp.GetFacts() {
			facts = append(facts, driver.Fact{Name: clean(f.GetName()), Value: clean(f.GetValue())})
		}
		return deviceError(resp.GetError())
	}), "the device")
	return facts, err
}

// Read implements driver.Driver. Raw is what the device sent, or the value as text where
// the driver does not say.
func (d *Driver) Read(ctx context.Context, tag string) (driver.Reading, error) {
	if _, err := driver.Readable(d.plans.Newest().table, tag); err != nil {
		return driver.Reading{}, fmt.Errorf("read %s: %w", tag, err)
	}
	var reading driver.Reading
	err := d.jobs.Submit(driver.NewJob(ctx, func(r *runner) (err error) {
		reading, err = r.read(tag)
		return err
	}), "the device")
	if err != nil {
		return driver.Reading{}, fmt.Errorf("read %s: %w", tag, err)
	}
	return reading, nil
}

// Write implements driver.Driver. The driver is asked once.
func (d *Driver) Write(ctx context.Context, w driver.Write) (res driver.WriteResult, err error) {
	if _, _, err := d.raw(d.plans.Newest(), w); err != nil {
		return res, fmt.Errorf("write %s: %w", w.Tag, err)
	}
	var j *driver.Job[*runner]
	j = driver.NewJob(ctx, func(r *runner) (err error) {
		res, err = r.write(j, w)
		return err
	})
	j.Doubt = func(err error) error { return fmt.Errorf("%w: %w", driver.ErrOutcomeUnknown, err) }
	if err := d.jobs.Submit(j, "the device"); err != nil {
		return driver.WriteResult{}, fmt.Errorf("write %s: %w", w.Tag, err)
	}
	return res, nil
}

// raw checks a write and makes its value one of the device.
func (d *Driver) raw(p *plan, w driver.Write) (i int, v frame.Value, err error) {
	if i, err = driver.Writable(p.table, d.id, w.Tag, d.settings.EnableWrite); err != nil {
		return 0, v, err
	}
	v, err = p.table.Invert(i, w.Value)
	return i, v, err
}

// errStopping is why a call was given up.
var errStopping = errors.New("the driver is stopping")
