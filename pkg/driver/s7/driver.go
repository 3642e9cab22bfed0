package s7

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

// Protocol describes S7 to the rest of the program: its scheme, its drivers, what lint
// checks, and what people can ask a PLC for.
func Protocol() driver.Protocol {
	return driver.Protocol{
		Name:      Proto,
		Schemes:   []string{Proto},
		Transport: Transport,
		New:       func(h driver.Host) (driver.Factory, error) { return NewFactory(h.Registerer) },
		Check:     check,
		CheckAll:  checkAll,
		Probe:     probeAbility(),
		Browse:    browseAbility(),
		Import:    importAbility(),
		Simulate:  simulation(),
	}
}

type factory struct{ metrics *metrics }

// NewFactory returns a factory of S7 drivers. It registers their metrics in reg, and fails
// if reg has them already.
func NewFactory(reg prometheus.Registerer) (driver.Factory, error) {
	m, err := newMetrics(reg)
	if err != nil {
		return nil, err
	}
	return &factory{m}, nil
}

// Proto implements driver.Factory.
func (f *factory) Proto() string { return Proto }

// New implements driver.Factory.
func (f *factory) New(cfg driver.Config, deps driver.Deps) (driver.Driver, error) {
	s, err := ParseSettings(cfg.Item.Cfg, cfg.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("driver %s: %w", cfg.ID, err)
	}
	d := newDriver(cfg.ID, s, deps, f.metrics)
	if err := d.Update(cfg.Points); err != nil {
		return nil, err
	}
	return d, nil
}

// s7Driver implements driver.Driver. What speaks to the PLC is the [poller] inside Run;
// this is what others see of it.
type s7Driver struct {
	*driver.Account
	id       string
	settings *Settings
	deps     driver.Deps
	metrics  *metrics

	jobs  *driver.Jobs[*session] // for the poller, ahead of polls
	plans *driver.Plans[*plan]
	last  driver.LastRequest
}

func newDriver(id string, s *Settings, deps driver.Deps, m *metrics) *s7Driver {
	return &s7Driver{
		Account: driver.NewAccount(), id: id, settings: s, deps: deps, metrics: m,
		jobs: driver.NewJobs[*session](), plans: driver.NewPlans[*plan](),
	}
}

// Update implements driver.Driver.
func (d *s7Driver) Update(points *point.Table) error {
	p, err := newPlan(d.id, d.settings, points)
	if err != nil {
		return fmt.Errorf("driver %s: %w", d.id, err)
	}
	d.plans.Set(p)
	return nil
}

// Address implements driver.Addresser.
func (d *s7Driver) Address(tag string) string {
	p := d.plans.Newest()
	if i, ok := p.table.Index(tag); ok {
		return p.points[i].String()
	}
	return ""
}

// Run implements driver.Driver.
func (d *s7Driver) Run(ctx context.Context) error {
	d.jobs.Begin()
	m := d.metrics.begin(d.id)
	defer m.end()
	err := d.Publishing(ctx, d.deps.Out, func(ctx context.Context, out chan<- *frame.Batch) {
		defer d.last.Bound(ctx)()
		p := newPoller(d, m, out)
		p.run(ctx)
		p.jobs.End()
	})
	if err != nil {
		return fmt.Errorf("driver %s: %w", d.id, err)
	}
	return nil
}

// keep drops the reasons of all tags that are not refused in p.
func (d *s7Driver) keep(p *plan) {
	bad := map[string]bool{}
	for _, c := range p.classes {
		for i := range c.refused {
			bad[p.table.Variable(i).Tag] = true
		}
	}
	d.Keep(func(tag string) bool { return bad[tag] })
}
