package modbus

import (
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// figures are a driver's, with its late answers. The driver's mutex guards them.
type figures struct {
	driver.Figures
	late    driver.Minute[lateness]
	longest time.Duration // until a late answer, since the device answered last
}

// lateness counts answers that came after their timeout.
type lateness struct {
	n       uint64
	longest time.Duration
}

// answered counts an answer that took so long.
func (d *modbusDriver) answered(now time.Time, took time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.figures.Answered(&d.status, now, took)
	d.figures.longest = 0
}

// cycled counts a cycle that begins, and those that were skipped before it.
func (d *modbusDriver) cycled(now time.Time, skipped int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.figures.Cycled(&d.status, now, skipped)
}

// failed counts requests that failed, and that are repeated.
func (d *modbusDriver) failed(now time.Time, failed, repeated int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.figures.Failed(&d.status, now, failed, repeated)
}

// late counts an answer that came after its timeout.
func (d *modbusDriver) late(took time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.figures.late.At(time.Now())
	l.n++
	l.longest = max(l.longest, took)
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
	f.Fill(st, now)
	lates, longest := uint64(0), time.Duration(0)
	f.late.Each(now, func(l *lateness) { lates, longest = lates+l.n, max(longest, l.longest) })
	if r := &st.LastMinute; lates >= oddLates && (lates*oddLateShare >= r.Polls || 2*lates >= r.Overruns) || lates > 0 && r.Polls == 0 {
		st.Advice = patience(longest)
	}
	if st.Advice == "" && held && st.LastMinute.Overruns >= oddLates {
		st.Advice = "the endpoint holds requests back: lower opts.turnaround or opts.rate, or raise cfg.polling"
	}
}
