package modbus

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

const (
	retryBase  = 100 * time.Millisecond // pause before the first retry; doubles
	retryMax   = time.Second
	faultBase  = 250 * time.Millisecond // pause before the first probe; doubles up to backoff_max
	busyPause  = 200 * time.Millisecond // for a device that said busy or acknowledge
	pausedPoll = 200 * time.Millisecond // between two looks at a paused endpoint
	burstTurns = 4                      // windows per lease with max_inflight > 1
	far        = time.Hour              // nothing is due

	quickAnswer = 500 * time.Microsecond // of a device whose batches are handed over several at a time
	handOver    = 8
)

// poller is the conversation: it belongs to the goroutine of Run.
type poller struct {
	d       *modbusDriver
	link    *link
	metrics *driverMetrics
	plan    *plan
	out     chan<- *frame.Batch // to the goroutine that publishes
	waiting []*frame.Batch      // to be handed over, or for room in out
	quick   bool                // the last answer came quickly
	timer   *time.Timer

	redo    []*request // to be asked before what is due
	retryAt time.Time  // nothing is asked before
	pause   time.Duration
	fails   int  // attempts to get a connection that failed in a row
	broken  bool // the last connection was lost
	fault   bool // the device answers nothing, or is busy all the time
	probe   int  // which request is the next probe

	rested    bool      // the requests in flight were asked again since their connection had been closed before
	mute      bool      // the lease's request was not answered, although the connection is in order
	lastGood  time.Time // when a request was answered with data
	streak    int       // requests in a row without an answer
	proof     *request  // that was answered last
	unproven  bool      // and was not since
	accused   *request  // it got none; do others?
	charge    error     // what it got
	hunts     []*hunt
	turn      bool // the next request is one that is due, if there is one
	allowance allowance
	teller    driver.Teller

	jobs driver.Turn[*link]
}

func newPoller(d *modbusDriver, out chan<- *frame.Batch) *poller {
	m := d.metrics.driver(d.id)
	l := newLink(d.settings, m)
	l.onLate = d.late
	return &poller{
		d: d, metrics: m,
		link:  l,
		out:   out,
		jobs:  driver.NewTurn(d.jobs),
		timer: time.NewTimer(far),
	}
}

// loop asks what is due until ctx ends.
func (p *poller) loop(ctx context.Context) {
	defer p.timer.Stop()
	for ctx.Err() == nil {
		p.adopt()
		wait := p.untilNext(time.Now())
		switch {
		case len(p.waiting) > 0 && (wait > 0 || p.enough()):
			p.deliver(ctx)
		case wait > 0:
			p.idle(ctx, wait)
		default:
			p.burst(ctx)
		}
	}
	p.deliver(ctx)
}

// enough reports whether the batches that wait should be handed over although
// there is something to ask. Each hand-over wakes a goroutine, which at full
// speed would cost as much as decoding; a slow device's batches wait for nothing.
func (p *poller) enough() bool { return !p.quick || len(p.waiting) >= handOver }

// idle waits until something may be due, wanted or over.
func (p *poller) idle(ctx context.Context, wait time.Duration) {
	p.timer.Reset(wait)
	select {
	case <-ctx.Done():
	case <-p.timer.C:
	case <-p.d.plans.Wake():
	case j := <-p.jobs.C():
		p.jobs.Begin(j)
	}
}

// untilNext returns how long there is nothing to do.
func (p *poller) untilNext(now time.Time) time.Duration {
	if p.jobs.Waiting(now) {
		return 0
	}
	at := now.Add(far)
	switch {
	case p.fault || len(p.redo) > 0:
		at = p.retryAt
	default:
		for _, c := range p.plan.classes {
			p.roll(c, now)
			if due := c.due(c.interval, len(c.requests)); due.Before(at) {
				at = due
			}
		}
		if t, ok := p.trialAt(now); ok && t.Before(at) {
			at = t
		}
		if at.Before(p.retryAt) {
			at = p.retryAt
		}
	}
	return p.jobs.At(at).Sub(now)
}

// roll moves c to its next cycle, if this one is done.
func (p *poller) roll(c *class, now time.Time) {
	if c.pos < len(c.requests) {
		return
	}
	skipped := c.roll(now, c.interval, c.phase, len(c.requests))
	if skipped > 0 {
		p.metrics.overrun.WithLabelValues(p.d.id).Add(float64(skipped))
	}
	p.d.Cycled(now, skipped)
	p.heal(c, now)
}

// pick returns the next request to be asked, nil if none is due.
func (p *poller) pick(now time.Time) *request {
	if now.Before(p.retryAt) {
		return nil
	}
	if len(p.redo) > 0 {
		r := p.redo[0]
		p.redo = slices.Delete(p.redo, 0, 1)
		return r
	}
	if p.fault {
		if len(p.link.flights) > 0 {
			return nil
		}
		return p.nextProbe()
	}
	if !p.turn {
		if r := p.trial(now); r != nil {
			p.turn = true // what is due comes between two trials, which may take a timeout each
			return r
		}
	}
	p.turn = false
	if r := p.nextDue(now); r != nil {
		return r
	}
	return p.trial(now)
}

// nextDue returns the next request of the cycles, nil if none is due.
func (p *poller) nextDue(now time.Time) *request {
	for {
		c := p.earliest(now)
		if c == nil {
			return nil
		}
		r := c.requests[c.pos]
		c.pos++
		if !now.Before(r.hold) && !r.pending {
			return r
		}
	}
}

// earliest returns the class whose next request is due first, nil if none is due.
func (p *poller) earliest(now time.Time) *class {
	var first *class
	at := now
	for _, c := range p.plan.classes {
		p.roll(c, now)
		if due := c.due(c.interval, len(c.requests)); c.pos < len(c.requests) && !due.After(at) {
			first, at = c, due
		}
	}
	return first
}

// nextProbe returns the requests in turn and, between them, single points: each of
// the requests may have one that the device is silent about.
func (p *poller) nextProbe() *request {
	all := p.requests()
	if len(all) == 0 {
		return nil
	}
	p.probe++
	r := all[p.probe/2%len(all)]
	if p.probe%2 == 0 || r.root.whole() || r.hi-r.lo == 1 {
		return r
	}
	at := r.root.sample(r.lo, r.hi)
	s := p.part(r.root, at, at+1)
	if s != nil {
		s.probe = r
	}
	return s
}

// burst leases a connection and asks what is due.
func (p *poller) burst(ctx context.Context) {
	lease, err := p.d.deps.Endpoint.Acquire(ctx)
	if err != nil {
		if ctx.Err() == nil {
			p.unreachable(err)
		}
		return
	}
	if p.broken {
		p.broken = false
		p.metrics.reconnect.WithLabelValues(p.d.id).Inc()
	}
	err = p.converse(ctx, lease)
	if err == nil || ctx.Err() != nil {
		return
	}
	p.broken = p.link.conn == nil
	switch {
	case len(p.link.flights) == 0:
	case p.foundClosed(lease, err):
		for i, f := range p.link.flights {
			p.redo = slices.Insert(p.redo, i, f.req)
		}
	default:
		p.unanswered(err)
	}
}

// foundClosed reports whether err says no more than that the peer has closed the
// connection since its last answer. The requests are asked once more, over another
// one, and it is nobody's failure.
func (p *poller) foundClosed(lease endpoint.Lease, err error) bool {
	t, ok := lease.(endpoint.Trust)
	p.rested = ok && !p.rested && !p.fault && closedByPeer(err) && t.Used()
	return p.rested
}

// closedByPeer tells the errors of a connection that the peer has closed.
func closedByPeer(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || errkind.Reset(err)
}

// converse uses lease and releases it. After an error the requests that were in
// flight are still in p.link.flights.
func (p *poller) converse(ctx context.Context, lease endpoint.Lease) (err error) {
	p.link.attach(ctx, lease)
	p.d.last.Use(lease)
	defer func() {
		p.d.last.Use(nil)
		broken := p.link.leave(err)
		if err == nil {
			err = broken
		}
		if t, ok := lease.(endpoint.Trust); ok && (p.mute || err != nil && broken == nil) {
			t.Unanswered()
		}
		p.mute = false
		lease.Release(broken)
	}()
	if p.jobs.Take(time.Now()) {
		return p.runJob()
	}
	window := p.d.settings.MaxInflight
	budget := 1
	if window > 1 {
		budget = burstTurns * window
	}
	for {
		now := time.Now()
		for budget > 0 && len(p.link.flights) < window && !p.aloneInFlight() && ctx.Err() == nil && !p.jobs.Waiting(now) {
			r := p.pick(now)
			if r == nil {
				break
			}
			if r.alone && len(p.link.flights) > 0 {
				p.redo = slices.Insert(p.redo, 0, r)
				break
			}
			p.link.queue(r)
			budget--
			if r.alone {
				break
			}
		}
		if len(p.link.flights) == 0 {
			return nil
		}
		if err := p.link.flush(); err != nil {
			return err
		}
		fl, pdu, err := p.link.next()
		if err != nil {
			return err
		}
		if err := p.answer(fl, pdu); err != nil {
			p.link.flights = slices.Insert(p.link.flights, 0, fl)
			return err
		}
		p.link.rest()
	}
}

// aloneInFlight reports whether nothing may go with the request in flight.
func (p *poller) aloneInFlight() bool {
	return len(p.link.flights) == 1 && p.link.flights[0].req.alone
}

// send gives b, if it is not nil, to the goroutine that publishes, or keeps it
// for deliver, when there is no lease to be held up.
func (p *poller) send(b *frame.Batch) {
	if b == nil {
		return
	}
	if len(p.waiting) == 0 && !p.quick {
		select {
		case p.out <- b:
			return
		default:
		}
	}
	p.waiting = append(p.waiting, b)
}

// deliver waits until every batch has found room, doing jobs meanwhile.
func (p *poller) deliver(ctx context.Context) {
	for len(p.waiting) > 0 {
		if j := p.jobs.Job(); j != nil && !p.jobs.Waiting(time.Now()) {
			sleep(ctx, time.Until(j.At))
		}
		if p.jobs.Take(time.Now()) {
			p.burst(ctx)
			continue
		}
		select {
		case p.out <- p.waiting[0]:
			p.waiting = slices.Delete(p.waiting, 0, 1)
		case j := <-p.jobs.C():
			p.jobs.Begin(j)
		case <-ctx.Done():
			select {
			case p.out <- p.waiting[0]:
				p.waiting = slices.Delete(p.waiting, 0, 1)
			case <-time.After(driver.Grace):
				return // the log does not take them
			}
		}
	}
}

// jitter returns d, a fifth more or less. supervise.Delay spreads more widely, so that a
// fleet does not come in step; here one device waits, whose pauses people have set.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
