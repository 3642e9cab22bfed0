package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// change is one transition of the plant. The phases run one after the other, their
// items side by side.
type change struct {
	*plant
	old, next view
	impact    *config.Impact
	ran       []string // drivers of the impact that were reading when it began

	// between are the variables that drivers have while tags move from one to
	// another: the old ones without those that move away. A tag whose old and new
	// driver both published it could end on the older value.
	between map[string][]config.Variable
	gave    bool // they are in use

	drained map[string]bool // endpoints that change

	// How far the phases came, for the rollback.
	reopened bool // drivers of drained endpoints may have connected anew
	set      bool // settings
	mu       sync.Mutex
	touched  map[string]bool // drivers that an operation was begun on
	stopped  map[string]bool // of them, those that have ended
	stuck    map[string]bool // of them, those that were told to end and had not
}

func newChange(p *plant, old, next *config.Snapshot, diff *config.Difference) *change {
	c := &change{
		plant: p, impact: diff.Impact(old, next), drained: map[string]bool{},
		touched: map[string]bool{}, stopped: map[string]bool{}, stuck: map[string]bool{},
	}
	im := c.impact
	concerned := map[string]bool{}
	for _, id := range slices.Concat(im.Stop, im.Start, im.Restart, im.Reload) {
		concerned[id] = true
	}
	for _, id := range im.Drain {
		c.drained[id] = true
	}
	c.old, c.next = newView(old, concerned), newView(next, concerned)
	c.between = between(c.old, diff)
	return c
}

// between returns the variables in between, of every driver that has to do with a
// tag that moves.
func between(old view, diff *config.Difference) map[string][]config.Variable {
	away := map[string]bool{}
	drivers := map[string]bool{}
	for i := range diff.Variables.Changed {
		changed := &diff.Variables.Changed[i]
		for _, f := range changed.Fields {
			if f.Path == "driver_id" {
				away[changed.ID] = true
				drivers[fmt.Sprint(f.Old)] = true
				drivers[fmt.Sprint(f.New)] = true
			}
		}
	}
	vars := make(map[string][]config.Variable, len(drivers))
	for id := range drivers {
		vars[id] = slices.DeleteFunc(slices.Clone(old.vars[id]), func(v config.Variable) bool { return away[v.Tag] })
	}
	return vars
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
	users := pick(slices.Concat(c.impact.Stop, c.impact.Restart), func(id string) bool {
		return c.drained[c.old.Drivers[id].EndpointID]
	})
	if err := each(ctx, users, c.stop); err != nil {
		return err
	}
	return each(ctx, c.impact.Drain, c.Endpoints.Drain)
}

// Restart implements [Change]. Start replaces a driver that runs: the new one is
// constructed before the old one ends, and takes over the last values. Drivers that
// go to another endpoint end first: two that change places would share a device for
// a moment, a serial line can't have two owners, and values of one device say
// nothing about another.
func (c *change) Restart(ctx context.Context) error {
	first := pick(slices.Concat(c.impact.Stop, c.impact.Restart), func(id string) bool { return c.roams(id) && !c.stopped[id] })
	if err := each(ctx, first, c.stop); err != nil {
		return err
	}
	if err := c.giveAway(ctx); err != nil {
		return err
	}
	c.reopened = true
	return each(ctx, slices.Concat(c.impact.Restart, c.impact.Start), func(ctx context.Context, id string) error {
		return c.start(ctx, id, c.next)
	})
}

// Reload implements [Change].
func (c *change) Reload(ctx context.Context) error {
	if len(c.impact.Groups) > 0 {
		c.set = true
		if err := c.Settings.Set(ctx, c.next.Settings); err != nil {
			return err
		}
	}
	if err := c.giveAway(ctx); err != nil {
		return err
	}
	return each(ctx, c.impact.Reload, func(_ context.Context, id string) error {
		return c.update(id, c.next.vars[id])
	})
}

// giveAway takes the tags that move from the drivers that have them, before any
// driver gets one.
func (c *change) giveAway(ctx context.Context) error {
	if c.gave {
		return nil
	}
	c.gave = true
	givers := pick(slices.Concat(c.impact.Restart, c.impact.Reload), func(id string) bool {
		vars, moves := c.between[id]
		return moves && len(vars) < len(c.old.vars[id]) && !c.stopped[id]
	})
	return each(ctx, givers, func(_ context.Context, id string) error { return c.update(id, c.between[id]) })
}

// Commit implements [Change].
func (c *change) Commit(ctx context.Context) error {
	return c.PlantConfig.Commit(ctx, c.next.Snapshot)
}

// Rollback implements [Change]: the phases towards the old snapshot, for what was
// touched alone, going on after errors. A driver outside of that is not disturbed,
// and one that does not stop is not asked to.
func (c *change) Rollback(ctx context.Context) error {
	im := c.impact
	isTouched := func(id string) bool { return c.touched[id] }
	starts := pick(im.Start, isTouched)
	restarts := pick(slices.Concat(im.Stop, im.Restart), isTouched)
	reloads := pick(im.Reload, isTouched)
	first := slices.Concat(starts, pick(restarts, c.endsFirst))
	errs := []error{every(ctx, first, c.stop)}
	if c.reopened {
		errs = append(errs, every(ctx, im.Drain, c.Endpoints.Drain))
	}
	takers := pick(reloads, func(id string) bool { _, moves := c.between[id]; return moves })
	errs = append(errs,
		every(ctx, takers, func(_ context.Context, id string) error { return c.update(id, c.between[id]) }),
		every(ctx, restarts, func(ctx context.Context, id string) error { return c.start(ctx, id, c.old) }),
		every(ctx, reloads, func(_ context.Context, id string) error { return c.update(id, c.old.vars[id]) }))
	if c.set {
		errs = append(errs, c.Settings.Set(ctx, c.old.Settings))
	}
	return join(errs)
}

// endsFirst reports whether driver id, which was touched and is to be as before,
// must end before anything of the old snapshot begins: because it may be half-way to
// its end already, because its endpoint changes back, because it goes back to
// another endpoint, or because it may have a tag that goes back to another driver.
func (c *change) endsFirst(id string) bool {
	_, moves := c.between[id]
	reopened := c.reopened && (c.drained[c.old.Drivers[id].EndpointID] || c.drained[c.next.Drivers[id].EndpointID])
	return c.stuck[id] || moves || reopened || c.roams(id)
}

// roams reports whether driver id is to have another endpoint, or none.
func (c *change) roams(id string) bool {
	return c.old.Drivers[id].EndpointID != c.next.Drivers[id].EndpointID
}

func (c *change) start(ctx context.Context, id string, v view) error {
	c.begin(id)
	item, ep, vars := v.driver(id)
	err := c.Drivers.Start(ctx, id, item, ep, vars)
	c.ended(id, false, err)
	return err
}

func (c *change) stop(ctx context.Context, id string) error {
	c.begin(id)
	err := c.Drivers.Stop(ctx, id)
	c.ended(id, true, err)
	return err
}

func (c *change) update(id string, vars []config.Variable) error {
	c.begin(id)
	return c.Drivers.Update(id, vars)
}

// begin notes that an operation on driver id begins.
func (c *change) begin(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.touched[id] = true
}

// ended notes how a Start or a Stop ended.
func (c *change) ended(id string, stopped bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.stopped[id] = stopped
	}
	c.stuck[id] = errors.Is(err, driver.ErrStuck)
}
