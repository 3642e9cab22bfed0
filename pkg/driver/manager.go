package driver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

// ManagerConfig is what a [Manager] works with. All fields are set.
type ManagerConfig struct {
	// Factories are the protocols that are built in, by their name.
	Factories map[string]Factory
	// Kinds make the drivers that aren't built in, whatever their protocol. nil: there are
	// none.
	Kinds map[config.DriverKind]Factory
	// Open returns the way to an endpoint and a function that gives it up again.
	// It does not dial. Drivers of the same endpoint each open it.
	Open       func(id string, ep config.Endpoint) (endpoint.Acquirer, func(), error)
	Out        Publisher
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Manager runs drivers by id. A driver that ends by itself, with an error or a
// panic, is at fault and started anew with a jittered back-off; it never takes
// the others along.
//
// All methods may be called at any time from any goroutine. Those that change a
// driver run one after the other for one id and side by side for different ones.
// They are idempotent, and each succeeds or leaves the driver as it was, unless
// its error is [ErrStuck].
type Manager struct {
	cfg ManagerConfig

	mu     sync.Mutex // guards what follows; never held while a driver is called
	units  map[string]*unit
	paused map[string]bool // by an operator; outlives Stop, since a restart of the configuration is not a Resume
	closed bool
}

// NewManager returns a manager that runs nothing yet.
func NewManager(cfg ManagerConfig) (*Manager, error) {
	for proto, f := range cfg.Factories {
		if f.Proto() != proto {
			return nil, fmt.Errorf("driver factories: %q is registered as %q", f.Proto(), proto)
		}
	}
	m := &Manager{cfg: cfg, units: map[string]*unit{}, paused: map[string]bool{}}
	if err := cfg.Registerer.Register(newCollector(m)); err != nil {
		return nil, fmt.Errorf("register the drivers' metrics: %w", err)
	}
	return m, nil
}

// spec is what a driver was asked to be.
type spec struct {
	id       string
	item     config.Driver
	endpoint config.Endpoint
}

// factory returns the factory for s, or [ErrUnsupported] with what there is.
func (m *Manager) factory(s spec) (Factory, error) {
	if s.item.Kind != config.KindStatic {
		f, ok := m.cfg.Kinds[s.item.Kind]
		if !ok {
			return nil, fmt.Errorf("driver %s: %w: kind %q is not built yet, use kind %q with one of the protocols %s",
				s.id, ErrUnsupported, s.item.Kind, config.KindStatic, m.protocols())
		}
		return f, nil
	}
	f, ok := m.cfg.Factories[s.item.Proto]
	if !ok {
		return nil, fmt.Errorf("driver %s: %w: protocol %q is not built in, there is %s",
			s.id, ErrUnsupported, s.item.Proto, m.protocols())
	}
	return f, nil
}

func (m *Manager) protocols() string {
	return strings.Join(slices.Sorted(maps.Keys(m.cfg.Factories)), ", ")
}

// Check constructs the driver and throws it away: it returns the error that Start
// would, and touches nothing.
func (m *Manager) Check(id string, item config.Driver, ep config.Endpoint, vars []config.Variable) error {
	table, err := point.Compile(id, vars, nil)
	if err != nil {
		return fmt.Errorf("driver %s: %w", id, err)
	}
	u := &unit{m: m, spec: spec{id, item, ep}, acquirer: unreachable{}, log: m.cfg.Log}
	_, err = u.construct(table)
	return err
}

// unreachable is the endpoint of drivers that are only checked.
type unreachable struct{}

// Acquire implements [endpoint.Acquirer].
func (unreachable) Acquire(context.Context) (endpoint.Lease, error) { return nil, ErrNotRunning }

// Start makes driver id run as described. If it runs with this item and endpoint
// already, its variables are updated; if with others, it is replaced, the new one
// being constructed before the old one is told to end. A paused driver stays
// paused. Start does not wait for the device.
func (m *Manager) Start(ctx context.Context, id string, item config.Driver, ep config.Endpoint, vars []config.Variable) error {
	want := spec{id, item, ep}
	for {
		if u, unlock, err := m.lock(id); err == nil {
			defer unlock()
			if reflect.DeepEqual(u.spec, want) && !u.ending {
				return u.update(vars)
			}
			return m.replace(ctx, u, want, vars)
		}
		u, err := m.build(want, vars, nil)
		if err != nil {
			return err
		}
		if added, err := m.add(u); added || err != nil {
			return err
		}
	}
}

// add begins u as a new driver. It is not added if another Start was quicker.
func (m *Manager) add(u *unit) (added bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		err = fmt.Errorf("driver %s: %w", u.spec.id, ErrClosed)
	case m.units[u.spec.id] == nil:
		m.units[u.spec.id] = u
		u.begin(m.paused[u.spec.id])
		return true, nil
	}
	u.release()
	return false, err
}

// replace puts a new driver in old's place. The caller holds old's lock.
func (m *Manager) replace(ctx context.Context, old *unit, want spec, vars []config.Variable) error {
	u, err := m.build(want, vars, old.points())
	if err != nil {
		return err
	}
	if err := old.end(ctx); err != nil {
		u.release()
		return err
	}
	u.restarts = old.restartCount() + 1
	u.table.ReportAll()
	m.mu.Lock()
	defer m.mu.Unlock()
	old.gone = true
	m.units[want.id] = u
	u.begin(m.paused[want.id])
	return nil
}

// Stop ends driver id and waits for it. It is no error if there is none.
func (m *Manager) Stop(ctx context.Context, id string) error {
	u, unlock, err := m.lock(id)
	if err != nil {
		return nil // there is none
	}
	defer unlock()
	if err := u.end(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	u.gone = true
	delete(m.units, id)
	return nil
}

// Restart ends driver id and starts it anew with the same configuration.
func (m *Manager) Restart(ctx context.Context, id string) error {
	u, unlock, err := m.lock(id)
	if err != nil {
		return err
	}
	defer unlock()
	return m.replace(ctx, u, u.spec, u.variables())
}

// Update replaces the variables of driver id: its connection, its poll phase and
// the last values of unchanged tags stay.
func (m *Manager) Update(id string, vars []config.Variable) error {
	u, unlock, err := m.lock(id)
	if err != nil {
		return err
	}
	defer unlock()
	return u.update(vars)
}

// Pause ends driver id's polling until [Manager.Resume]. Its endpoint is free for
// others meanwhile.
func (m *Manager) Pause(ctx context.Context, id string) error { return m.setPaused(ctx, id, true) }

// Resume ends a pause.
func (m *Manager) Resume(ctx context.Context, id string) error { return m.setPaused(ctx, id, false) }

func (m *Manager) setPaused(ctx context.Context, id string, paused bool) error {
	u, unlock, err := m.lock(id)
	if err != nil {
		return err
	}
	defer unlock()
	if u.paused == paused {
		return nil
	}
	set := func(paused bool) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.paused[id] = paused
	}
	set(paused)
	if err := m.replace(ctx, u, u.spec, u.variables()); err != nil {
		set(!paused)
		return err
	}
	return nil
}

// Close ends all drivers, and refuses to start others from now on.
func (m *Manager) Close(ctx context.Context) error {
	m.mu.Lock()
	m.closed = true
	ids := slices.Collect(maps.Keys(m.units))
	m.mu.Unlock()
	var g errgroup.Group
	g.SetLimit(64) // they mostly wait
	errs := make([]error, len(ids))
	for i, id := range ids {
		g.Go(func() error {
			errs[i] = m.Stop(ctx, id)
			return nil
		})
	}
	_ = g.Wait() // the functions above return nil
	m.cfg.Registerer.Unregister(newCollector(m))
	return errors.Join(errs...)
}

// lock returns driver id once no other operation is under way on it, or
// [ErrUnknownDriver].
func (m *Manager) lock(id string) (u *unit, unlock func(), err error) {
	for {
		if u, err = m.unit(id); err != nil {
			return nil, nil, err
		}
		u.op.Lock()
		m.mu.Lock()
		gone := u.gone
		m.mu.Unlock()
		if !gone {
			return u, u.op.Unlock, nil
		}
		u.op.Unlock() // replaced or stopped while we waited
	}
}

func (m *Manager) unit(id string) (*unit, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	u := m.units[id]
	if u == nil {
		return nil, fmt.Errorf("driver %s: %w", id, ErrUnknownDriver)
	}
	return u, nil
}

// all returns the units sorted by id.
func (m *Manager) all() []*unit {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Values(m.units), func(a, b *unit) int { return cmp.Compare(a.spec.id, b.spec.id) })
}
