package driver

import (
	"hash/fnv"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// Cycle says when points that are read together are due: at once, and then at instants
// that are the driver's phase apart from whole intervals of the Unix epoch, so that drivers
// with the same interval do not all ask at once.
type Cycle struct {
	Interval time.Duration
	Phase    time.Duration
	Next     time.Time // zero: at once
}

// NewCycle returns the cycle of points of the driver id.
func NewCycle(id string, interval time.Duration) Cycle {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // never fails
	return Cycle{Interval: interval, Phase: time.Duration(h.Sum64() >> 1 % uint64(interval)).Truncate(time.Millisecond)}
}

// Begin begins a cycle and returns how many were skipped before it.
func (c *Cycle) Begin(now time.Time) (skipped int) {
	if c.Next.IsZero() {
		// Onto the grid, half an interval to one and a half from the first cycle.
		c.Next = now.Add(c.Interval / 2)
		c.Next = c.Next.Add(time.Duration((int64(c.Phase) - c.Next.UnixNano()%int64(c.Interval) + int64(c.Interval)) % int64(c.Interval)))
		return 0
	}
	skipped = max(0, int(now.Sub(c.Next)/c.Interval))
	c.Next = c.Next.Add(time.Duration(1+skipped) * c.Interval)
	return skipped
}

// minPolling is the shortest interval of a variable; the schemas have the drivers'.
const minPolling = time.Millisecond

// Interval returns how often v is polled: by itself, or as its driver's others.
func Interval(v *config.Variable, others time.Duration) (time.Duration, error) {
	switch d := v.Polling.Std(); {
	case d == 0:
		return others, nil
	case d < minPolling:
		return 0, config.FieldErrorf("polling", "%v, expected at least %v", d, minPolling)
	default:
		return d, nil
	}
}
