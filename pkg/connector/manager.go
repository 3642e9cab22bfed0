package connector

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/supervise"
)

// What the operations of a [Manager] fail with.
var (
	// ErrUnknown says that there is no connector of that name.
	ErrUnknown = errkind.New(errkind.NotFound, "no such connector")
	// ErrStuck says that a connector did not end in time. It is left to itself;
	// its place is not given to another.
	ErrStuck = errors.New("did not end in time")
	// ErrClosed says that the manager is closed.
	ErrClosed = errkind.New(errkind.Unavailable, "the connectors are stopped")
)

// ManagerConfig is what a [Manager] works with. All fields are set.
type ManagerConfig struct {
	// Factories are the kinds that are built in, by their name.
	Factories map[string]Factory
	// Open returns the consumer of the given name and a function that gives it
	// up. A consumer that the log does not know yet begins at the end of the
	// log, or else at the oldest frame.
	Open func(name string, atEnd bool) (Source, func(), error)
	// Deps go to every connector. Source is not set; Log gets the
	// connector's name.
	Deps Deps
}

// Manager runs the connectors of a configuration. A connector that ends by
// itself, with an error or a panic, is at fault and started anew with a jittered
// back-off; it never takes others along.
//
// All methods may be called at any time from any goroutine.
type Manager struct {
	cfg ManagerConfig

	op     sync.Mutex // held by what starts and stops connectors
	mu     sync.Mutex // guards what follows; never held while a connector is called
	units  map[string]*unit
	closed bool
}

// NewManager returns a manager that runs nothing yet.
func NewManager(cfg ManagerConfig) (*Manager, error) {
	for kind, f := range cfg.Factories {
		if f.Kind() != kind {
			return nil, fmt.Errorf("connector factories: %q is registered as %q", f.Kind(), kind)
		}
	}
	return &Manager{cfg: cfg, units: map[string]*unit{}}, nil
}

// Run waits until ctx ends and then stops all connectors. It is called once.
func (m *Manager) Run(ctx context.Context) error {
	<-ctx.Done()
	return m.Close()
}

// Close stops all connectors, side by side. It may be called again.
func (m *Manager) Close() error {
	m.op.Lock()
	defer m.op.Unlock()
	m.mu.Lock()
	m.closed = true
	units := slices.Collect(maps.Values(m.units))
	m.mu.Unlock()
	return m.stop(units)
}

// stop ends units side by side and takes those that have ended out.
func (m *Manager) stop(units []*unit) error {
	errs := make([]error, len(units))
	var wg sync.WaitGroup
	for i, u := range units {
		wg.Go(func() { errs[i] = u.end() })
	}
	wg.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, u := range units {
		if errs[i] == nil {
			u.giveUp()
			delete(m.units, u.name)
		}
	}
	return errors.Join(errs...)
}

// Check constructs the connectors and throws them away: it returns the error that
// Apply would, and touches nothing.
func (m *Manager) Check(cfgs map[string]map[string]any) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(cfgs)) {
		_, err := m.construct(name, cfgs[name], unopened{name: name})
		// The records of a kind in the log mean nothing to another one.
		if u, _ := m.unit(name); err == nil && u != nil && u.kind != cfgs[name]["kind"] {
			err = fmt.Errorf("connector %s: its kind cannot change from %s to %v; give the new one another name", name, u.kind, cfgs[name]["kind"])
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Apply makes the connectors of cfgs run, by name, and no others. One whose
// configuration has not changed is not touched; one that has changed takes that over
// if it can, and is replaced, on the same place in the log, if not. All are
// constructed before anything is changed, and an error then means that nothing was.
func (m *Manager) Apply(ctx context.Context, cfgs map[string]map[string]any) error {
	m.op.Lock()
	defer m.op.Unlock()
	if err := m.Check(cfgs); err != nil {
		return err
	}
	var gone []*unit
	m.mu.Lock()
	closed := m.closed
	for name, u := range m.units {
		if _, ok := cfgs[name]; !ok {
			gone = append(gone, u)
		}
	}
	m.mu.Unlock()
	if closed {
		return ErrClosed
	}
	errs := []error{m.stop(gone)}
	for _, name := range slices.Sorted(maps.Keys(cfgs)) {
		if err := ctx.Err(); err != nil {
			return errors.Join(append(errs, err)...)
		}
		errs = append(errs, m.apply(name, cfgs[name]))
	}
	return errors.Join(errs...)
}

// apply starts one connector, or replaces it if its configuration has changed.
func (m *Manager) apply(name string, cfg map[string]any) error {
	u, _ := m.unit(name) // none is no error
	switch {
	case u == nil:
		return m.add(name, cfg)
	case u.ending: // told so by an Apply that gave up on it
	case reflect.DeepEqual(u.cfg, cfg), u.update(cfg):
		return nil
	}
	if err := u.end(); err != nil {
		return err
	}
	u.setConfig(cfg)
	return u.begin()
}

// add starts a connector that did not run.
func (m *Manager) add(name string, cfg map[string]any) error {
	consumer, giveUp, err := m.cfg.Open(name, cfg["start"] == "end")
	if err != nil {
		return fmt.Errorf("connector %s: %w", name, err)
	}
	u := &unit{m: m, name: name, kind: fmt.Sprint(cfg["kind"]), cfg: cfg, source: consumer, giveUp: giveUp, log: m.cfg.Deps.Log.With("connector", name)}
	if err := u.begin(); err != nil {
		giveUp()
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.units[name] = u
	return nil
}

// construct makes a connector of the kind that cfg names.
func (m *Manager) construct(name string, cfg map[string]any, source Source) (c Connector, err error) {
	kind, _ := cfg["kind"].(string)
	f, ok := m.cfg.Factories[kind]
	if !ok {
		return nil, fmt.Errorf("connector %s: kind %q is not built in, there is %s", name, kind,
			strings.Join(slices.Sorted(maps.Keys(m.cfg.Factories)), ", "))
	}
	deps := m.cfg.Deps
	deps.Source = source
	deps.Log = deps.Log.With("connector", name)
	if err := supervise.Contain(func() error { c, err = f.New(name, cfg, deps); return err }); err != nil {
		return nil, fmt.Errorf("connector %s: %w", name, err)
	}
	return c, nil
}

// unopened is the consumer of connectors that are only checked.
type unopened struct {
	Source
	name string
}

// Name implements [Source].
func (u unopened) Name() string { return u.name }

// Info is a connector as [Manager.List] shows it.
type Info struct {
	Name string
	Kind string
	Status
	AckSeq uint64 // every frame up to it is delivered
	Lag    uint64 // frames behind it that wait for delivery
}

// List returns the connectors, sorted by name.
func (m *Manager) List() []Info {
	m.mu.Lock()
	units := slices.SortedFunc(maps.Values(m.units), func(a, b *unit) int { return strings.Compare(a.name, b.name) })
	m.mu.Unlock()
	list := make([]Info, len(units))
	for i, u := range units {
		list[i] = u.info()
	}
	return list
}

func (m *Manager) unit(name string) (*unit, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	u, ok := m.units[name]
	if !ok {
		return nil, fmt.Errorf("connector %s: %w", name, ErrUnknown)
	}
	return u, nil
}

// Reconnect drops the connection of a connector and makes a new one at once.
func (m *Manager) Reconnect(name string) error {
	u, err := m.unit(name)
	if err != nil {
		return err
	}
	u.current().Reconnect()
	return nil
}

// SetPaused stops or continues delivery. It outlives a change of the connector's
// configuration, not a restart of the gateway.
func (m *Manager) SetPaused(name string, paused bool) error {
	u, err := m.unit(name)
	if err != nil {
		return err
	}
	u.setPaused(paused)
	return nil
}

// Test tries every step of a connector's delivery; see [Connector].
func (m *Manager) Test(ctx context.Context, name string, report func(Step)) error {
	u, err := m.unit(name)
	if err != nil {
		return err
	}
	u.current().Test(ctx, report)
	return nil
}

// Replay sends frames through a connector once more; see [Connector].
func (m *Manager) Replay(ctx context.Context, name, id string, batches []*frame.Batch) (where string, err error) {
	u, err := m.unit(name)
	if err != nil {
		return "", err
	}
	where, err = u.current().Replay(ctx, id, batches)
	if err != nil {
		return where, fmt.Errorf("connector %s: %w", name, err)
	}
	return where, nil
}
