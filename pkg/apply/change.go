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

// change takes the plant from one snapshot to another, and back if that fails. Its phases
// run one after the other, their items side by side.
type change struct {
	*plant
	old, next view
	impact    *config.Impact
	ran       []string        // drivers of the impact that were reading when it began
	moved     map[string]bool // tags that go from one driver to another
	there     *transition

	// How far it came.
	connected bool // drivers of drained endpoints may have connections
	set       bool // settings
	mu        sync.Mutex
	touched   map[string]bool // drivers that an operation was begun on
	stopped   map[string]bool // of them, those that have ended
	stuck     map[string]bool // of them, those that were told to end and had not
}

func newChange(p *plant, old, next *config.Snapshot, diff *config.Difference) *change {
	c := &change{
		plant: p, impact: diff.Impact(old, next), moved: map[string]bool{}, connected: true,
		touched: map[string]bool{}, stopped: map[string]bool{}, stuck: map[string]bool{},
	}
	im := c.impact
	concerned := map[string]bool{}
	for _, id := range slices.Concat(im.Stop, im.Start, im.Restart, im.Reload) {
		concerned[id] = true
	}
	for i := range diff.Variables.Changed {
		changed := &diff.Variables.Changed[i]
		if slices.ContainsFunc(changed.Fields, func(f config.FieldChange) bool { return f.Path == "driver_id" }) {
			c.moved[changed.ID] = true
		}
	}
	c.old, c.next = newView(old, concerned), newView(next, concerned)
	c.there = c.transition(c.old, c.next, im)
	return c
}

// back is the way back from wherever the change came: what was touched alone, going on
// after errors. A driver outside of that is not disturbed.
func (c *change) back() *transition {
	from, to := c.next, c.old
	t := c.transition(from, to, config.Diff(from.Snapshot, to.Snapshot).Impact(from.Snapshot, to.Snapshot))
	for _, ids := range []*[]string{&t.stops, &t.starts, &t.restarts, &t.reloads} {
		*ids = pick(*ids, func(id string) bool { return c.touched[id] })
	}
	t.sets, t.unsure = c.set, true
	return t
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

// Drain implements [Change].
func (c *change) Drain(ctx context.Context) error { return c.there.run(ctx, drain) }

// Restart implements [Change].
func (c *change) Restart(ctx context.Context) error { return c.there.run(ctx, restart) }

// Reload implements [Change].
func (c *change) Reload(ctx context.Context) error { return c.there.run(ctx, reload) }

// Commit implements [Change].
func (c *change) Commit(ctx context.Context) error {
	return c.PlantConfig.Commit(ctx, c.next.Snapshot)
}

// Rollback implements [Change]: all phases of the way back.
func (c *change) Rollback(ctx context.Context) error {
	return c.back().run(ctx, drain, restart, reload)
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
