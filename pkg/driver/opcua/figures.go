package opcua

import (
	"slices"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// figures are what a driver's status is made of beyond its counters: the last
// latencies, and what happened in the last minute. The driver's mutex guards them.
type figures struct {
	latency [latencies]time.Duration
	n       int // of latency, ever
	slots   [recentSlots]slot
}

// slot is a part of the last minute.
type slot struct {
	began  time.Time
	counts driver.Recent
}

const (
	latencies   = 256 // answers that the quantiles are of
	recentSlots = 7   // six whole ones and the one that is being filled
	slotLength  = 10 * time.Second
)

// at returns the counters of the slot that now falls in.
func (f *figures) at(now time.Time) *driver.Recent {
	began := now.Truncate(slotLength)
	s := &f.slots[int(began.Unix()/int64(slotLength/time.Second))%recentSlots]
	if !s.began.Equal(began) {
		*s = slot{began: began}
	}
	return &s.counts
}

// fill completes a copy of the status.
func (f *figures) fill(st *driver.Status, now time.Time) {
	for i := range f.slots {
		s := &f.slots[i]
		if now.Sub(s.began) >= recentSlots*slotLength {
			continue
		}
		st.LastMinute.Cycles += s.counts.Cycles
		st.LastMinute.Overruns += s.counts.Overruns
		st.LastMinute.Polls += s.counts.Polls
		st.LastMinute.Retries += s.counts.Retries
		st.LastMinute.Errors += s.counts.Errors
	}
	if n := min(f.n, latencies); n > 0 {
		sorted := slices.Clone(f.latency[:n])
		slices.Sort(sorted)
		st.LatencyP50, st.LatencyP99 = sorted[(n-1)/2], sorted[(n-1)*99/100]
	}
}

// answered counts an answer; took is 0 where it was not waited for.
func (d *opcuaDriver) answered(now time.Time, took time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	st := &d.status
	st.Polls++
	st.LastRead, st.Error = now, ""
	if st.FirstRead.IsZero() {
		st.FirstRead = now
	}
	if took > 0 {
		d.figures.latency[d.figures.n%latencies] = took
		d.figures.n++
	}
	d.figures.at(now).Polls++
}

// cycled counts a cycle that begins, and those that were skipped before it.
func (d *opcuaDriver) cycled(now time.Time, skipped int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status.Cycles += uint64(1 + skipped)
	d.status.Overruns += uint64(skipped)
	s := d.figures.at(now)
	s.Cycles += uint64(1 + skipped)
	s.Overruns += uint64(skipped)
}

// failed counts what failed and why.
func (d *opcuaDriver) failed(now time.Time, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status.Errors++
	d.status.Error, d.status.LastError, d.status.LastErrorAt = err.Error(), err.Error(), now
	d.figures.at(now).Errors++
}
