package opcua

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/gopcua/opcua/ua"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

// Options are what all OPC UA drivers of a process share.
type Options struct {
	// PKI is the trust list, with the gateway's own certificate.
	PKI *PKI
	// Name is the gateway's. Servers show it as the name of its sessions.
	Name string
	// State is a directory in which a driver notes until when it had values. If it is
	// empty, a gap over a restart is not told.
	State string
	// Secret resolves a reference such as ${file:NAME} for a connection to an address. If
	// it is nil, references are refused.
	Secret func(reference, address string) (string, error)
	// File returns why a file that an endpoint names must not be read. If it is nil, all
	// files may be.
	File func(path string) error
}

type factory struct {
	opts    Options
	metrics *metrics
}

// NewFactory returns a factory of OPC UA drivers. It registers their metrics in reg, and
// fails if reg has them already.
func NewFactory(reg prometheus.Registerer, opts Options) (driver.Factory, error) {
	m, err := newMetrics(reg)
	if err != nil {
		return nil, err
	}
	return &factory{opts, m}, nil
}

// Proto implements driver.Factory.
func (f *factory) Proto() string { return Proto }

// New implements driver.Factory.
func (f *factory) New(cfg driver.Config, deps driver.Deps) (driver.Driver, error) {
	s, err := ParseSettings(cfg.Item.Cfg, cfg.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("driver %s: %w", cfg.ID, err)
	}
	a, err := ParseAccess(cfg.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("driver %s: endpoint %s: %w", cfg.ID, cfg.Item.EndpointID, err)
	}
	d := &opcuaDriver{
		Account: driver.NewAccount(), id: cfg.ID, settings: s, deps: deps, metrics: f.metrics,
		plans: driver.NewPlans[*plan](), names: map[string]map[int64]string{},
		tried: make(chan struct{}),
	}
	d.client = client{
		access: a, ep: deps.Endpoint, opts: f.opts, name: f.opts.Name + " " + cfg.ID, timeout: s.Timeout,
		step: func(name string, err error) { f.metrics.steps.WithLabelValues(d.id, name, result(err)).Inc() },
	}
	if err := d.Update(cfg.Points); err != nil {
		return nil, err
	}
	return d, nil
}

// leaveGrace is for ending the session when Run is to stop.
const leaveGrace = 400 * time.Millisecond

// opcuaDriver implements driver.Driver. What speaks to the server is the [runner]
// inside Run; this is what others see of it.
type opcuaDriver struct {
	*driver.Account
	id       string
	settings *Settings
	deps     driver.Deps
	metrics  *metrics
	client   client
	plans    *driver.Plans[*plan]

	mu      sync.Mutex
	running bool
	live    *live                       // nil: no session
	tried   chan struct{}               // closed once a session was had or not
	names   map[string]map[int64]string // by tag: of an enumeration's values
}

// live is a session in use.
type live struct {
	ch   *channel
	auth *ua.NodeID
	ids  map[string]*ua.NodeID // by Node.String; guarded by the driver's mutex
	typ  map[string]ua.TypeID  // ditto
	caps limits

	types      *structTypes
	namespaces []string
}

// Update implements driver.Driver.
func (d *opcuaDriver) Update(points *point.Table) error {
	p, err := newPlan(d.settings, points)
	if err != nil {
		return fmt.Errorf("driver %s: %w", d.id, err)
	}
	d.plans.Set(p)
	return nil
}

// Address implements driver.Addresser.
func (d *opcuaDriver) Address(tag string) string {
	p := d.plans.Newest()
	if i, ok := p.table.Index(tag); ok {
		return p.points[i].node.String()
	}
	return ""
}

// Run implements driver.Driver.
func (d *opcuaDriver) Run(ctx context.Context) error {
	d.metrics.begin(d.id)
	defer d.metrics.end(d.id)
	d.setRunning(true)
	err := d.Publishing(ctx, d.deps.Out, func(ctx context.Context, out chan<- *frame.Batch) {
		newRunner(d, out).run(ctx)
		d.setRunning(false)
	})
	if err != nil {
		return fmt.Errorf("driver %s: %w", d.id, err)
	}
	return nil
}

func (d *opcuaDriver) setRunning(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running = on
}

func (d *opcuaDriver) setLive(l *live) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.live = l
	select {
	case <-d.tried:
	default:
		close(d.tried)
	}
}

// begun waits, shortly, until the driver has tried to get a session: commands that have
// waited for the gateway come before that.
func (d *opcuaDriver) begun(ctx context.Context) {
	d.mu.Lock()
	running := d.running
	d.mu.Unlock()
	if !running {
		return
	}
	timer := time.NewTimer(d.settings.Timeout)
	defer timer.Stop()
	select {
	case <-d.tried:
	case <-ctx.Done():
	case <-timer.C:
	}
}
