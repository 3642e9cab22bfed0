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
	data, err := readData(pdu, r.fn, p.d.settings.answerBytes(r.fn, r.addr, r.qty))
	if _, ok := errors.AsType[*Rejection](err); ok {
		return err
	}
	p.metrics.answered(r.fn, err)
	if err != nil {
		p.note(err)
		p.d.Failed(time.Now(), 1, 0)
		p.failed(r, err)
		return nil
	}
	now := time.Now()
	took := now.Sub(fl.sent)
	p.quick = took < quickAnswer
	p.decode(r, data, now.UnixNano())
	p.metrics.lat.Observe(float64(took) / float64(time.Millisecond))
	p.d.answered(now, took)
	p.good(r, now)
	return nil
}

// good notes that r was answered.
func (p *poller) good(r *request, now time.Time) {
	p.alive(now)
	first := !p.answeredSince(r.since)
	p.lastGood, p.streak, p.proof, p.unproven = now, 0, r, false
	r.tries, r.penalty, r.hold, r.alone, r.partly, r.heard = 0, 0, time.Time{}, false, false, true
	if of := r.probe; of != nil && of.divisible() { // the whole was not, perhaps
		of.partly = true
		p.redo = append(p.redo, of)
	}
	if r.why != nil {
		r.why = nil
		r.root.torn = true
		for i := r.lo; i < r.hi; i++ {
			r.root.setBad(i, false)
		}
		p.readable(r, true)
		if first { // nothing else was answered meanwhile, so that it was the device
			p.release()
		}
	}
	if r.parts != nil {
		p.joined(r)
	}
	if r.hunt != nil {
		if r.hunt.run.why != nil {
			p.readable(r, false)
		}
		p.hunted(r, now)
	}
	if a := p.accused; a != nil && a != r {
		p.suspect(a, p.charge, now)
	}
}

// answeredSince reports whether a request was answered with data after t.
func (p *poller) answeredSince(t time.Time) bool { return p.lastGood.After(t) }

// release lets everything that was given up be asked for at once.
func (p *poller) release() {
	for _, c := range p.plan.classes {
		for _, r := range c.requests {
			r.hold, r.penalty = time.Time{}, 0
		}
	}
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
	p.fails, p.pause, p.rested = 0, 0, false
	if p.fault {
		p.fault = false
		p.metrics.faultFlag.Set(0)
		p.d.Back()
		p.d.log().Info("device answers again")
		p.streak, p.accused = 0, nil
		for _, c := range p.plan.classes {
			c.restart(now)
		}
	}
	p.d.SetState(driver.Running)
}

// failure says what a request that was not answered tells of the device.
type failure int

const (
	refusal  failure = iota // it answers, and does not want this
	busy                    // it answers, and wants to be left alone for a while
	noAnswer                // it may be away
)

func kindOfFailure(err error) failure {
	switch exceptionCode(err) {
	case 0, GatewayPath, GatewayTarget:
		return noAnswer
	case Acknowledge, ServerDeviceBusy:
		return busy
	}
	return refusal
}

// failed deals with a request that the device refused or did not answer.
//
// A refusal is the request's own: it is taken apart. Silence and a busy device
// may be the device's: the request is repeated, then another one is asked, and
// only if that is answered is the first one taken apart. When retry + 2 requests
// in a row got nothing, among them what was answered last, the device is in fault.
func (p *poller) failed(r *request, err error) {
	now, kind := time.Now(), kindOfFailure(err)
	if code := exceptionCode(err); code == GatewayPath || code == GatewayTarget {
		p.mute = true
	}
	if r.tries++; r.tries == 1 {
		r.failedAt = now
	}
	if kind == refusal {
		p.alive(now)
	} else {
		p.streak++
		p.unproven = p.unproven || r == p.proof
	}
	switch {
	case p.fault:
		p.stillFault(err)
	case r.probe != nil, !r.current(): // it has told what was asked
	case kind != refusal && p.streak >= p.patient() && !p.checkProof(r):
		p.enterFault(err)
	case r.parts != nil:
		p.separate(r, now)
		p.wait(kind)
	case r.hunt != nil:
		p.missed(r, err, now)
		p.wait(kind)
	case r.partly:
		p.suspect(r, err, now)
		p.wait(kind)
	case r.why != nil:
		p.suspect(r, err, now)
		p.wait(kind)
	case r.tries <= p.patience(r, err) && p.accused == nil:
		p.d.Failed(now, 0, 1)
		p.redo = slices.Insert(p.redo, 0, r)
		p.wait(kind)
	case kind == refusal:
		p.suspect(r, err, now)
	default:
		p.accuse(r, err, now)
		p.wait(kind)
	}
}

// current reports whether r is still what its points are read with, or a hunt's.
func (r *request) current() bool { return r.hunt != nil || slices.Contains(r.class.requests, r) }

// patience is how often r is repeated before anything is concluded: a request
// that can be divided is better asked for in parts, above all while others prove
// that the device is there.
func (p *poller) patience(r *request, err error) int {
	retry := p.d.settings.Retry
	switch exceptionCode(err) {
	case IllegalFunction, IllegalDataAddress, IllegalDataValue:
		return 0
	case 0, GatewayPath, GatewayTarget:
		switch {
		case !r.divisible():
			return retry
		case len(p.hunts) > 0:
			return 0
		}
	case Acknowledge, ServerDeviceBusy:
		return retry
	}
	return min(retry, 1)
}

// wait lets some time go by before the next request.
func (p *poller) wait(kind failure) {
	switch {
	case p.fault: // which has a pause of its own
	case kind == busy:
		p.retryAt = time.Now().Add(jitter(busyPause))
	case kind == noAnswer:
		p.backOff(retryBase, retryMax)
	}
}

// accuse suspects r, if the device answers others. If that is not known, another
// request is asked, or a single point of this one: each request may have something
// in it that the device is silent about.
func (p *poller) accuse(r *request, err error, now time.Time) {
	first := p.accused == nil || p.accused == r
	if p.answeredSince(r.failedAt) {
		p.suspect(r, err, now)
		return
	}
	w := p.witness(r, true)
	switch {
	case first && w != nil:
		p.accused, p.charge = r, err
		p.redo = slices.Insert(p.redo, 0, w)
		return
	case !first && p.accused.divisible():
		p.suspect(p.accused, p.charge, now)
		return
	case r.divisible():
		p.suspect(r, err, now)
		return
	}
	if w = p.witness(r, false); w == nil {
		p.enterFault(err)
		return
	}
	if first {
		p.accused, p.charge = r, err
	}
	p.redo = slices.Insert(p.redo, 0, w)
}

// divisible reports whether parts of r can be asked for.
func (r *request) divisible() bool { return r.hi-r.lo > 1 && !r.root.whole() }

// patient is how many requests in a row may get nothing before the device is in
// fault.
func (p *poller) patient() int { return max(p.d.settings.Retry+2, 3) }

// checkProof asks once more for what was answered last, before the device is said
// to be away because other requests than that got nothing. It reports false if
// that was asked already.
func (p *poller) checkProof(r *request) bool {
	w := p.proof
	if w == nil || w == r || p.unproven {
		return false
	}
	if !slices.Contains(p.redo, w) {
		p.redo = slices.Insert(p.redo, 0, w)
	}
	return true
}

// witness returns a request that there is nothing against, other than r and what
// is accused: what was answered last or, unless it must have been heard, the next
// one each time; nil if there is none.
func (p *poller) witness(r *request, heard bool) *request {
	fit := func(w *request) bool {
		return w != nil && w != r && w != p.accused && w.why == nil && w.parts == nil && !w.pending
	}
	if fit(p.proof) && !p.unproven {
		return p.proof
	}
	all := p.requests()
	for range all {
		p.probe++
		if w := all[p.probe%len(all)]; fit(w) && (w.heard || !heard) {
			return w
		}
	}
	return nil
}

// requests lists what the plan is read with.
func (p *poller) requests() (all []*request) {
	for _, c := range p.plan.classes {
		all = append(all, c.requests...)
	}
	return all
}

// exclude makes r's points bad for err and asks for them rarely from now on.
func (p *poller) exclude(r *request, err error, now time.Time) {
	r.tries = 0
	least := time.Second
	if kindOfFailure(err) == noAnswer { // each attempt costs a timeout or a connection
		least = max(least, min(10*p.d.settings.Timeout, maxPenalty))
	}
	r.penalty = min(max(2*r.penalty, 2*r.class.interval, least), max(maxPenalty, r.class.interval))
	r.hold = now.Add(jitter(r.penalty))
	if r.why == nil {
		r.since = now
	}
	p.unreadable(r, err)
	r.why = err
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
		p.d.SetState(driver.Paused)
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
		p.stillFault(err)
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

// unanswered deals with a connection that was lost with requests in flight. With
// several, nobody knows whose fault it was: each is asked again alone.
func (p *poller) unanswered(err error) {
	flights := p.link.flights
	for i := range flights {
		p.metrics.answered(flights[i].req.fn, err)
	}
	p.note(err)
	if len(flights) == 1 {
		p.d.Failed(time.Now(), 1, 0)
		p.failed(flights[0].req, err)
		return
	}
	p.d.Failed(time.Now(), len(flights), len(flights))
	for i := range flights {
		flights[i].req.alone = true
		if !p.fault {
			p.redo = slices.Insert(p.redo, i, flights[i].req)
		}
	}
	switch p.streak++; {
	case p.fault:
		p.stillFault(err)
	case p.streak >= p.patient():
		p.enterFault(err)
	default:
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
	away := kindOfFailure(err) == noAnswer
	if away {
		p.d.log().Warn("device does not answer; probing", "error", err)
	} else {
		p.d.log().Warn("device is busy; probing", "error", err)
	}
	p.fault, p.accused, p.redo, p.pause = true, nil, nil, 0
	p.abandonHunts()
	for _, r := range p.requests() { // it was the device, not the request
		r.tries, r.penalty, r.hold, r.alone = 0, 0, time.Time{}, false
	}
	p.d.SetAway(awayReason(err))
	p.stillFault(err)
	p.loseAll()
}

// stillFault waits for the next probe, longer each time.
func (p *poller) stillFault(err error) {
	if kindOfFailure(err) == busy { // it answers, after all
		p.metrics.faultFlag.Set(0)
		p.d.SetState(driver.Running)
	} else {
		p.metrics.faultFlag.Set(1)
		p.d.SetState(driver.Fault)
	}
	p.backOff(faultBase, p.d.settings.BackoffMax)
}

// loseAll makes every point bad that is not so already.
func (p *poller) loseAll() {
	for _, c := range p.plan.classes {
		for _, r := range c.requests {
			p.lose(r)
		}
	}
}

// lose makes r's points bad. The exception that the device refuses them with is their status.
func (p *poller) lose(r *request) {
	ts, status := time.Now().UnixNano(), ""
	if code := exceptionCode(r.why); code != 0 {
		status = code.String()
	}
	b := p.plan.table.Begin(len(r.points))
	for i := range r.points {
		p.plan.table.LostStatus(b, r.points[i].index, ts, status)
	}
	p.send(p.plan.table.End(b))
}

// note keeps err as the driver's last error. It is not logged: a device that is
// away would fill the log.
func (p *poller) note(err error) {
	p.d.SetError(time.Now(), err.Error())
}
