package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/supervise"
)

// next is what an Acquire does after take or wait.
type next int

const (
	finish next = iota // with what it got
	queue              // wait
	again              // the handle leads to another group now, or to none
)

// group is the connections that lead to one place, the endpoints that use them
// and those who wait for one.
//
// A connection is in conns from its dial to its close. It is in idle, or leased.
// Waiters wait only while idle is empty or they are on hold: whatever makes a
// connection free, or possible, calls serve.
type group struct {
	pool   *Pool
	key    groupKey
	dialer *dialer
	line   chan struct{} // token of a serial device; nil on networks
	memo   *Memo         // of the address
	max    int
	ctx    context.Context // ends when the group retires
	cancel context.CancelFunc

	mu      sync.Mutex
	handles []*Handle
	conns   []*pooled
	idle    []*pooled // the one used last is last
	waiters []*waiter // in order of arrival
	dialing bool
	retired bool
	empty   chan struct{} // closed when conns is empty, if somebody waits for it

	draining int    // drains under way
	drains   uint64 // ever

	down      *DownError // of the last dial, nil after one that worked
	early     bool       // the dial under way is one that somebody insists on, before its time
	closing   bool       // down because connections are closed, not because dials fail
	failures  int        // since the last connection that proved good
	failing   time.Time  // since
	connected bool       // ever
	opened    uint64     // connections, ever
	lastErr   error
	lastErrAt time.Time
	failback  time.Time // when to try the endpoint itself again

	trouble   time.Time // the last lease that was not answered
	heardAt   uint32    // tick of the pool's clock when somebody was answered last
	heldUntil time.Time // no lease for users of poor standing before, if others have a better one
	holding   bool      // somebody waits for heldUntil
	dialTook  time.Duration
	answers   bool // somebody was answered, ever
	hangUps   int  // connections in a row that the peer closed soon after an answer

	status Status
	since  time.Time // of status
}

// waiter is one Acquire that waits.
type waiter struct {
	user  *User
	since time.Time
	grant chan grant // of capacity 1: the giver never waits
}

// grant is a connection, an error, or word that the handle moved.
type grant struct {
	conn  *pooled
	err   error
	moved bool
}

func newGroup(p *Pool, key groupKey, d *dialer, line chan struct{}) *group {
	g := &group{
		pool: p, key: key, dialer: d, line: line, max: d.options.MaxConns,
		status: Idle, since: time.Now(),
	}
	g.idle = make([]*pooled, 0, g.max)
	g.ctx, g.cancel = context.WithCancel(p.ctx)
	return g
}

// take is the way of an Acquire that need not wait. start is zero if this call
// isn't timed.
func (g *group) take(u *User, start time.Time) (*pooled, next, error) {
	h := u.handle
	g.mu.Lock()
	for {
		if h.group.Load() != g {
			g.mu.Unlock()
			return nil, again, nil
		}
		if h.paused {
			g.mu.Unlock()
			return nil, finish, h.errPaused
		}
		last := len(g.idle) - 1
		if last < 0 || u.poor() && g.hold(time.Now()) > 0 {
			break
		}
		c := g.idle[last]
		g.idle = g.idle[:last]
		if c.used != g.pool.tick.Load() || c.link.always || g.hangUps > 0 {
			if err := g.check(c); err != nil {
				g.lost(c, err)
				continue
			}
		}
		g.lend(c, u)
		h.latency.hit(start, &h.timed)
		g.mu.Unlock()
		return c, finish, nil
	}
	defer g.mu.Unlock()
	if err := g.refusal(u, time.Now()); err != nil {
		return nil, finish, err
	}
	return nil, queue, nil
}

// refusal is the error of an endpoint that is known to be down for u, or nil.
func (g *group) refusal(u *User, now time.Time) error {
	if g.down != nil && !u.insists && len(g.conns) == 0 && g.draining == 0 && (g.dialing || now.Before(g.down.Retry)) &&
		(!g.closing || u.standing.Load() == broken) {
		return g.down
	}
	return nil
}

// lend marks c as used by u.
func (g *group) lend(c *pooled, u *User) {
	c.leased, c.silent, c.user = true, false, u
	c.inBefore, c.rested = c.in.Load(), c.used != g.pool.tick.Load()
	if c.began = (time.Time{}); u.standing.Load() != answered {
		c.began = time.Now()
	}
	if a := &u.handle.account; c.account.Load() != a {
		c.account.Store(a)
	}
	c.link.reset()
}

// wait queues up for a connection.
func (g *group) wait(ctx context.Context, u *User, start time.Time) (*pooled, next, error) {
	h := u.handle
	w := &waiter{user: u, since: start, grant: make(chan grant, 1)}
	g.mu.Lock()
	switch {
	case h.group.Load() != g:
		g.mu.Unlock()
		return nil, again, nil
	case h.paused:
		g.mu.Unlock()
		return nil, finish, h.errPaused
	}
	g.waiters = append(g.waiters, w)
	g.serve()
	g.mu.Unlock()

	select {
	case got := <-w.grant:
		return granted(h, got, start)
	case <-ctx.Done():
	}
	g.mu.Lock()
	if i := slices.Index(g.waiters, w); i >= 0 {
		g.waiters = slices.Delete(g.waiters, i, i+1)
	}
	g.mu.Unlock()
	select {
	case got := <-w.grant: // came at the same time
		return granted(h, got, start)
	default:
		return nil, finish, fmt.Errorf("endpoint %s: wait for a connection: %w", h.id, ctx.Err())
	}
}

func granted(h *Handle, got grant, start time.Time) (*pooled, next, error) {
	if got.moved {
		return nil, again, nil
	}
	if got.err == nil {
		h.latency.observe(time.Since(start))
	}
	return got.conn, finish, got.err
}

// serve gives free connections to those who wait, and dials if that would help.
// It needs g.mu.
func (g *group) serve() {
	if g.draining > 0 || g.retired {
		return
	}
	now, turn := time.Now(), 0
	for len(g.waiters) > 0 {
		var hold time.Duration
		if turn, hold = g.pick(now); turn < 0 {
			g.unhold(hold)
			return
		}
		last := len(g.idle) - 1
		if last < 0 {
			break
		}
		c := g.idle[last]
		g.idle = g.idle[:last]
		w := g.waiters[turn]
		g.waiters = slices.Delete(g.waiters, turn, turn+1)
		g.lend(c, w.user)
		w.grant <- grant{conn: c}
	}
	if len(g.waiters) == 0 || g.dialing || len(g.conns) >= g.max {
		return
	}
	g.early = g.down != nil && !g.closing && now.Before(g.down.Retry)
	if g.early && !slices.ContainsFunc(g.waiters, func(w *waiter) bool { return w.user.insists }) {
		if len(g.conns) == 0 {
			g.refuse(g.down)
		}
		return
	}
	g.startDial(true)
}

// refuse gives err to everybody who waits.
func (g *group) refuse(err error) {
	for _, w := range g.waiters {
		w.grant <- grant{err: err}
	}
	clear(g.waiters)
	g.waiters = g.waiters[:0]
}

// release takes back a leased connection.
func (g *group) release(c *pooled, err error) {
	g.mu.Lock()
	if !c.leased { // released twice
		g.mu.Unlock()
		return
	}
	c.leased = false
	if err == nil && !c.closed.Load() && !g.outdated(c) {
		if c.silent {
			g.unheard(c, os.ErrDeadlineExceeded)
		} else {
			g.heard(c)
			c.used = g.pool.tick.Load()
		}
		g.idle = append(g.idle, c)
		if len(g.waiters) > 0 {
			g.serve()
		}
		g.mu.Unlock()
		return
	}
	g.mu.Unlock()
	// Closed before it is forgotten: a device that takes one connection must
	// not see a second. What Close says of a broken connection doesn't matter.
	_ = c.Close()
	g.mu.Lock()
	g.forget(c)
	switch {
	case err == nil && !c.silent:
		g.heard(c)
	case err != nil && c.drains == g.drains && !errors.Is(err, ErrStale): // an error that a drain caused is none
		if !c.user.insists { // what a person asked is not the endpoint's fault
			g.lastErr, g.lastErrAt = err, time.Now()
		}
		g.unheard(c, err)
	}
	g.serve()
	gone := g.retired && len(g.conns) == 0
	g.mu.Unlock()
	if gone {
		g.pool.left(g)
	}
}

// spoiled tells errors that speak against the endpoint from those of a slow
// device behind it, or of the caller.
func spoiled(err error) bool {
	var timeout net.Error
	return !errors.Is(err, context.Canceled) && !errors.Is(err, os.ErrDeadlineExceeded) &&
		!(errors.As(err, &timeout) && timeout.Timeout())
}

// outdated reports whether c must not be used again. It needs g.mu.
func (g *group) outdated(c *pooled) bool {
	return g.retired || c.drains != g.drains || c.onBackup && g.failback.IsZero() ||
		older(g.pool.tick.Load()-c.born, g.dialer.options.MaxLifetime)
}

// older compares an age in ticks with a limit, of which 0 is none.
func older(ticks uint32, limit time.Duration) bool {
	return limit > 0 && time.Duration(ticks)*time.Second >= limit
}

// lost closes a connection that was found dead. It needs g.mu.
func (g *group) lost(c *pooled, err error) {
	_ = c.Close() // it is dead already
	g.lastErr, g.lastErrAt = err, time.Now()
	g.foundDead(c)
	g.forget(c)
}

// foundDead learns from an idle connection that the peer has closed. It needs
// g.mu.
func (g *group) foundDead(c *pooled) {
	if c.answers > 0 && c.answers < manyAnswers && g.pool.tick.Load()-c.used <= 2 {
		g.hangUps++
	}
}

// forget removes a closed connection. It needs g.mu.
func (g *group) forget(c *pooled) {
	if i := slices.Index(g.conns, c); i >= 0 {
		g.conns = slices.Delete(g.conns, i, i+1)
	}
	if len(g.conns) == 0 && g.empty != nil {
		close(g.empty)
		g.empty = nil
	}
	g.note()
}

// closeIdle closes the idle connections for which bad answers true. It needs
// g.mu.
func (g *group) closeIdle(bad func(*pooled) error) {
	kept := g.idle[:0]
	for _, c := range g.idle {
		if err := bad(c); err != nil {
			if !errors.Is(err, errTooOld) {
				g.lastErr, g.lastErrAt = err, time.Now()
				g.foundDead(c)
			}
			_ = c.Close() // nobody uses it
			g.forget(c)
			continue
		}
		kept = append(kept, c)
	}
	clear(g.idle[len(kept):])
	g.idle = kept
}

// errTooOld closes a connection without being an error of the endpoint.
var errTooOld = errors.New("too old")

// sweep is the janitor's visit.
func (g *group) sweep() {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.pool.tick.Load()
	g.closeIdle(func(c *pooled) error {
		switch {
		case g.outdated(c), older(now-c.used, g.dialer.options.IdleTimeout):
			return errTooOld
		case now-c.used >= 1:
			return g.check(c)
		}
		return nil
	})
	if !g.retired && !g.failback.IsZero() && len(g.conns) > 0 && !g.dialing && g.draining == 0 && !time.Now().Before(g.failback) {
		g.startDial(false)
	}
}

// backoff is how long to wait after so many failures in a row.
func (g *group) backoff(failures int) time.Duration {
	return supervise.Delay(g.dialer.options.Backoff, g.dialer.options.BackoffMax, failures)
}
