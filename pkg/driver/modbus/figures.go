package modbus

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
	longest time.Duration // until a late answer, since the device answered last
}

// slot is a part of the last minute.
type slot struct {
	began            time.Time
	cycles, overruns uint64
	polls, retries   uint64
	errors           uint64
	lates            uint64
	longest          time.Duration // until a late answer
}

const (
	latencies   = 256 // answers that the quantiles are of
	recentSlots = 7   // six whole ones and the one that is being filled
	slotLength  = 10 * time.Second
)

// at returns the slot that now falls in, and whose counters stand where.
func (f *figures) at(now time.Time) *slot {
	began := now.Truncate(slotLength)
	s := &f.slots[int(began.Unix()/int64(slotLength/time.Second))%recentSlots]
	if !s.began.Equal(began) {
		*s = slot{began: began}
	}
	return s
}

// answered counts an answer that took so long.
func (d *modbusDriver) answered(now time.Time, took time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	st := &d.status
	st.Polls++
	st.LastRead, st.Error = now, ""
	if st.FirstRead.IsZero() {
		st.FirstRead = now
	}
	d.figures.latency[d.figures.n%latencies] = took
	d.figures.n++
	d.figures.longest = 0
	d.figures.at(now).polls++
}

// cycled counts a cycle that begins, and those that were skipped before it.
func (d *modbusDriver) cycled(now time.Time, skipped int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status.Cycles += uint64(1 + skipped)
	d.status.Overruns += uint64(skipped)
	s := d.figures.at(now)
	s.cycles += uint64(1 + skipped)
	s.overruns += uint64(skipped)
}

// failed counts requests that failed, and that are repeated.
func (d *modbusDriver) failed(now time.Time, failed, repeated int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status.Errors += uint64(failed)
	d.status.Retries += uint64(repeated)
	s := d.figures.at(now)
	s.errors += uint64(failed)
	s.retries += uint64(repeated)
}

// late counts an answer that came after its timeout.
func (d *modbusDriver) late(took time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.figures.at(time.Now())
	s.lates++
	s.longest = max(s.longest, took)
	d.figures.longest = max(d.figures.longest, took)
}

// oddLates is how many late answers in a minute are no exception, if they are one in
// oddLateShare or explain the cycles that were skipped.
const (
	oddLates     = 5
	oddLateShare = 10
)

// fill completes a copy of the status. held tells that the endpoint may hold requests
// back. The driver's mutex is held.
func (f *figures) fill(st *driver.Status, now time.Time, held bool) {
	lates, longest := uint64(0), time.Duration(0)
	for i := range f.slots {
		s := &f.slots[i]
		if now.Sub(s.began) >= recentSlots*slotLength {
			continue
		}
		r := &st.LastMinute
		r.Cycles += s.cycles
		r.Overruns += s.overruns
		r.Polls += s.polls
		r.Retries += s.retries
		r.Errors += s.errors
		lates, longest = lates+s.lates, max(longest, s.longest)
	}
	if r := &st.LastMinute; lates >= oddLates && (lates*oddLateShare >= r.Polls || 2*lates >= r.Overruns) || lates > 0 && r.Polls == 0 {
		st.Advice = patience(longest)
	}
	if st.Advice == "" && held && st.LastMinute.Overruns >= oddLates {
		st.Advice = "the endpoint holds requests back: lower opts.turnaround or opts.rate, or raise cfg.polling"
	}
	n := min(f.n, latencies)
	if n == 0 {
		return
	}
	all := f.latency // on the stack
	sorted := all[:n]
	slices.Sort(sorted)
	st.LatencyP50, st.LatencyP99 = sorted[(n-1)/2], sorted[(n-1)*99/100]
}
