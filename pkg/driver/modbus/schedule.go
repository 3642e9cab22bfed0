package modbus

import (
	"hash/fnv"
	"time"
)

// spread is the part of an interval over which a class's requests are spread.
// The rest is slack, so that a slow answer does not make the cycle overrun.
const spread = 0.75

// schedule says when the requests of a class are due. Cycles begin at instants
// that are the driver's phase apart from whole intervals of the Unix epoch, so
// that drivers with the same interval do not all ask at once; only the first
// cycle begins when the driver does, and is not spread.
type schedule struct {
	start time.Time // of the current cycle
	pos   int       // next request of the cycle; all are done when it is their number
	first bool      // in the first cycle

	// notBefore holds back what is left of the cycle after an update, which may
	// have moved requests to earlier places.
	notBefore time.Time
}

// restart begins a first cycle.
func (s *schedule) restart(now time.Time) { *s = schedule{start: now, first: true} }

// tick returns the grid, from the Unix epoch on, on which the requests of an
// interval are due: a twentieth of it, 1 to 10 ms. Requests of many drivers that fall
// on one instant share a wake-up of the process, which costs more than a request
// does, and no poll moves by more than a tick.
func tick(interval time.Duration) time.Duration {
	return min(max((interval/20).Truncate(time.Millisecond), time.Millisecond), 10*time.Millisecond)
}

// due returns when request s.pos of n is due.
func (s *schedule) due(interval time.Duration, n int) time.Time {
	if s.first || n == 0 {
		return s.start
	}
	step := time.Duration(spread * float64(interval) / float64(n))
	due := s.start.Add((time.Duration(s.pos) * step).Truncate(tick(interval)))
	if due.Before(s.notBefore) {
		return s.notBefore
	}
	return due
}

// roll begins the next cycle once all n requests of this one are done. A cycle
// that should have begun before that is skipped; roll returns how many were.
func (s *schedule) roll(now time.Time, interval, phase time.Duration, n int) (skipped int) {
	if s.pos < n {
		return 0
	}
	next := s.start.Add(interval)
	if s.first {
		// Onto the grid, half an interval to one and a half from the first cycle.
		next = s.start.Add(interval / 2)
		next = next.Add(untilPhase(next, interval, phase))
	}
	if late := now.Sub(next); late > 0 {
		skipped = int((late + interval - 1) / interval)
		next = next.Add(time.Duration(skipped) * interval)
	}
	*s = schedule{start: next}
	return skipped
}

// untilPhase returns the time from t to the next instant of the grid.
func untilPhase(t time.Time, interval, phase time.Duration) time.Duration {
	return time.Duration((int64(phase) - t.UnixNano()%int64(interval) + int64(interval)) % int64(interval))
}

// phaseOf returns the phase of the driver id for interval, in whole ticks.
func phaseOf(id string, interval time.Duration) time.Duration {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // never fails
	return time.Duration(h.Sum64() >> 1 % uint64(interval)).Truncate(tick(interval))
}
