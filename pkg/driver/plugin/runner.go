package plugin

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/sdk/driverpb"
)

const (
	retryPause = 100 * time.Millisecond // before an attempt while the tags are not told bad
	faultBase  = 250 * time.Millisecond // before the first one after that; doubles up to backoff_max
	far        = time.Hour              // nothing is due
	handOver   = 8                      // batches that wait while there is something to ask
	pausedLook = 100 * time.Millisecond // how often it is looked whether a pause is over
)

// runner speaks to the driver's code, inside Run. All its methods belong to one goroutine.
type runner struct {
	d       *Driver
	s       *Settings
	out     chan<- *frame.Batch // to the goroutine that publishes
	waiting []*frame.Batch      // for room in out
	timer   *time.Timer
	turn    driver.Turn[*runner]
	teller  driver.Teller

	ctx  context.Context // of the runner; its cause is an ErrBroken where the code is of no use
	ses  Session
	plan *plan
	bad  map[string]string // tags that are bad on their own, and why

	open   bool   // the code is connected to the device
	fails  int    // in a row, without an answer between
	fault  bool   // the tags were told bad
	logged string // why, so that it is logged once
	broken error  // why the code is of no use any more
}

func newRunner(d *Driver, out chan<- *frame.Batch) *runner {
	return &runner{d: d, s: d.settings, out: out, turn: driver.NewTurn(d.jobs), timer: time.NewTimer(far), bad: map[string]string{}}
}

// run starts the code and polls until ctx ends, or the code is of no use any more.
func (r *runner) run(ctx context.Context) error {
	defer r.timer.Stop()
	ses, err := r.d.host.Start(ctx)
	if err != nil {
		if ctx.Err() == nil {
			r.abandon(err)
		}
		return err
	}
	r.ses = ses
	defer ses.Stop()
	ctx, end := context.WithCancelCause(ctx)
	r.ctx = ctx
	wait := watch(ctx, ses, end, func(st *driverpb.StatusResponse) { r.advise(st.GetAdvice()) })
	defer wait()
	defer end(errStopping)
	for ctx.Err() == nil && r.broken == nil {
		if err := r.serve(); err != nil && ctx.Err() == nil && r.broken == nil {
			r.lost(err)
			r.pause(err)
		}
	}
	if why := context.Cause(ctx); r.broken == nil && errors.Is(why, ErrBroken) {
		r.broken = why
	}
	if r.broken == nil {
		r.close(farewell)
		r.deliver(true)
		return nil
	}
	r.abandon(r.broken)
	return r.broken
}

// abandon tells every tag bad, because the code is of no use.
func (r *runner) abandon(err error) {
	if r.plan == nil {
		r.plan = r.d.plans.Newest()
	}
	now := time.Now()
	r.d.Failed(now, 1, 0)
	r.d.SetError(now, err.Error())
	r.d.SetAway(driver.Reason{Text: clean(err.Error()), Hint: "it is started anew by itself; the log has what it said"})
	if !r.fault {
		r.tellLost(now)
	}
	r.deliver(true)
}

// serve does what is due, and returns an error when the device was lost.
func (r *runner) serve() error {
	if err := r.adopt(); err != nil {
		return err
	}
	r.deliver(false)
	now := time.Now()
	if r.paused() {
		if r.turn.Take(now) {
			r.turn.GiveUp(endpoint.ErrPaused)
		}
		r.idle()
		return nil
	}
	if !r.open {
		return r.connect()
	}
	if r.turn.Take(now) {
		return r.job()
	}
	if g, n := r.due(now); g != nil && len(r.waiting) < handOver {
		return r.poll(g, n)
	}
	r.idle()
	return nil
}

// adopt takes over a newer plan.
func (r *runner) adopt() error {
	select {
	case <-r.d.plans.Wake():
	default:
	}
	p := r.d.plans.Newest()
	if p == r.plan {
		return nil
	}
	call, _, cancel := r.limit()
	defer cancel()
	if _, err := r.ses.SetPoints(call, &driverpb.SetPointsRequest{Points: p.points}); err != nil {
		return r.failed("SetPoints", err)
	}
	if r.plan != nil {
		p.goOn(r.plan)
	}
	r.plan = p
	r.d.Keep(func(tag string) bool { _, has := p.table.Index(tag); return has })
	for tag := range r.bad {
		if _, has := p.table.Index(tag); !has {
			delete(r.bad, tag)
		}
	}
	return nil
}

// connect has the code connect to the device.
func (r *runner) connect() error {
	call, _, cancel := r.limit()
	defer cancel()
	resp, err := r.ses.Open(call, r.d.open)
	if err != nil {
		return r.failed("Open", err)
	}
	if err := deviceError(resp.GetError()); err != nil {
		return err
	}
	r.open = true
	if len(r.plan.groups) == 0 {
		r.alive() // nothing will be asked that shows it
	}
	return nil
}

// close gives the connection up. A driver that does not let go of it within limit will be
// ended.
func (r *runner) close(limit time.Duration) {
	if !r.open {
		return
	}
	r.open = false
	call, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), limit)
	defer cancel()
	defer context.AfterFunc(r.ctx, func() { time.AfterFunc(farewell, cancel) })()
	if _, err := r.ses.Close(call, &driverpb.CloseRequest{}); err != nil && r.ctx.Err() == nil {
		r.broken = fault(r.ctx, r.ses, "Close", limit-grace, err)
	}
}

// limit bounds a call: by what the driver has for it and the grace, and when the driver is
// to stop by a last while.
func (r *runner) limit() (call context.Context, limit time.Duration, cancel func()) {
	call, done := context.WithTimeout(context.WithoutCancel(r.ctx), r.s.Timeout+grace)
	stop := context.AfterFunc(r.ctx, func() {
		if errors.Is(context.Cause(r.ctx), ErrBroken) {
			done() // nobody will answer
			return
		}
		time.AfterFunc(driver.Grace, done)
	})
	return call, r.s.Timeout, func() { stop(); done() }
}

// failed takes note that a call failed as such.
func (r *runner) failed(call string, err error) error {
	switch {
	case errors.Is(context.Cause(r.ctx), ErrBroken):
		r.broken = context.Cause(r.ctx)
	case r.ctx.Err() != nil:
		return errStopping // it was given up
	default:
		r.broken = fault(r.ctx, r.ses, call, r.s.Timeout, err)
	}
	return r.broken
}

// paused reports whether the endpoint takes no traffic: an operator or a full log wants so.
func (r *runner) paused() bool {
	p, ok := r.d.deps.Endpoint.(interface{ Paused() bool })
	return ok && p.Paused()
}

// due returns the group that is to be polled now, and its number; nil: none.
func (r *runner) due(now time.Time) (*group, int) {
	for n, g := range r.plan.groups {
		if !now.Before(g.Next) {
			return g, n
		}
	}
	return nil, 0
}

// idle waits until something may be due, wanted or over.
func (r *runner) idle() {
	now := time.Now()
	at := now.Add(far)
	if r.paused() {
		at = now.Add(pausedLook)
	} else {
		for _, g := range r.plan.groups {
			if g.Next.Before(at) {
				at = g.Next
			}
		}
	}
	var out chan<- *frame.Batch
	var first *frame.Batch
	if len(r.waiting) > 0 {
		out, first = r.out, r.waiting[0]
		if len(r.waiting) >= handOver { // nothing is asked before there is room
			at = now.Add(far)
		}
	}
	r.timer.Reset(r.turn.At(at).Sub(now))
	select {
	case <-r.ctx.Done():
	case <-r.timer.C:
	case <-r.d.plans.Wake():
	case out <- first:
		r.waiting = slices.Delete(r.waiting, 0, 1)
	case j := <-r.turn.C():
		r.turn.Begin(j)
	}
}

// deliver hands over the batches that there is room for; at the end, it gives the log
// a last while.
func (r *runner) deliver(last bool) {
	end := time.NewTimer(driver.Grace)
	defer end.Stop()
	for len(r.waiting) > 0 {
		if last {
			select {
			case r.out <- r.waiting[0]:
			case <-end.C:
				return
			}
		} else {
			select {
			case r.out <- r.waiting[0]:
			default:
				return
			}
		}
		r.waiting = slices.Delete(r.waiting, 0, 1)
	}
}

// poll reads a group.
func (r *runner) poll(g *group, n int) error {
	began := time.Now()
	r.d.Cycled(began, g.Begin(began))
	call, limit, cancel := r.limit()
	defer cancel()
	resp, err := r.ses.Poll(call, &driverpb.PollRequest{Group: uint32(n), TimeoutMs: uint32(limit.Milliseconds())})
	if err != nil {
		return r.failed("Poll", err)
	}
	if err := deviceError(resp.GetError()); err != nil {
		return err
	}
	if err := checkValues(resp.GetValues(), len(g.points)); err != nil {
		r.broken = nonsense("Poll", err)
		return r.broken
	}
	now := time.Now()
	r.alive()
	r.d.Answered(now, now.Sub(began))
	r.observe(g, resp.GetValues(), now)
	return nil
}

// observe makes frames of an answer, which was checked.
func (r *runner) observe(g *group, values *driverpb.Values, now time.Time) {
	table, ts := r.plan.table, now.UnixNano()
	c := column{v: values}
	var news []func()
	b := table.Begin(len(g.points))
	for _, i := range g.points {
		v, q, why := c.next()
		variable := table.Variable(i)
		if fitting, wrong := fit(variable.Datatype, v); wrong != "" {
			v, q, why = frame.Value{}, frame.Bad, wrong
		} else {
			v = fitting
		}
		if v.IsNone() {
			table.Lost(b, i, ts)
			q = frame.Bad
		} else {
			table.Observe(b, i, v, q, ts)
		}
		if _, was := r.bad[variable.Tag]; q != frame.Good || was {
			news = append(news, func() { r.explain(variable.Tag, q, why, now) })
		}
	}
	r.give(table.End(b))
	for _, tell := range news {
		tell()
	}
}

// explain takes note why a tag is not good, or that it is again.
func (r *runner) explain(tag string, q frame.Quality, why string, now time.Time) {
	if q == frame.Good {
		if _, was := r.bad[tag]; was {
			delete(r.bad, tag)
			r.d.Forget(tag)
		}
		return
	}
	if why = clean(why); why == "" {
		why = "the driver gave no reason"
	}
	before, was := r.bad[tag]
	r.bad[tag] = why
	if was && before == why {
		return
	}
	r.d.Note(tag, driver.Reason{Text: why, Since: now})
	if log := r.teller.Logger(r.d.deps.Log, now); log != nil && !was {
		log.Warn("a tag is not good", "tag", tag, "reason", why)
	}
}

// give keeps a batch for deliver; nil is none.
func (r *runner) give(b *frame.Batch) {
	if b != nil {
		r.waiting = append(r.waiting, b)
	}
}

// advise keeps what the driver advises.
func (r *runner) advise(text string) {
	text = clean(text)
	r.d.advice.Store(&text)
}

// alive notes that the device answers.
func (r *runner) alive() {
	r.fails, r.logged = 0, ""
	if r.fault {
		r.fault = false
		r.d.deps.Log.Info("the device answers again")
	}
	r.d.Recovered()
}

// lost takes note that the device is gone and why.
func (r *runner) lost(err error) {
	r.close(r.s.Timeout + grace)
	now := time.Now()
	r.fails++
	repeated := 0
	if r.fails <= r.s.Retry {
		repeated = 1
	}
	r.d.Failed(now, 1, repeated)
	r.d.SetError(now, err.Error())
	r.failJob(err)
	if r.fails <= r.s.Retry {
		return
	}
	r.d.SetState(driver.Fault)
	reason := driver.Reason{Text: err.Error()}
	if d, ok := errors.AsType[*DeviceError](err); ok {
		reason.Hint = d.Hint
	}
	r.d.SetAway(reason)
	r.fault = true
	if text := err.Error(); text != r.logged {
		r.logged = text
		r.d.deps.Log.Warn("the device does not answer", "error", err)
	}
	r.tellLost(now)
}

// tellLost makes each tag bad, once. When the device is back, each is read at once.
func (r *runner) tellLost(now time.Time) {
	table := r.plan.table
	b := table.Begin(table.Len())
	for _, g := range r.plan.groups {
		g.Next = time.Time{}
		for _, i := range g.points {
			table.Lost(b, i, now.UnixNano())
		}
	}
	r.give(table.End(b))
}

// pause waits before the next attempt.
func (r *runner) pause(err error) {
	wait := retryPause
	if n := r.fails - r.s.Retry; n > 0 {
		wait = min(faultBase<<min(n-1, 20), r.s.BackoffMax)
	}
	until := time.Now().Add(wait*4/5 + rand.N(wait*2/5+1))
	for r.ctx.Err() == nil && r.broken == nil {
		r.deliver(false)
		left := time.Until(until)
		if left <= 0 {
			return
		}
		if len(r.waiting) > 0 {
			left = min(left, 10*time.Millisecond)
		}
		r.timer.Reset(left)
		select {
		case <-r.ctx.Done():
		case <-r.timer.C:
		case j := <-r.turn.C():
			r.turn.Begin(j)
			r.failJob(err)
		}
	}
}

// job does a write or a read on demand. It returns an error if the connection is lost.
func (r *runner) job() error {
	done, err := r.turn.Step(r)
	switch {
	case done:
		return err
	case r.broken != nil:
		r.turn.Finish(err)
		return r.broken
	case lostBy(err):
		r.turn.Finish(err)
		return err
	}
	r.turn.Finish(err)
	return nil
}

// failJob gives the job up that waits for the device, if that is away.
func (r *runner) failJob(err error) {
	if j := r.turn.Job(); j != nil && (r.fails > r.s.Retry || j.Ctx.Err() != nil) {
		r.turn.GiveUp(err)
	}
}

// read reads one point for a person.
func (r *runner) read(tag string) (reading driver.Reading, err error) {
	table := r.plan.table
	i, err := driver.Readable(table, tag)
	if err != nil {
		return reading, err
	}
	call, limit, cancel := r.limit()
	defer cancel()
	resp, err := r.ses.Read(call, &driverpb.ReadRequest{Index: uint32(i), TimeoutMs: uint32(limit.Milliseconds())})
	if err != nil {
		return reading, r.failed("Read", err)
	}
	if err := deviceError(resp.GetError()); err != nil {
		return reading, err
	}
	if err := checkValues(resp.GetValues(), 1); err != nil {
		r.broken = nonsense("Read", err)
		return reading, r.broken
	}
	c := column{v: resp.GetValues()}
	raw, q, why := c.next()
	raw, wrong := fit(table.Variable(i).Datatype, raw)
	if raw.IsNone() {
		if wrong == "" {
			wrong = clean(why)
		}
		return reading, &DeviceError{Text: orElse(wrong, "the driver has no value, and gave no reason")}
	}
	reading = driver.Reading{Raw: resp.GetRaw(), TS: time.Now().UnixNano()}
	if len(reading.Raw) == 0 {
		reading.Raw = []byte(raw.String())
	}
	if reading.Value, reading.Quality = table.Scale(i, raw); q > reading.Quality {
		reading.Quality = q
	}
	return reading, nil
}

// write writes one point. What was handed to the code and not answered may have been
// executed.
func (r *runner) write(j *driver.Job[*runner], w driver.Write) (res driver.WriteResult, err error) {
	i, raw, err := r.d.raw(r.plan, w)
	if err != nil {
		return res, err
	}
	if !j.Claim() {
		return res, driver.ErrOvertaken
	}
	call, limit, cancel := r.limit()
	defer cancel()
	resp, err := r.ses.Write(call, &driverpb.WriteRequest{Index: uint32(i), Values: one(raw), TimeoutMs: uint32(limit.Milliseconds())})
	if err != nil {
		return res, fmt.Errorf("%w: %w", driver.ErrOutcomeUnknown, r.failed("Write", err))
	}
	if err := deviceError(resp.GetError()); err != nil {
		return res, err
	}
	res = driver.WriteResult{TS: time.Now().UnixNano(), Note: clean(resp.GetNote())}
	if back := resp.GetReadBack(); len(back.GetKinds()) > 0 {
		if err := checkValues(back, 1); err != nil {
			r.broken = nonsense("Write", err)
			return res, fmt.Errorf("%w: %w", driver.ErrOutcomeUnknown, r.broken)
		}
		c := column{v: back}
		v, _, _ := c.next()
		if v, _ = fit(r.plan.table.Variable(i).Datatype, v); !v.IsNone() {
			res.ReadBack, _ = r.plan.table.Scale(i, v)
		}
	}
	return res, nil
}

// orElse returns text, or preset if it is empty.
func orElse(text, preset string) string {
	if text == "" {
		return preset
	}
	return text
}
