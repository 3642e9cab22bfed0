package apply

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// Verify implements [Change]. A driver that only got other variables is asked
// whether it still runs, and not waited for: its next poll may be due later than
// any timeout, and an address that the device refuses costs that tag alone.
func (c *change) Verify(ctx context.Context) error {
	ids := c.ran
	switch c.PlantConfig.Verify {
	case VerifyInit:
		return nil
	case VerifyStrict:
		ids = slices.Concat(c.impact.Start, c.impact.Restart, c.impact.Reload)
	}
	left, err := poll(ctx, ids, c.reached)
	if err == nil {
		return nil
	}
	errs := make([]error, len(left))
	for i, id := range left {
		errs[i] = c.unreached(id)
	}
	return unverified{join(errs), err}
}

// unverified says what the drivers do; that time ran out is told by the runner.
type unverified struct{ drivers, end error }

func (u unverified) Error() string   { return u.drivers.Error() }
func (u unverified) Unwrap() []error { return []error{u.drivers, u.end} }

// reached reports whether driver id does what is asked of it.
func (c *change) reached(id string) bool {
	s, ok := c.Drivers.Status(id)
	switch {
	case !ok:
		return false
	case s.State == driver.Paused:
		return true
	case c.PlantConfig.Verify == VerifyConnect:
		return s.State == driver.Running || s.Polls > 0 && !slices.Contains(c.impact.Reload, id)
	}
	if !slices.ContainsFunc(c.next.vars[id], func(v config.Variable) bool { return v.Access.Readable() }) {
		return true // there is nothing that it could read
	}
	return s.State == driver.Running && !s.FirstRead.IsZero()
}

// unreached says what driver id does instead.
func (c *change) unreached(id string) error {
	s, ok := c.Drivers.Status(id)
	if !ok {
		return fmt.Errorf("driver %s is gone", id)
	}
	if s.Error == "" {
		s.Error = "no good answer yet"
	}
	before := "is to run"
	if slices.Contains(c.ran, id) {
		before = "ran before"
	}
	return fmt.Errorf("driver %s %s, and its state is %s: %s", id, before, s.State, s.Error)
}

// look is how often verify and prepare look at a driver.
const look = 10 * time.Millisecond

// poll looks at ids until done has answered true for each. When ctx ends it
// returns those that are left with the error of ctx.
func poll(ctx context.Context, ids []string, done func(id string) bool) ([]string, error) {
	left := slices.DeleteFunc(slices.Clone(ids), done)
	if len(left) == 0 {
		return nil, nil
	}
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return left, ctx.Err()
		case <-tick.C:
		}
		if left = slices.DeleteFunc(left, done); len(left) == 0 {
			return nil, nil
		}
	}
}
