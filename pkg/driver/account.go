package driver

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// Account is what a driver tells about itself: its status, its figures, and why tags are
// bad. The goroutine that polls writes it, and anybody may read it. A driver embeds it.
type Account struct {
	mu      sync.Mutex
	status  Status
	figures Figures
	reasons map[string]Reason // of tags that are bad on their own
	away    Reason            // of all tags
}

// NewAccount returns the account of a driver that does not run yet.
func NewAccount() *Account {
	return &Account{status: Status{State: Stopped, Since: time.Now()}, reasons: map[string]Reason{}}
}

// Publishing is [Publishing] of a driver that is starting when work begins, and stopped
// when it has ended.
func (a *Account) Publishing(ctx context.Context, log Publisher, work func(ctx context.Context, out chan<- *frame.Batch)) error {
	a.SetState(Starting)
	defer a.SetState(Stopped)
	return Publishing(ctx, log, work)
}

// Status implements [Driver].
func (a *Account) Status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	st := a.status
	a.figures.Fill(&st, time.Now())
	return st
}

// Fault returns the last error, "" if the last poll was good. It costs less than Status.
func (a *Account) Fault() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.status.Error
}

// SetState changes the state, if it is another one.
func (a *Account) SetState(s State) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.status.State != s {
		a.status.State, a.status.Since = s, time.Now()
	}
}

// Recovered notes that the device answers: the driver is running, without an error, and
// tags can be read. It reports whether that is new.
func (a *Account) Recovered() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.status.State == Running {
		return false
	}
	a.status.State, a.status.Since, a.status.Error, a.away = Running, time.Now(), "", Reason{}
	return true
}

// Answered counts an answer; took is 0 where it was not waited for.
func (a *Account) Answered(now time.Time, took time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.figures.Answered(&a.status, now, took)
}

// Cycled counts a cycle that begins, and those that were skipped before it.
func (a *Account) Cycled(now time.Time, skipped int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.figures.Cycled(&a.status, now, skipped)
}

// Failed counts requests that failed, and that are repeated.
func (a *Account) Failed(now time.Time, failed, repeated int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.figures.Failed(&a.status, now, failed, repeated)
}

// SetError notes the last error.
func (a *Account) SetError(now time.Time, text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status.Error, a.status.LastError, a.status.LastErrorAt = text, text, now
}

// Reasons implements [Reasoner].
func (a *Account) Reasons() (device Reason, tags map[string]Reason) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.away, maps.Clone(a.reasons)
}

// SetAway notes why no tag can be read. Since is when that began.
func (a *Account) SetAway(r Reason) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.Since = a.away.Since; r.Since.IsZero() {
		r.Since = time.Now()
	}
	a.away = r
}

// Back notes that some tags can be read.
func (a *Account) Back() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.away = Reason{}
}

// Note notes why a tag is bad, and since when if r.Since is set. It reports whether the
// reason is a new one.
func (a *Account) Note(tag string, r Reason) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	known := a.reasons[tag].Text == r.Text
	if r.Since.IsZero() {
		if known {
			return false
		}
		r.Since = time.Now()
	}
	a.reasons[tag] = r
	return !known
}

// SetReasons replaces the reasons of all tags. The map is the account's from then on.
func (a *Account) SetReasons(tags map[string]Reason) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reasons = tags
}

// Forget drops the reason of a tag.
func (a *Account) Forget(tag string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.reasons, tag)
}

// Keep drops the reasons of all tags but those that bad has.
func (a *Account) Keep(bad func(tag string) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.reasons, func(tag string, _ Reason) bool { return !bad(tag) })
}
