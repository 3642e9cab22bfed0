package opcua

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/gopcua/opcua/ua"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// runner speaks to the server, inside Run. It owns the session: it connects, notices
// that the server is silent, and takes up again what a cut interrupted. All its
// methods belong to one goroutine.
type runner struct {
	d   *opcuaDriver
	s   *Settings
	c   *client
	out chan<- *frame.Batch
	ctx context.Context // of Run

	plan    *plan
	items   map[string]*item // by tag
	handles map[uint32]*item
	handle  uint32 // the last one given

	// What outlives a connection.
	sess       *session // nil: the server has none for us
	namespaces []string
	caps       limits
	enums      map[string]map[int64]string // by data type
	types      *structTypes
	subs       []*subscription
	gap        *gap // nobody was told of yet

	// Of the connection in use.
	ch          *channel
	pubs        chan reply
	outstanding int // publish requests
	most        int // of them at once
	acks        []*ua.SubscriptionAcknowledgement
	groups      []*group // mode poll

	heard     atomic.Int64 // Unix nanoseconds of the last message of the server
	lost      bool         // the tags were told bad
	retryAt   time.Time    // of nodes that were refused; zero: there are none
	refreshAt time.Time    // read what is still bad; zero: nothing is
	overflow  overflow
	attempts  int
	reopened  int       // failed attempts to reach the session of before again
	logged    string    // the last fault, so that it is logged once
	slow      bool      // it was logged that the server samples more slowly
	past      time.Time // until when there were values, as it was written, at
	pastAt    time.Time
	forgetful bool // it was logged that this cannot be written
}

func newRunner(d *opcuaDriver, out chan<- *frame.Batch) *runner {
	return &runner{d: d, s: d.settings, c: &d.client, out: out, items: map[string]*item{}, handles: map[uint32]*item{}}
}

// run connects and serves until ctx ends.
func (r *runner) run(ctx context.Context) {
	r.ctx = ctx
	r.recall()
	defer r.leave()
	for ctx.Err() == nil {
		began := time.Now()
		err := r.connect(ctx)
		if err == nil {
			err = r.serve(ctx)
			if time.Since(began) > 2*r.s.Keepalive {
				r.attempts = 0
			}
		}
		if ctx.Err() != nil {
			return
		}
		r.broken(err)
		r.pause(ctx, err)
	}
}

// leave ends the session, if that can be done quickly.
func (r *runner) leave() {
	r.d.setLive(nil)
	r.remember(time.Now())
	if r.ch == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), leaveGrace)
	defer cancel()
	if r.sess != nil {
		if err := closeSession(ctx, r.ch, r.sess); err == nil {
			r.ch.goodbye()
		}
	}
	r.ch.close(errLeaving)
	r.ch = nil
}

// broken takes note that the connection is gone and why.
func (r *runner) broken(err error) {
	now := time.Now()
	r.d.setLive(nil)
	r.d.metrics.session.WithLabelValues(r.d.id).Set(0)
	r.d.metrics.fault.WithLabelValues(r.d.id).Set(1)
	if r.ch != nil {
		r.ch.close(err)
		r.ch = nil
	}
	r.d.Failed(now, 1, 0)
	r.d.SetError(now, err.Error())
	r.d.SetState(driver.Fault)
	r.d.SetAway(awayReason(err))
	if text := err.Error(); text != r.logged && !errors.Is(err, endpoint.ErrDown) || r.logged == "" {
		r.logged = text
		r.d.deps.Log.Warn("no session with the server", "error", err)
	}
	r.tellLost(now)
}

// pause waits before the next attempt: shortly after the first failure, then with
// back-off, and not before the endpoint dials again.
func (r *runner) pause(ctx context.Context, err error) {
	wait := min(50*time.Millisecond<<min(r.attempts, 20), r.s.BackoffMax)
	r.attempts++
	wait = wait/2 + rand.N(wait/2+1)
	if down, ok := errors.AsType[*endpoint.DownError](err); ok {
		wait = max(wait, min(time.Until(down.Retry)+time.Millisecond, r.s.BackoffMax))
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	r.tellLost(time.Now())
}

// tellLost makes each tag bad once, when the server has been silent for longer than it
// may be: a short cut loses nothing, and makes nothing bad.
func (r *runner) tellLost(now time.Time) {
	if r.lost || now.Sub(time.Unix(0, r.heard.Load())) < r.s.Keepalive {
		return
	}
	r.lost = true
	p := r.d.plans.Newest()
	b := p.table.Begin(p.table.Len())
	for i := range p.points {
		if p.points[i].read {
			p.table.Lost(b, i, now.UnixNano())
		}
	}
	r.emit(p.table.End(b))
}

// emit hands a batch on; nil is none.
func (r *runner) emit(b *frame.Batch) {
	if b == nil {
		return
	}
	select {
	case r.out <- b:
	case <-r.ctx.Done():
	}
}

// connect gets an active session, the one of before where the server still has it.
func (r *runner) connect(ctx context.Context) error {
	r.acks, r.outstanding, r.most = nil, 0, mostPublish
	r.pubs = make(chan reply, mostPublish)
	if r.sess != nil {
		if err := r.reactivate(ctx); err != nil || r.ch != nil {
			return err
		}
	}
	return r.begin(ctx)
}

// mostReopened is how often a server that is reached may fail to open a channel before
// it is asked anew what it offers.
const mostReopened = 3

// use makes ch the connection in use.
func (r *runner) use(ch *channel) {
	r.ch = ch
	r.heard.Store(time.Now().UnixNano())
	r.d.metrics.session.WithLabelValues(r.d.id).Set(1)
}

// opened notes how a channel came about and listens to it.
func (r *runner) opened(ch *channel, err error) error {
	r.c.step("connect", err)
	if err == nil {
		ch.setListener(func(t time.Time) { r.heard.Store(t.UnixNano()) })
	}
	return err
}

// reactivate takes the session of before up again over a new channel. If the server
// does not know it any more, r.ch stays nil and there is no error.
func (r *runner) reactivate(ctx context.Context) error {
	ch, err := r.c.open(ctx, r.sess.offer)
	if err := r.opened(ch, err); err != nil {
		if reached(err) && !errors.Is(err, errNoAnswer) {
			r.reopened++
		}
		if isRefusal(err) || r.reopened >= mostReopened {
			r.sess, r.reopened = nil, 0 // the server may have another certificate now, or other endpoints
		}
		return err
	}
	r.reopened = 0
	err = r.c.activate(ctx, ch, r.sess)
	r.c.step("reactivate", err)
	if err == nil {
		r.use(ch)
		err = r.resume(ctx)
		if err == nil || isLink(err) || ctx.Err() != nil {
			return err
		}
	}
	r.sess = nil
	if _, answered := errors.AsType[*serviceError](err); !answered {
		ch.close(err)
		r.ch = nil
		return err
	}
	ch.goodbye()
	ch.close(errLeaving)
	r.ch = nil
	return nil
}

// begin makes a new session and moves the subscriptions of before to it.
func (r *runner) begin(ctx context.Context) error {
	o, ch, err := r.c.discover(ctx)
	r.c.step("discover", err)
	if err != nil {
		return err
	}
	if ch == nil {
		ch, err = r.c.open(ctx, o)
	}
	if err := r.opened(ch, err); err != nil {
		return err
	}
	sess, err := r.c.create(ctx, ch, o, r.s.SessionTimeout)
	r.c.step("session", err)
	if err == nil {
		err = r.c.activate(ctx, ch, sess)
		r.c.step("activate", err)
	}
	if err != nil {
		ch.goodbye()
		ch.close(errLeaving)
		return err
	}
	r.sess = sess
	r.use(ch)
	r.d.deps.Log.Info("session with the server", "policy", policyName(o.SecurityPolicyURI), "mode", modeName(o.SecurityMode), "user", r.c.access.user())
	if err := r.learn(ctx); err != nil {
		r.sess = nil // without that it can't be used
		return err
	}
	if err := r.transfer(ctx); err != nil {
		return err
	}
	return r.resume(ctx)
}

// errSessionGone is why a session is made anew.
var errSessionGone = errors.New("the server has closed the session")

// ask sends a request of the session and waits for the answer. A session that the
// server has closed is a connection that is of no use.
func (r *runner) ask(ctx context.Context, req ua.Request) (ua.Response, error) {
	if r.sess == nil {
		return nil, &linkError{"session", errSessionGone}
	}
	resp, err := r.ch.call(ctx, r.sess.auth, req)
	if sessionGone(err) {
		r.sess = nil
		return nil, closedSession(err)
	}
	if errors.Is(err, errNoAnswer) {
		return nil, &linkError{"request", err}
	}
	return resp, err
}

// closedSession is the end of a connection. It is no [serviceError], which would mean
// that the connection is in order.
func closedSession(err error) error {
	return &linkError{"session", fmt.Errorf("%w: %s", errSessionGone, err.Error())}
}

func sessionGone(err error) bool {
	if _, answered := errors.AsType[*serviceError](err); !answered {
		return false
	}
	switch statusOf(err) {
	case ua.StatusBadSessionIDInvalid, ua.StatusBadSessionClosed, ua.StatusBadSessionNotActivated, ua.StatusBadSecureChannelIDInvalid:
		return true
	}
	return false
}

// serve subscribes, or reads, until the connection is of no use any more.
func (r *runner) serve(ctx context.Context) error {
	r.d.setLive(&live{ch: r.ch, auth: r.sess.auth, ids: map[string]*ua.NodeID{}, typ: map[string]ua.TypeID{}, caps: r.caps, types: r.types, namespaces: r.namespaces})
	for _, it := range r.items {
		r.d.resolved(it)
	}
	if err := r.apply(ctx); err != nil {
		return err
	}
	if len(r.handles) == 0 && r.s.Mode == ModeSubscribe { // nothing will come that shows it
		r.good(time.Now(), 0)
	}
	tick := time.NewTicker(min(r.s.Keepalive/4, time.Second))
	defer tick.Stop()
	poll := time.NewTimer(0)
	defer poll.Stop()
	for {
		r.fill()
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-r.ch.done:
			return r.ch.err
		case rep := <-r.pubs:
			err = r.published(ctx, rep)
		case <-r.d.plans.Wake():
			err = r.apply(ctx)
			poll.Reset(0)
		case now := <-poll.C:
			var next time.Duration
			next, err = r.poll(ctx, now)
			poll.Reset(next)
		case <-tick.C:
			err = r.look(ctx, time.Now())
		}
		if err != nil {
			return err
		}
	}
}

// good takes note that the server answers; took is 0 if nobody waited for it.
func (r *runner) good(now time.Time, took time.Duration) {
	r.d.Answered(now, took)
	if r.d.Recovered() {
		r.attempts, r.logged = 0, ""
		r.d.metrics.fault.WithLabelValues(r.d.id).Set(0)
	}
}

// look does what time asks for: it renews the channel's keys, notices silence, and
// tries again what was refused.
func (r *runner) look(ctx context.Context, now time.Time) error {
	if now.After(r.ch.renewal()) {
		err := r.ch.renew(ctx)
		r.c.step("renew", err)
		if err != nil {
			return &linkError{"renew the channel's keys", err}
		}
	}
	r.tellOverflow(now)
	if now.Sub(r.pastAt) >= pastEvery {
		r.remember(now)
	}
	if err := r.listen(ctx, now); err != nil {
		return err
	}
	if !r.refreshAt.IsZero() && now.After(r.refreshAt) {
		r.refreshAt = time.Time{}
		if err := r.refresh(ctx); err != nil {
			return err
		}
	}
	if !r.retryAt.IsZero() && now.After(r.retryAt) {
		return r.settle(ctx)
	}
	return nil
}

// listen notices a server that is silent, or a subscription that is. A server that was
// stopped may answer other requests before it publishes again: a subscription is lost if
// it is silent for a keep-alive interval longer than the server.
func (r *runner) listen(ctx context.Context, now time.Time) error {
	if err := r.hear(ctx); err != nil {
		return err
	}
	var silent []*subscription
	for _, s := range r.subs {
		if now.Sub(s.heard) > 2*s.keepalive && (s.doubted.IsZero() || now.Sub(s.doubted) > s.keepalive) {
			silent = append(silent, s)
		}
	}
	if len(silent) == 0 && (len(r.subs) > 0 || now.Sub(time.Unix(0, r.heard.Load())) < r.s.Keepalive) {
		return nil
	}
	short, cancel := context.WithTimeout(ctx, min(r.s.Keepalive, r.s.Timeout))
	defer cancel()
	if _, err := r.readNodes(short, []*ua.ReadValueID{valueOf(ua.NewNumericNodeID(0, idServerState))}); err != nil {
		if short.Err() != nil && ctx.Err() == nil {
			err = &linkError{"keep-alive", errSilent}
		}
		return err
	}
	lost := false
	for _, s := range silent {
		if s.doubted.IsZero() {
			s.doubted = time.Now()
			continue
		}
		r.lose(s, "the server stopped publishing")
		lost = true
	}
	if lost {
		return r.settle(ctx)
	}
	return nil
}

// hear takes what the server has published already: this goroutine may come late to it.
func (r *runner) hear(ctx context.Context) error {
	for {
		select {
		case rep := <-r.pubs:
			if err := r.published(ctx, rep); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}
