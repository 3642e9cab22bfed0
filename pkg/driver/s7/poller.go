package s7

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

const (
	retryPause = 100 * time.Millisecond // before an attempt while the tags are not told bad
	faultBase  = 250 * time.Millisecond // before the first one after that; doubles up to backoff_max
	far        = time.Hour              // nothing is due
	handOver   = 8                      // batches that wait while there is something to ask
)

// poller speaks to the PLC, inside Run. All its methods belong to one goroutine.
type poller struct {
	d     *s7Driver
	s     *Settings
	m     *driverMetrics
	out   chan<- *frame.Batch // to the goroutine that publishes
	plan  *plan
	newer bool // a newer plan is there
	pdu   int  // what the requests are made for

	ses     *session
	flights []flight
	turn    time.Time      // when the oldest of the flights was answered
	packets []byte         // to be sent together
	waiting []*frame.Batch // for room in out
	timer   *time.Timer

	redo    []*request // to be asked before what is due
	items   []item     // to be asked besides, and not made into requests yet
	retryAt time.Time  // of what is refused; zero: nothing is

	fails    int       // in a row, without an answer between
	fault    bool      // the tags were told bad
	lastGood time.Time // when a request was answered
	proof    *request  // that one
	logged   string    // why, so that it is logged once
	teller   driver.Teller

	jobs driver.Turn[*session]
}

// flight is a request that waits for its answer.
type flight struct {
	ref  uint16
	req  *request
	sent time.Time
}

func newPoller(d *s7Driver, m *driverMetrics, out chan<- *frame.Batch) *poller {
	return &poller{d: d, s: d.settings, m: m, out: out, jobs: driver.NewTurn(d.jobs), timer: time.NewTimer(far)}
}

// run connects and polls until ctx ends.
func (p *poller) run(ctx context.Context) {
	defer p.timer.Stop()
	for ctx.Err() == nil {
		p.adopt()
		ses, err := connect(ctx, p.d.deps.Endpoint, p.s, p.m.reject)
		if err == nil {
			err = p.serve(ctx, ses)
		}
		if ctx.Err() != nil {
			break
		}
		p.broken(err)
		p.pause(ctx, err)
	}
	p.deliver(ctx, true)
}

// serve polls over a session until it is of no use any more.
func (p *poller) serve(ctx context.Context, ses *session) (err error) {
	p.ses = ses
	p.d.last.Use(ses.lease)
	p.m.agreed(ses.pdu, ses.jobs)
	defer func() {
		p.d.last.Use(nil)
		p.m.agreed(0, 0)
		p.ses = nil
		ses.close(err)
	}()
	if ses.pdu != p.pdu {
		p.repack(ses.pdu)
	}
	if !slices.ContainsFunc(p.plan.classes, func(c *class) bool { return len(c.points) > 0 }) {
		p.alive(time.Now()) // nothing will be asked that shows it
	}
	for {
		p.deliver(ctx, false)
		now := time.Now()
		switch {
		case ctx.Err() != nil && len(p.flights) == 0:
			return nil
		case ctx.Err() != nil:
		case len(p.flights) == 0 && p.wanted():
			p.adopt()
			continue
		case len(p.flights) == 0 && p.jobs.Take(now):
			if err := p.runJob(); err != nil {
				return err
			}
			continue
		case !p.wanted() && !p.jobs.Waiting(now):
			if err := p.send(now); err != nil {
				return err
			}
		}
		if len(p.flights) == 0 {
			p.idle(ctx)
			continue
		}
		if err := p.receive(); err != nil {
			return err
		}
	}
}

// wanted reports whether there is a newer plan.
func (p *poller) wanted() bool { return p.newer || len(p.d.plans.Wake()) > 0 }

// idle waits until something may be due, wanted or over.
func (p *poller) idle(ctx context.Context) {
	now := time.Now()
	at := now.Add(far)
	for _, c := range p.plan.classes {
		if len(c.points) > 0 && c.Next.Before(at) {
			at = c.Next
		}
	}
	if !p.retryAt.IsZero() && p.retryAt.Before(at) {
		at = p.retryAt
	}
	at = p.jobs.At(at)
	var out chan<- *frame.Batch
	var first *frame.Batch
	if len(p.waiting) > 0 {
		out, first = p.out, p.waiting[0]
		if len(p.waiting) >= handOver { // nothing is asked before there is room
			at = p.jobs.At(now.Add(far))
		}
	}
	p.timer.Reset(at.Sub(now))
	select {
	case <-ctx.Done():
	case <-p.timer.C:
	case <-p.d.plans.Wake():
		p.newer = true
	case out <- first:
		p.waiting = slices.Delete(p.waiting, 0, 1)
	case j := <-p.jobs.C():
		p.jobs.Begin(j)
	}
}

// deliver hands over the batches that there is room for; at the end, it gives the log
// a last while.
func (p *poller) deliver(ctx context.Context, last bool) {
	grace := time.Now().Add(driver.Grace)
	for len(p.waiting) > 0 {
		select {
		case p.out <- p.waiting[0]:
			p.waiting = slices.Delete(p.waiting, 0, 1)
			continue
		default:
		}
		if !last || time.Now().After(grace) {
			return
		}
		sleep(context.WithoutCancel(ctx), time.Millisecond)
	}
}

// send sends what is due, as many requests as the PLC works on at the same time.
func (p *poller) send(now time.Time) error {
	if len(p.waiting) >= handOver {
		return nil
	}
	p.packets = p.packets[:0]
	first := len(p.flights)
	for len(p.flights) < p.ses.jobs {
		r := p.pick(now)
		if r == nil {
			break
		}
		if r.tries > 0 && len(p.flights) > 0 { // nothing goes with it: whose fault would a failure be?
			p.redo = slices.Insert(p.redo, 0, r)
			break
		}
		ref := p.ses.nextRef()
		at := len(p.packets)
		p.packets = append(p.packets, r.wire...)
		setRef(p.packets[at:], ref)
		p.flights = append(p.flights, flight{ref, r, now})
		if r.tries > 0 {
			break
		}
	}
	if len(p.packets) == 0 {
		return nil
	}
	if err := p.ses.write(p.packets, now.Add(p.s.Timeout)); err != nil {
		return err
	}
	if sent := time.Now(); sent.Sub(now) > time.Millisecond { // an endpoint may hold requests back
		for i := first; i < len(p.flights); i++ {
			p.flights[i].sent = sent
		}
	}
	return nil
}

// pick returns the next request to be asked, nil if none is due.
func (p *poller) pick(now time.Time) *request {
	if !p.retryAt.IsZero() && !now.Before(p.retryAt) {
		p.askRefused()
	}
	p.packItems()
	if len(p.redo) > 0 {
		r := p.redo[0]
		p.redo = slices.Delete(p.redo, 0, 1)
		return r
	}
	for _, c := range p.plan.classes {
		if c.pos == len(c.requests) && c.flying == 0 && len(c.points) > 0 && !now.Before(c.Next) {
			if c.stale {
				c.pack(p.s, p.pdu)
			}
			skipped := c.begin(now)
			if skipped > 0 {
				p.m.overrun.WithLabelValues(p.d.id).Add(float64(skipped))
			}
			p.d.Cycled(now, skipped)
		}
		if c.pos < len(c.requests) {
			r := c.requests[c.pos]
			c.pos++
			c.flying++
			return r
		}
	}
	return nil
}

// packItems makes requests of what is to be asked besides.
func (p *poller) packItems() {
	l := limitsOf(p.pdu, p.s.MaxItems)
	for len(p.items) > 0 {
		r, room := &request{}, l.bytes
		for len(p.items) > 0 && len(r.items) < l.items {
			it := &p.items[0]
			if n := cost(it.place.Size); n <= room || len(r.items) == 0 && it.place.Size <= mostData(p.pdu) {
				room -= n
			} else if len(r.items) > 0 {
				break
			}
			if it.alone && len(r.items) > 0 {
				break
			}
			r.add(*it)
			alone := it.alone
			p.items = slices.Delete(p.items, 0, 1)
			if alone {
				break
			}
		}
		r.build()
		p.redo = append(p.redo, r)
	}
}

// receive waits for an answer to one of the requests in flight. The time that the oldest
// may take counts from the answer to the one before, if that came later than it was sent:
// a PLC that works off its requests one by one is not late. Answers to younger ones do
// not excuse it.
func (p *poller) receive() error {
	sent := p.flights[0].sent
	if p.turn.After(sent) {
		sent = p.turn
	}
	deadline := sent.Add(p.s.Timeout)
	for {
		m, err := p.ses.receive(deadline)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(p.flights, func(f flight) bool { return f.ref == m.ref })
		if i < 0 || m.kind == pduUserData {
			p.ses.stray()
			continue
		}
		f := p.flights[i]
		if err := p.answer(f, m, time.Now()); err != nil {
			return err
		}
		if p.flights = slices.Delete(p.flights, i, i+1); i == 0 {
			p.turn = p.lastGood
		}
		f.req.tries, p.proof = 0, f.req
		if f.req.cycle {
			f.req.class.flying--
		}
		return nil
	}
}

// answer takes the answer to a request. An error means that it is not believed.
func (p *poller) answer(f flight, m message, now time.Time) error {
	r := f.req
	took := now.Sub(f.sent)
	if err := m.refusal(); err != nil {
		p.alive(now)
		p.m.reads["refused"].Inc()
		p.m.refuse(err)
		p.d.Answered(now, took)
		p.refusedWhole(r, err, now)
		return nil
	}
	if err := r.check(m); err != nil {
		return p.ses.rejected(err)
	}
	p.alive(now)
	p.decode(r, m, now)
	p.m.reads["ok"].Inc()
	p.m.read.Add(float64(r.values))
	p.m.took.Observe(float64(took) / float64(time.Millisecond))
	p.d.Answered(now, took)
	return nil
}

// check goes through an answer as a whole before anything of it is believed: where one
// length is wrong, everything behind it is something else.
func (r *request) check(m message) error {
	if m.kind != pduAckData {
		return rejectf("header", "an answer of kind %d came, expected %d", m.kind, pduAckData)
	}
	items, err := readAnswer(m, len(r.items))
	if err != nil {
		return err
	}
	for i := range r.items {
		if _, _, err := items.next(r.items[i].place.Size); err != nil {
			return err
		}
	}
	return nil
}

// decode makes frames of an answer, which was checked.
func (p *poller) decode(r *request, m message, now time.Time) {
	table, ts := p.plan.table, now.UnixNano()
	items, _ := readAnswer(m, len(r.items)) // checked
	b := table.Begin(r.values)
	refused := false
	for i := range r.items {
		it := &r.items[i]
		data, code, _ := items.next(it.place.Size) // checked
		switch {
		case code != codeGood:
			refused = true
			if len(it.points) == 1 {
				table.Lost(b, it.points[0].index, ts)
			}
			continue
		case it.wide != nil:
			copy(it.wide.data[it.offset:], data)
			if it.wide.got += len(data); it.wide.got < len(it.wide.data) {
				continue
			}
			data, it.wide.got = it.wide.data, 0
		}
		for j := range it.points {
			pt := &it.points[j]
			v, q := pt.decode(data[pt.at : pt.at+pt.Size])
			table.Observe(b, pt.index, v, q, ts)
		}
	}
	p.give(table.End(b))
	if refused || !r.cycle {
		p.settle(r, m, now)
	}
}

// give keeps a batch for deliver; nil is none.
func (p *poller) give(b *frame.Batch) {
	if b != nil {
		p.waiting = append(p.waiting, b)
	}
}

// alive notes that the PLC answers.
func (p *poller) alive(now time.Time) {
	p.lastGood = now
	if p.fails > 0 {
		p.fails, p.logged = 0, ""
		p.m.reconnect.WithLabelValues(p.d.id).Inc()
	}
	if p.fault {
		p.fault = false
		p.m.faulty.Set(0)
		p.d.deps.Log.Info("the PLC answers again")
	}
	p.d.Recovered()
}

// broken takes note that the connection is gone and why.
func (p *poller) broken(err error) {
	now := time.Now()
	p.fails++
	p.blame(err, now)
	repeated := 0
	if p.fails <= p.s.Retry {
		repeated = 1
	}
	p.d.Failed(now, 1, repeated)
	p.d.SetError(now, err.Error())
	p.failJob(err)
	if p.fails <= p.s.Retry {
		return
	}
	p.d.SetState(driver.Fault)
	p.d.SetAway(awayReason(err))
	p.fault = true
	p.m.faulty.Set(1)
	if text := err.Error(); p.logged == "" || text != p.logged && !errors.Is(err, endpoint.ErrDown) {
		p.logged = text
		p.d.deps.Log.Warn("the PLC does not answer", "error", err)
	}
	p.tellLost(now)
}

// blame deals with what was in flight: the oldest was not answered, the others are
// asked again. What is never answered, although the PLC answers another one between, is
// refused.
func (p *poller) blame(err error, now time.Time) {
	if len(p.flights) == 0 {
		return
	}
	for i := len(p.flights) - 1; i > 0; i-- {
		p.redo = slices.Insert(p.redo, 0, p.flights[i].req)
	}
	r := p.flights[0].req
	p.flights = p.flights[:0]
	p.m.reads[result(err)].Inc()
	if r.tries++; r.tries == 1 {
		r.failedAt = now
	}
	if r.tries <= p.s.Retry+1 || !p.lastGood.After(r.failedAt) {
		if p.proof != nil && p.proof != r && len(p.redo) == 0 {
			p.redo = append(p.redo, p.proof.again())
		}
		p.redo = append(p.redo, r)
		return
	}
	r.tries = 0
	if r.cycle {
		r.class.flying--
	}
	p.refusedWhole(r, err, now)
}

// tellLost makes each tag bad, once.
func (p *poller) tellLost(now time.Time) {
	table := p.plan.table
	b := table.Begin(table.Len())
	for _, c := range p.plan.classes {
		for i := range c.points {
			table.Lost(b, c.points[i].index, now.UnixNano())
		}
	}
	p.give(table.End(b))
	p.restart() // the first answer is to everything
}

// restart forgets what was begun, and lets every class begin a cycle at once.
func (p *poller) restart() {
	p.redo, p.items, p.retryAt, p.proof = nil, nil, time.Time{}, nil
	for _, c := range p.plan.classes {
		if len(c.refused) > 0 {
			p.retryAt = time.Now()
		}
		c.pos, c.flying, c.Next = len(c.requests), 0, time.Time{}
		c.stale = c.stale || len(c.held) > 0
		clear(c.held)
		for _, r := range c.requests {
			for i := range r.items {
				if w := r.items[i].wide; w != nil {
					w.got = 0
				}
			}
		}
	}
	p.flights = p.flights[:0]
}

// repack makes the requests anew, for PDUs of another size.
func (p *poller) repack(pdu int) {
	p.pdu = pdu
	p.restart()
	for _, c := range p.plan.classes {
		c.stale = true
		c.requests, c.pos = nil, 0
	}
}

// pause waits before the next attempt, and not less than the endpoint does.
func (p *poller) pause(ctx context.Context, err error) {
	wait := retryPause
	if n := p.fails - p.s.Retry; n > 0 {
		wait = min(faultBase<<min(n-1, 20), p.s.BackoffMax)
	}
	wait = wait*4/5 + rand.N(wait*2/5+1)
	if down, ok := errors.AsType[*endpoint.DownError](err); ok {
		wait = max(wait, min(time.Until(down.Retry)+time.Millisecond, p.s.BackoffMax))
	}
	until := time.Now().Add(wait)
	for ctx.Err() == nil {
		p.deliver(ctx, false)
		left := time.Until(until)
		if left <= 0 {
			return
		}
		if len(p.waiting) > 0 {
			left = min(left, 10*time.Millisecond)
		}
		p.timer.Reset(left)
		select {
		case <-ctx.Done():
		case <-p.timer.C:
		case j := <-p.jobs.C():
			p.jobs.Begin(j)
			p.failJobNow(err)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
