package modbus

import (
	"sync"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// lates are a device's answers that came after their timeout.
type lates struct {
	mu      sync.Mutex
	recent  driver.Minute[lateness]
	longest time.Duration // until a late answer, since the device answered last
}

// lateness counts late answers.
type lateness struct {
	n       uint64
	longest time.Duration
}

// answered counts an answer that took so long.
func (d *modbusDriver) answered(now time.Time, took time.Duration) {
	d.Answered(now, took)
	d.lates.mu.Lock()
	defer d.lates.mu.Unlock()
	d.lates.longest = 0
}

// late counts an answer that came after its timeout.
func (d *modbusDriver) late(took time.Duration) {
	d.lates.mu.Lock()
	defer d.lates.mu.Unlock()
	l := d.lates.recent.At(time.Now())
	l.n++
	l.longest = max(l.longest, took)
	d.lates.longest = max(d.lates.longest, took)
}

// oddLates is how many late answers in a minute are no exception, if they are one in
// oddLateShare or explain the cycles that were skipped.
const (
	oddLates     = 5
	oddLateShare = 10
)

// advise completes a status. held tells that the endpoint may hold requests back.
func (l *lates) advise(st *driver.Status, now time.Time, held bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, longest := uint64(0), time.Duration(0)
	l.recent.Each(now, func(slot *lateness) { n, longest = n+slot.n, max(longest, slot.longest) })
	if r := &st.LastMinute; n >= oddLates && (n*oddLateShare >= r.Polls || 2*n >= r.Overruns) || n > 0 && r.Polls == 0 {
		st.Advice = patience(longest)
	}
	if st.Advice == "" && held && st.LastMinute.Overruns >= oddLates {
		st.Advice = "the endpoint holds requests back: lower opts.turnaround or opts.rate, or raise cfg.polling"
	}
}

// sinceAnswer is the longest that an answer was late since the device answered last, 0
// if none was.
func (l *lates) sinceAnswer() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.longest
}
