package s7

import (
	"context"
	"fmt"
	"maps"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

// Protocol is S7 as the rest of the program knows it.
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
	}
}

type factory struct{ metrics *metrics }

// NewFactory returns the factory of S7 drivers and registers their metrics in reg. It
// fails if they are registered already.
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
	id       string
	settings *Settings
	deps     driver.Deps
	metrics  *metrics

	jobs  *driver.Jobs[*session] // for the poller, ahead of polls
	plans *driver.Plans[*plan]

	mu      sync.Mutex
	conn    net.Conn // in use, for abort
	status  driver.Status
	figures driver.Figures
	reasons map[string]driver.Reason // of tags that are bad on their own
	away    driver.Reason            // of all tags
}

func newDriver(id string, s *Settings, deps driver.Deps, m *metrics) *s7Driver {
	return &s7Driver{
		id: id, settings: s, deps: deps, metrics: m,
		jobs: driver.NewJobs[*session](), plans: driver.NewPlans[*plan](),
		status:  driver.Status{State: driver.Stopped, Since: time.Now()},
		reasons: map[string]driver.Reason{},
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
	d.setState(driver.Starting)
	defer d.setState(driver.Stopped)
	m := d.metrics.begin(d.id)
	defer m.end()
	err := driver.Publishing(ctx, d.deps.Out, func(ctx context.Context, out chan<- *frame.Batch) {
		defer context.AfterFunc(ctx, d.abort)()
		p := newPoller(d, m, out)
		p.run(ctx)
		p.abandonJob()
		d.jobs.End()
	})
	if err != nil {
		return fmt.Errorf("driver %s: %w", d.id, err)
	}
	return nil
}

// abort gives the request in flight a last while.
func (d *s7Driver) abort() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn != nil {
		_ = d.conn.SetDeadline(time.Now().Add(answerGrace)) // a connection that refuses is broken, and its request will fail
	}
}

// setConn notes the connection that abort is to end, nil for none.
func (d *s7Driver) setConn(c net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conn = c
}

// Status implements driver.Driver.
func (d *s7Driver) Status() driver.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	st := d.status
	d.figures.Fill(&st, time.Now())
	return st
}

// Reasons implements driver.Reasoner.
func (d *s7Driver) Reasons() (device driver.Reason, tags map[string]driver.Reason) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.away, maps.Clone(d.reasons)
}

// setState changes the state, if it is another one.
func (d *s7Driver) setState(s driver.State) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.status.State != s {
		d.status.State, d.status.Since = s, time.Now()
	}
}

// answered counts an answer to a poll.
func (d *s7Driver) answered(now time.Time, took time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.figures.Answered(&d.status, now, took)
}

// cycled counts a cycle that begins, and those that were skipped before it.
func (d *s7Driver) cycled(now time.Time, skipped int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.figures.Cycled(&d.status, now, skipped)
}

// failed counts what failed and why.
func (d *s7Driver) failed(now time.Time, err error, again bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	repeated := 0
	if again {
		repeated = 1
	}
	d.figures.Failed(&d.status, now, 1, repeated)
	d.status.Error, d.status.LastError, d.status.LastErrorAt = err.Error(), err.Error(), now
}

// setAway notes why no tag can be read; nil: some can.
func (d *s7Driver) setAway(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	since := d.away.Since
	if d.away = (driver.Reason{}); err == nil {
		return
	}
	if d.away = awayReason(err); since.IsZero() {
		since = time.Now()
	}
	d.away.Since = since
}

// note notes why a tag is bad, and says whether that is new.
func (d *s7Driver) note(tag string, r driver.Reason) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.reasons[tag].Text == r.Text {
		return false
	}
	r.Since = time.Now()
	d.reasons[tag] = r
	return true
}

// forget drops the reason of a tag.
func (d *s7Driver) forget(tag string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.reasons, tag)
}

// keep drops the reasons of all tags that are not refused in p.
func (d *s7Driver) keep(p *plan) {
	bad := map[string]bool{}
	for _, c := range p.classes {
		for i := range c.refused {
			bad[p.table.Variable(i).Tag] = true
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.reasons, func(tag string, _ driver.Reason) bool { return !bad[tag] })
}
