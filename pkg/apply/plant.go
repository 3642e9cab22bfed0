package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// Drivers runs drivers by id. Its operations are idempotent: starting what runs
// with the same configuration, or stopping what doesn't, succeeds; starting what
// runs with another one replaces it.
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
	// its connections.
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

// The modes, each asking for more than the one before.
const (
	VerifyInit      VerifyMode = "init"       // it was constructed and started
	VerifyConnect   VerifyMode = "connect"    // it talks to its device, if it did before
	VerifyFirstRead VerifyMode = "first_read" // it has read a good value, if it ran before
	VerifyStrict    VerifyMode = "strict"     // first_read, for new drivers too
)

// PlantConfig is what a [Plant] of drivers is made of. All fields are set.
type PlantConfig struct {
	Drivers   Drivers
	Endpoints Endpoints
	Settings  Settings
	Verify    VerifyMode
	// Commit makes a snapshot the one that the next start begins with.
	Commit func(context.Context, *config.Snapshot) error
}

// NewPlant returns the plant that the gateway runs.
func NewPlant(c PlantConfig) Plant { return &plant{c} }

type plant struct{ PlantConfig }

// parallel bounds how many drivers or endpoints are worked on at a time.
const parallel = 32

// Prepare implements [Plant].
func (p *plant) Prepare(ctx context.Context, old, next *config.Snapshot) (Change, error) {
	impact := config.Diff(old, next).Impact(old, next)
	c := &change{plant: p, old: newView(old), next: newView(next), impact: impact}
	var errs []error
	for id, ep := range next.Endpoints {
		if err := p.Endpoints.Check(id, ep); err != nil {
			errs = append(errs, err)
		}
	}
	if err := p.Settings.Check(next.Settings); err != nil {
		errs = append(errs, err)
	}
	for _, id := range slices.Concat(impact.Start, impact.Restart, impact.Reload) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		item, ep, vars := c.next.driver(id)
		if err := p.Drivers.Check(id, item, ep, vars); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for _, id := range impact.Restart {
		if s, ok := p.Drivers.Status(id); ok && s.State == driver.Running {
			c.ranBefore = append(c.ranBefore, id)
		}
	}
	for _, id := range impact.Reload {
		if s, ok := p.Drivers.Status(id); ok && s.State == driver.Running {
			c.ranBefore = append(c.ranBefore, id)
		}
	}
	return c, nil
}

// view is a snapshot with its variables by driver.
type view struct {
	*config.Snapshot
	vars map[string][]config.Variable
}

func newView(s *config.Snapshot) view { return view{s, s.DriverVariables()} }

func (v view) driver(id string) (config.Driver, config.Endpoint, []config.Variable) {
	item := v.Drivers[id]
	return item, v.Endpoints[item.EndpointID], v.vars[id]
}

// change is one transition of the plant.
type change struct {
	*plant
	old, next view
	impact    *config.Impact
	ranBefore []string // drivers of the impact that were reading when it began
}

// Needs implements [Change].
func (c *change) Needs() Needs {
	im := c.impact
	return Needs{
		Drain:   len(im.Drain) > 0,
		Restart: len(im.Stop)+len(im.Start)+len(im.Restart) > 0,
		Reload:  len(im.Reload)+len(im.Groups) > 0,
	}
}

// Impact implements [Change].
func (c *change) Impact() string {
	var parts []string
	for _, p := range []struct {
		what string
		ids  []string
	}{
		{"drain", c.impact.Drain}, {"stop", c.impact.Stop}, {"start", c.impact.Start},
		{"restart", c.impact.Restart}, {"reload", c.impact.Reload}, {"settings", c.impact.Groups},
	} {
		switch n := len(p.ids); {
		case n == 0:
		case n <= 5:
			parts = append(parts, fmt.Sprintf("%s %s", p.what, strings.Join(p.ids, ",")))
		default:
			parts = append(parts, fmt.Sprintf("%s %s and %d more", p.what, strings.Join(p.ids[:5], ","), n-5))
		}
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, "; ")
}

// Drain implements [Change]: the drivers of the endpoints that change are stopped
// first, so that nobody asks for a new connection meanwhile.
func (c *change) Drain(ctx context.Context) error {
	draining := map[string]bool{}
	for _, id := range c.impact.Drain {
		draining[id] = true
	}
	var stop []string
	for _, id := range slices.Concat(c.impact.Stop, c.impact.Restart) {
		if draining[c.old.Drivers[id].EndpointID] {
			stop = append(stop, id)
		}
	}
	if err := each(ctx, stop, c.Drivers.Stop); err != nil {
		return err
	}
	return each(ctx, c.impact.Drain, c.Endpoints.Drain)
}

// Restart implements [Change]. Start replaces a driver that runs: the new one is
// constructed before the old one ends, and takes over the last values.
func (c *change) Restart(ctx context.Context) error {
	if err := each(ctx, c.impact.Stop, c.Drivers.Stop); err != nil {
		return err
	}
	return each(ctx, slices.Concat(c.impact.Restart, c.impact.Start), func(ctx context.Context, id string) error {
		item, ep, vars := c.next.driver(id)
		return c.Drivers.Start(ctx, id, item, ep, vars)
	})
}

// Reload implements [Change].
func (c *change) Reload(ctx context.Context) error {
	if len(c.impact.Groups) > 0 {
		if err := c.Settings.Set(ctx, c.next.Settings); err != nil {
			return err
		}
	}
	return each(ctx, c.impact.Reload, func(_ context.Context, id string) error {
		return c.Drivers.Update(id, c.next.vars[id])
	})
}

// verifyPoll is how often verify looks at a driver.
const verifyPoll = 10 * time.Millisecond

// Verify implements [Change].
func (c *change) Verify(ctx context.Context) error {
	ids := c.ranBefore
	switch c.PlantConfig.Verify {
	case VerifyInit:
		return nil
	case VerifyStrict:
		ids = slices.Concat(c.impact.Start, c.impact.Restart, c.impact.Reload)
	}
	return each(ctx, ids, c.verifyOne)
}

func (c *change) verifyOne(ctx context.Context, id string) error {
	tick := time.NewTicker(verifyPoll)
	defer tick.Stop()
	for {
		s, ok := c.Drivers.Status(id)
		if ok && c.reached(s) {
			return nil
		}
		select {
		case <-ctx.Done():
			if s.Error == "" {
				s.Error = "no answer yet"
			}
			return fmt.Errorf("driver %s ran before and does not now (%s): %s: %w", id, s.State, s.Error, ctx.Err())
		case <-tick.C:
		}
	}
}

func (c *change) reached(s driver.Status) bool {
	if c.PlantConfig.Verify == VerifyConnect {
		return s.State == driver.Running || s.Polls > 0
	}
	return s.State == driver.Running && !s.FirstRead.IsZero()
}

// Commit implements [Change].
func (c *change) Commit(ctx context.Context) error {
	return c.PlantConfig.Commit(ctx, c.next.Snapshot)
}

// Rollback implements [Change]. It does not ask how far the change came: what the
// new snapshot has is stopped, what the old one has is started, and the drivers'
// operations do nothing where that is so already.
func (c *change) Rollback(ctx context.Context) error {
	im := c.impact
	errs := []error{
		each(ctx, im.Start, c.Drivers.Stop),
		each(ctx, im.Drain, c.Endpoints.Drain),
		each(ctx, slices.Concat(im.Stop, im.Restart), func(ctx context.Context, id string) error {
			item, ep, vars := c.old.driver(id)
			return c.Drivers.Start(ctx, id, item, ep, vars)
		}),
		each(ctx, im.Reload, func(_ context.Context, id string) error {
			return c.Drivers.Update(id, c.old.vars[id])
		}),
	}
	if len(im.Groups) > 0 {
		errs = append(errs, c.Settings.Set(ctx, c.old.Settings))
	}
	return errors.Join(errs...)
}

// each runs do for all ids, some at a time, and returns all errors.
func each(ctx context.Context, ids []string, do func(context.Context, string) error) error {
	var g errgroup.Group
	g.SetLimit(parallel)
	errs := make([]error, len(ids))
	for i, id := range ids {
		g.Go(func() error {
			errs[i] = do(ctx, id)
			return nil
		})
	}
	_ = g.Wait() // the functions above return nil
	return errors.Join(errs...)
}
