package opcua

import "time"

// answered counts an answer; took is 0 where it was not waited for.
func (d *opcuaDriver) answered(now time.Time, took time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.figures.Answered(&d.status, now, took)
}

// cycled counts a cycle that begins, and those that were skipped before it.
func (d *opcuaDriver) cycled(now time.Time, skipped int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.figures.Cycled(&d.status, now, skipped)
}

// failed counts what failed and why.
func (d *opcuaDriver) failed(now time.Time, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.figures.Failed(&d.status, now, 1, 0)
	d.status.Error, d.status.LastError, d.status.LastErrorAt = err.Error(), err.Error(), now
}
