package modbus

import (
	"errors"
	"slices"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
)

// answer deals with the device's answer to a request. An error means that the
// answer cannot be believed and the request has not been answered.
func (p *poller) answer(fl flight, pdu []byte) error {
	r := fl.req
	data, err := readData(pdu, r.fn, r.qty)
	if _, ok := errors.AsType[*Rejection](err); ok {
		return err
	}
	p.metrics.answered(r.fn, err)
	if err != nil {
		p.refused(r, err)
		return nil
	}
	now := time.Now()
	p.quick = now.Sub(fl.sent) < quickAnswer
	p.decode(r, data, now.UnixNano())
	p.metrics.lat.Observe(float64(now.Sub(fl.sent)) / float64(time.Millisecond))
	r.tries, r.penalty, r.hold = 0, 0, time.Time{}
	p.d.mu.Lock()
	st := &p.d.status
	st.Polls++
	st.LastRead, st.Error = now, ""
	if st.FirstRead.IsZero() {
		st.FirstRead = now
	}
	p.d.mu.Unlock()
	p.alive(now)
	return nil
}

// decode makes frames of an answer's data.
func (p *poller) decode(r *request, data []byte, ts int64) {
	b := p.plan.table.Begin(len(r.points))
	for i := range r.points {
		pt := &r.points[i]
		v, q := pt.decode(pt.data(data))
		p.plan.table.Observe(b, pt.index, v, q, ts)
	}
	p.send(p.plan.table.End(b))
	if p.metrics.all != nil {
		p.metrics.all.Add(float64(len(r.points)))
		return
	}
	for i := range r.points {
		r.points[i].read.Inc()
	}
}

// alive notes that the device answers. After a fault, everything is polled anew.
func (p *poller) alive(now time.Time) {
	p.fails, p.pause, p.doubt, p.rested = 0, 0, false, false
	if p.fault {
		p.fault = false
		p.metrics.faultFlag.Set(0)
		p.d.log().Info("device answers again")
		for _, c := range p.plan.classes {
			c.restart(now)
		}
	}
	p.d.setState(driver.Running)
}

// refused deals with an exception.
func (p *poller) refused(r *request, err error) {
	now := time.Now()
	p.note(err)
	p.d.count(func(s *driver.Status) { s.Errors++ })
	code := exceptionCode(err)
	if code == GatewayPath || code == GatewayTarget {
		p.mute = true
		p.giveUpOrRetry(r, err)
		return
	}
	p.alive(now)
	switch code {
	case IllegalDataAddress, IllegalDataValue:
		if len(r.points) > 1 {
			p.split(r)
			return
		}
		p.exclude(r, now)
	case IllegalFunction:
		for _, c := range p.plan.classes {
			for _, other := range c.requests {
				if other.fn == r.fn {
					p.exclude(other, now)
				}
			}
		}
	case ServerDeviceBusy, Acknowledge:
		if r.tries++; r.tries <= p.d.settings.Retry {
			p.redo = append(p.redo, r)
			p.retryAt = now.Add(jitter(busyPause))
			return
		}
		r.tries = 0
		p.lose(r)
	default:
		p.lose(r)
	}
}

// split replaces r by smaller requests and asks these at once.
func (p *poller) split(r *request) {
	parts, err := r.split(p.d.encode)
	if err != nil { // it fitted before it was split
		p.d.log().Error("split a refused request", "request", r.String(), "error", err)
		p.lose(r)
		return
	}
	p.d.log().Info("device refuses a request; splitting it", "request", r.String(), "parts", len(parts))
	for i := range parts {
		for j := range parts[i].points {
			tag := p.plan.table.Variable(parts[i].points[j].index).Tag
			parts[i].points[j].read = p.metrics.tags[tag]
		}
	}
	c := r.class
	at := slices.Index(c.requests, r)
	c.requests = slices.Replace(c.requests, at, at+1, parts...)
	if c.pos > at {
		c.pos += len(parts) - 1
	}
	p.redo = append(slices.Clone(parts), p.redo...)
}

// exclude makes r's points bad and asks for them rarely from now on.
func (p *poller) exclude(r *request, now time.Time) {
	r.tries = 0
	r.penalty = min(max(2*r.penalty, 2*r.class.interval, time.Second), max(maxPenalty, r.class.interval))
	r.hold = now.Add(jitter(r.penalty))
	p.lose(r)
}

// maxPenalty bounds how long a refused point is left alone.
const maxPenalty = time.Minute

// unreachable deals with an endpoint that gives no connection.
func (p *poller) unreachable(err error) {
	p.note(err)
	p.failJob(err)
	if errors.Is(err, endpoint.ErrPaused) {
		// On purpose, and no fault of the device's: no point becomes bad.
		p.d.setState(driver.Paused)
		p.retryAt = time.Now().Add(jitter(pausedPoll))
		return
	}
	p.broken = true
	if len(p.plan.classes) == 0 {
		return // nothing to poll: only who wanted to write needs to know
	}
	if p.fails++; !p.fault && p.fails <= p.d.settings.Retry {
		p.backOff(retryBase, retryMax)
		return
	}
	if p.fault {
		p.d.setState(driver.Fault) // after a pause
		p.backOff(faultBase, p.d.settings.BackoffMax)
	} else {
		p.enterFault(err)
	}
	if down, ok := errors.AsType[*endpoint.DownError](err); ok {
		// The endpoint paces its dials itself, and asking it costs nothing.
		p.pause = 0
		p.retryAt = later(down.Retry, time.Now().Add(faultBase))
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// unanswered deals with a connection that was lost with requests in flight. The
// oldest is the culprit; the others only shared its connection.
func (p *poller) unanswered(err error) {
	for i := range p.link.flights {
		p.metrics.answered(p.link.flights[i].req.fn, err)
	}
	p.d.count(func(s *driver.Status) { s.Errors += uint64(len(p.link.flights)) })
	p.note(err)
	culprit := p.link.flights[0].req
	others := p.link.flights[1:]
	for i := len(others) - 1; i >= 0 && !p.fault; i-- {
		p.redo = slices.Insert(p.redo, 0, others[i].req)
	}
	p.giveUpOrRetry(culprit, err)
}

// giveUpOrRetry decides what to do about a request that was not answered.
func (p *poller) giveUpOrRetry(r *request, err error) {
	switch r.tries++; {
	case p.fault:
		p.d.setState(driver.Fault) // after a pause
		p.backOff(faultBase, p.d.settings.BackoffMax)
	case p.doubt:
		p.enterFault(err)
	case r.tries <= p.d.settings.Retry && r.penalty == 0:
		p.redo = slices.Insert(p.redo, 0, r)
		p.backOff(retryBase, retryMax)
	default:
		other := p.nextProbe(r)
		if other == nil {
			p.enterFault(err)
			return
		}
		// Is it this request alone? Some devices are silent where they should
		// refuse.
		p.exclude(r, time.Now())
		p.doubt = true
		p.redo = slices.Insert(p.redo, 0, other)
		p.backOff(retryBase, retryMax)
	}
}

// backOff lets a growing pause go by before the next attempt.
func (p *poller) backOff(base, limit time.Duration) {
	p.pause = min(max(base, 2*p.pause), limit)
	p.retryAt = time.Now().Add(jitter(p.pause))
}

// enterFault gives the device up until it answers a probe.
func (p *poller) enterFault(err error) {
	p.d.log().Warn("device does not answer; probing", "error", err)
	p.fault, p.doubt, p.redo, p.pause = true, false, nil, 0
	p.metrics.faultFlag.Set(1)
	p.d.setState(driver.Fault)
	p.backOff(faultBase, p.d.settings.BackoffMax)
	for _, c := range p.plan.classes {
		for _, r := range c.requests {
			r.tries, r.penalty, r.hold = 0, 0, time.Time{} // it was the device, not the request
		}
	}
	p.loseAll()
}

// loseAll makes every point bad that is not so already.
func (p *poller) loseAll() {
	for _, c := range p.plan.classes {
		for _, r := range c.requests {
			p.lose(r)
		}
	}
}

// lose makes r's points bad.
func (p *poller) lose(r *request) {
	ts := time.Now().UnixNano()
	b := p.plan.table.Begin(len(r.points))
	for i := range r.points {
		p.plan.table.Lost(b, r.points[i].index, ts)
	}
	p.send(p.plan.table.End(b))
}

// note keeps err as the driver's last error. It is not logged: a device that is
// away would fill the log.
func (p *poller) note(err error) {
	text := err.Error()
	p.d.count(func(s *driver.Status) { s.Error = text })
}
