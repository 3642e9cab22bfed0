package gateway

import (
	"context"
	"fmt"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
	"github.com/edge-gateway/edge-gateway/pkg/moment"
)

// clock says whether the machine's clock can be right. A board without a battery begins
// in 1970, or where it stopped, until it has reached a time server.
type clock struct {
	notBefore time.Time
	now       func() time.Time
}

func newClock(cfg *bootstrap.Clock) clock {
	return clock{notBefore: cfg.NotBefore.Std(), now: time.Now}
}

// unset returns what is wrong with the clock, nil if it may be right.
func (c clock) unset() error {
	now := c.now()
	if !now.Before(c.notBefore) {
		return nil
	}
	return fmt.Errorf("the clock says %s, which is before clock.not_before (%s): it is not set yet, and frames are uncertain until it is",
		moment.Format(now), moment.Format(c.notBefore))
}

// clockEvery is how often a clock that isn't set is looked at.
const clockEvery = 500 * time.Millisecond

// waitForClock waits until the clock is set, as long as clock.wait says at most, and
// keeps systemd from giving up on the start meanwhile.
func (g *Gateway) waitForClock() {
	began := time.Now()
	for g.clock.unset() != nil && time.Since(began) < g.cfg.Clock.Wait.Std() {
		if time.Since(began) < clockEvery {
			g.log.Warn("the start waits for the clock", "error", g.clock.unset(), "wait", g.cfg.Clock.Wait)
		}
		notifier{g.log}.send(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", (10 * time.Second).Microseconds()))
		time.Sleep(min(clockEvery, g.cfg.Clock.Wait.Std()-time.Since(began)))
	}
	if err := g.clock.unset(); err != nil {
		g.log.Warn("the clock is not set", "error", err)
	}
}

// watchClock tells upstream when a clock that was not set at the start is, so that a
// consumer knows up to where times can't be relied on.
func (g *Gateway) watchClock(ctx context.Context) error {
	if g.clock.unset() == nil {
		return nil
	}
	began, before := time.Now(), g.clock.now()
	tick := time.NewTicker(clockEvery)
	defer tick.Stop()
	for g.clock.unset() != nil {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
	after := g.clock.now()
	ran := time.Since(began) // by the clock that can't be set
	g.log.Info("the clock is set; frames are good from now on", "was", before.Add(ran).UTC(), "is", after.UTC())
	return g.bus.PublishSys("sys.clock", map[string]any{
		"set": true, "was": before.Add(ran).UTC(), "is": after.UTC(), "step_s": int64(after.Sub(before.Add(ran)).Round(0) / time.Second),
	})
}
