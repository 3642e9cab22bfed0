package apply

import (
	"context"
	"slices"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// transition is a way from one snapshot to another. The way back is the same one with the
// arguments swapped. It differs in two things: it goes on after errors, and it is unsure
// of what runs, since a phase that failed was done in part.
type transition struct {
	*change
	from, to view

	drains   []string // endpoints that change or go
	drained  map[string]bool
	stops    []string // drivers of from alone
	starts   []string // drivers of to alone
	restarts []string // drivers of both that change
	reloads  []string // drivers of which only variables change
	sets     bool     // settings change

	unsure bool // it is the way back
	gave   bool // the tags that move are with nobody
}

// transition returns the way from one snapshot to another, of that impact.
func (c *change) transition(from, to view, im *config.Impact) *transition {
	t := &transition{change: c, from: from, to: to, drains: im.Drain, drained: map[string]bool{},
		stops: im.Stop, starts: im.Start, restarts: im.Restart, reloads: im.Reload, sets: len(im.Groups) > 0}
	for _, id := range im.Drain {
		t.drained[id] = true
	}
	return t
}

// phase is a list of operations, which run one after the other.
type phase []func(*transition, context.Context) error

// The phases of a transition, in their order.
var (
	drain   = phase{(*transition).stopUsers, (*transition).drainEndpoints}
	restart = phase{(*transition).stopFirst, (*transition).giveAway, (*transition).startAll}
	reload  = phase{(*transition).setSettings, (*transition).giveAway, (*transition).updateAll}
)

// run runs phases, to the first error or, on the way back, to the end.
func (t *transition) run(ctx context.Context, phases ...phase) error {
	var errs []error
	for _, do := range slices.Concat(phases...) {
		err := do(t, ctx)
		if err != nil && !t.unsure {
			return err
		}
		errs = append(errs, err)
	}
	return join(errs)
}

// items runs do for ids, to the first error or, on the way back, to the end.
func (t *transition) items(ctx context.Context, ids []string, do func(context.Context, string) error) error {
	if t.unsure {
		return every(ctx, ids, do)
	}
	return each(ctx, ids, do)
}

// stopUsers stops the drivers of the endpoints that change or go, so that nobody asks for a new
// connection while these are drained.
func (t *transition) stopUsers(ctx context.Context) error {
	if !t.connected {
		return nil
	}
	users := pick(slices.Concat(t.stops, t.restarts), func(id string) bool {
		return t.drained[t.from.Drivers[id].EndpointID] && !t.stopped[id]
	})
	return t.items(ctx, users, t.stop)
}

// drainEndpoints drains these endpoints, if drivers may have connected to them
// since: a drain that failed is not tried again.
func (t *transition) drainEndpoints(ctx context.Context) error {
	if !t.connected {
		return nil
	}
	t.connected = false
	return t.items(ctx, t.drains, t.Endpoints.Drain)
}

// stopFirst stops the drivers that must end before anything of to begins.
func (t *transition) stopFirst(ctx context.Context) error {
	return t.items(ctx, pick(slices.Concat(t.stops, t.restarts, t.starts), t.endsFirst), t.stop)
}

// endsFirst reports whether driver id must end before others start: because it is told to
// end already and would be taken for running; because it goes, or goes to another endpoint
// (two that change places would share a device for a moment, a serial line can't have two
// owners, and values of one device say nothing about another); or because it may have a
// tag that goes to another driver, and can't be told to give it away, since nobody knows
// as what it runs.
func (t *transition) endsFirst(id string) bool {
	if t.stuck[id] || t.stopped[id] {
		return t.stuck[id]
	}
	from, runs := t.from.Drivers[id]
	return runs && (from.EndpointID != t.to.Drivers[id].EndpointID || t.unsure && t.gives(id))
}

// gives reports whether driver id has a tag that goes to another driver.
func (t *transition) gives(id string) bool {
	return len(t.moved) > 0 && slices.ContainsFunc(t.from.vars[id], func(v config.Variable) bool { return t.moved[v.Tag] })
}

// giveAway takes the tags that move from the drivers that have them, before any driver
// gets one: a tag that two drivers published could end on the older value.
func (t *transition) giveAway(ctx context.Context) error {
	if t.gave {
		return nil
	}
	t.gave = true
	givers := pick(slices.Concat(t.restarts, t.reloads), func(id string) bool { return !t.stopped[id] && t.gives(id) })
	return t.items(ctx, givers, func(_ context.Context, id string) error {
		away := func(v config.Variable) bool { return t.moved[v.Tag] }
		return t.update(id, slices.DeleteFunc(slices.Clone(t.from.vars[id]), away))
	})
}

// startAll starts what comes or changes. Start replaces a driver that runs: the new one is
// constructed before the old one ends, and takes over the last values.
func (t *transition) startAll(ctx context.Context) error {
	t.connected = true
	return t.items(ctx, slices.Concat(t.restarts, t.starts), func(ctx context.Context, id string) error {
		return t.start(ctx, id, t.to)
	})
}

func (t *transition) setSettings(ctx context.Context) error {
	if !t.sets {
		return nil
	}
	t.set = true
	return t.Settings.Set(ctx, t.to.Settings)
}

func (t *transition) updateAll(ctx context.Context) error {
	return t.items(ctx, t.reloads, func(_ context.Context, id string) error {
		return t.update(id, t.to.vars[id])
	})
}
