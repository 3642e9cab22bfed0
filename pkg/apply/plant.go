package apply

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// Drivers runs drivers by id; [driver.Manager] implements it. Operations on
// different ids may overlap. They are idempotent: starting what runs with the same
// configuration, or stopping what doesn't run, succeeds; starting what runs with
// another one replaces it. One that fails has left the driver as it was, unless
// the error is [driver.ErrStuck]: then the driver was told to end and has not
// done so yet.
type Drivers interface {
	// Check constructs the driver and throws it away, touching nothing.
	Check(id string, item config.Driver, endpoint config.Endpoint, vars []config.Variable) error
	Start(ctx context.Context, id string, item config.Driver, endpoint config.Endpoint, vars []config.Variable) error
	Stop(ctx context.Context, id string) error
	Update(id string, vars []config.Variable) error
	Status(id string) (driver.Status, bool)
}

// Endpoints closes connections.
type Endpoints interface {
	// Check reports whether the definition can work, touching nothing.
	Check(id string, item config.Endpoint) error
	// Drain waits, within ctx, for what is in flight on the endpoint and closes
	// its connections. An endpoint that nobody uses needs none.
	Drain(ctx context.Context, id string) error
}

// Settings changes the bus's and the connectors' tunables.
type Settings interface {
	// Check reports whether the groups can be set, touching nothing.
	Check(groups map[string]map[string]any) error
	// Set makes exactly these groups count.
	Set(ctx context.Context, groups map[string]map[string]any) error
}

// VerifyMode says what a changed driver must reach before the change counts as
// good (config.verify).
type VerifyMode string

// The modes, each asking for more than the one before. Drivers that are paused, by
// an operator or by back-pressure, are not asked: it says nothing about their
// configuration.
const (
	VerifyInit      VerifyMode = "init"       // it was constructed and started
	VerifyConnect   VerifyMode = "connect"    // it talks to its device, if it did before
	VerifyFirstRead VerifyMode = "first_read" // it has read a good value, if it ran before
	VerifyStrict    VerifyMode = "strict"     // first_read, for every driver concerned
)

// PlantConfig is what a [Plant] of drivers is made of. All fields are set.
type PlantConfig struct {
	Drivers   Drivers
	Endpoints Endpoints
	Settings  Settings
	Verify    VerifyMode
	// Commit makes a snapshot the one that the next start begins with. After an
	// error the one before is still that.
	Commit func(context.Context, *config.Snapshot) error
}

// NewPlant returns the plant that the gateway runs.
func NewPlant(c PlantConfig) Plant { return &plant{c} }

type plant struct{ PlantConfig }

// Prepare implements [Plant]. What old has as well was checked when old came.
func (p *plant) Prepare(ctx context.Context, old, next *config.Snapshot) (Change, error) {
	if err := checkReferences(next); err != nil {
		return nil, err
	}
	diff := config.Diff(old, next)
	c := newChange(p, old, next, diff)
	var errs []error
	for _, id := range diff.Endpoints.Added {
		errs = append(errs, p.Endpoints.Check(id, next.Endpoints[id]))
	}
	for _, changed := range diff.Endpoints.Changed {
		errs = append(errs, p.Endpoints.Check(changed.ID, next.Endpoints[changed.ID]))
	}
	if len(c.impact.Groups) > 0 {
		errs = append(errs, p.Settings.Check(next.Settings))
	}
	for _, id := range slices.Concat(c.impact.Start, c.impact.Restart, c.impact.Reload) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		item, ep, vars := c.next.driver(id)
		errs = append(errs, p.Drivers.Check(id, item, ep, vars))
	}
	if err := join(errs); err != nil {
		return nil, err
	}
	if p.Verify != VerifyInit {
		if err := c.noteRunning(ctx); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// checkReferences refuses a snapshot that names what it lacks. Tables from files
// cannot; those of a config center can, if somebody forced them past the lint.
func checkReferences(s *config.Snapshot) error {
	var errs []error
	for _, r := range s.Dangling() {
		errs = append(errs, fmt.Errorf("%s %s: %s: there is no %s %q", r.Table.Singular(), r.ID, r.Field, r.To.Singular(), r.Target))
	}
	return join(errs)
}

// settle is how long a driver may be on its way to its first answer before it
// counts as one that doesn't run.
const settle = 2 * time.Second

// noteRunning notes which drivers of the impact read their devices now. One that
// has just been started, by a rollback or at the boot, is waited for: a bad
// configuration that comes again at once must not pass because the drivers were
// not yet back from the first time.
func (c *change) noteRunning(ctx context.Context) error {
	ids := slices.Concat(c.impact.Restart, c.impact.Reload)
	_, err := poll(ctx, ids, func(id string) bool {
		s, ok := c.Drivers.Status(id)
		if ok && s.State == driver.Running {
			c.ran = append(c.ran, id)
		}
		return !ok || s.State != driver.Starting || time.Since(s.Since) >= settle
	})
	return err
}

// view is a snapshot with the variables of the drivers concerned.
type view struct {
	*config.Snapshot
	vars map[string][]config.Variable // by driver
}

// newView groups the variables of the drivers in ids alone: there may be a hundred
// thousand others.
func newView(s *config.Snapshot, ids map[string]bool) view {
	v := view{s, make(map[string][]config.Variable, len(ids))}
	if len(ids) == 0 {
		return v
	}
	for i := range s.Variables {
		if id := s.Variables[i].DriverID; ids[id] {
			v.vars[id] = append(v.vars[id], s.Variables[i])
		}
	}
	return v
}

func (v view) driver(id string) (config.Driver, config.Endpoint, []config.Variable) {
	item := v.Drivers[id]
	return item, v.Endpoints[item.EndpointID], v.vars[id]
}
