package endpoint

import (
	"context"
	"errors"
	"slices"
	"time"
)

// One unit's misbehaviour is its own. While every device answers, waiters are served in
// order. Otherwise:
//
//   - Users whose device answered last time go first. The others get what is left,
//     and a turn whenever they have waited for [patience]: first those that have not
//     been tried, or have failed a few times only, so that a hiccup does not queue
//     behind the units that are dead.
//   - After a lease without an answer, the next such lease has to wait: for as long
//     as that one took, dialling included, for four times as long once its user has
//     failed [manyMisses] times, and for fifteen times as long if it kept others
//     waiting and was not one of its first failures. So silent units, however many,
//     never take more than half of the time, a fifth in the long run, and less than a
//     tenth on a busy line.
//   - If the lease cost the connection, the next dial counts too, and the wait is
//     [breakHold] at least: that bounds how often the others have to do without one.
//   - An endpoint is down when it can't be dialled, or when it closes connections on
//     everybody before it has answered anything. Then those that it did this to are
//     refused until the back-off is over, and anybody else may try.

const (
	patience   = 2 * time.Second
	fewMisses  = 2
	manyMisses = 5
	breakHold  = 250 * time.Millisecond
	maxHold    = 30 * time.Second
	troubled   = time.Minute // how long a failure makes who answers go first
	recent     = 5           // seconds after an answer for which an endpoint can't be down by closing connections

	// A connection that has given so many answers is not one of a device that hangs
	// up after each, or after a few.
	manyAnswers = 32
)

// pick returns the index of the waiter whose turn it is, or -1 and how long that
// stays so. It needs g.mu, and somebody who waits.
func (g *group) pick(now time.Time) (int, time.Duration) {
	if now.Sub(g.trouble) > troubled {
		return 0, 0
	}
	good, other, hold := -1, -1, g.hold(now)
	for i, w := range g.waiters {
		switch {
		case w.user.standing.Load() == answered:
			if good < 0 {
				good = i
			}
		case hold > 0 && w.user.poor():
		case other < 0, w.user.hopeful() && !g.waiters[other].user.hopeful() && now.Sub(g.waiters[other].since) < maxHold:
			other = i
		}
	}
	switch {
	case good < 0 && other < 0:
		return -1, hold
	case good < 0, other >= 0 && now.Sub(g.waiters[other].since) > patience:
		return other, 0
	}
	return good, 0
}

// hold is how long users of poor standing have to wait yet. It needs g.mu.
func (g *group) hold(now time.Time) time.Duration {
	if !g.heldUntil.After(now) || !g.anyUser(func(u *User) bool { return u.standing.Load() == answered }) {
		return 0
	}
	return g.heldUntil.Sub(now)
}

// unhold has the queue looked at once d is over. It needs g.mu.
func (g *group) unhold(d time.Duration) {
	if g.holding {
		return
	}
	g.holding = true
	g.pool.tasks.Go(func() {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-g.ctx.Done():
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		g.holding = false
		g.serve()
	})
}

// heard books a lease that was released without an error. It needs g.mu.
func (g *group) heard(c *pooled) {
	c.answers++
	if g.heardAt = g.pool.tick.Load(); c.answers == 1 {
		g.failures, g.answers = 0, true
	}
	if c.answers == manyAnswers {
		g.hangUps = 0
	}
	u := c.user
	if u.standing.Load() == answered && !u.stale.Load() {
		return
	}
	if u.stale.Swap(false) && c.answers == 1 {
		g.hangUps++ // a new connection was all that was missing
	}
	u.standing.Store(answered)
	u.misses.Store(0)
	u.breaks.Store(0)
	g.failures = 0
}

// unheard books a lease that ended with err. It needs g.mu, and that c is
// forgotten unless it stays in use.
func (g *group) unheard(c *pooled, err error) {
	if errors.Is(err, ErrStale) || errors.Is(err, context.Canceled) {
		return
	}
	u, closed := c.user, spoiled(err) && c.in.Load() == c.inBefore
	if closed && c.answers > 0 && u.standing.Load() == answered && !u.stale.Swap(true) {
		return // perhaps the device had closed it before
	}
	now := time.Now()
	g.trouble = now
	standing := doubtful
	if closed && c.in.Load() == 0 {
		standing = broken
		u.breaks.Add(1)
	} else {
		u.breaks.Store(0)
	}
	u.standing.Store(standing)
	if !c.began.IsZero() {
		g.heldUntil = now.Add(g.holdAfter(c, now, slices.Contains(g.conns, c)))
	}
	u.misses.Add(1)
	if standing == broken && !u.insists && len(g.conns) == 0 && !g.retired && g.closesOnEverybody() {
		g.fail(err)
		g.closing = true
		g.note()
	}
}

// holdAfter is how long users of poor standing wait after c's lease got no answer. It
// needs g.mu.
func (g *group) holdAfter(c *pooled, now time.Time, kept bool) time.Duration {
	hold, misses := now.Sub(c.began)+g.dialTook, c.user.misses.Load()
	if !kept {
		hold += g.dialTook
	}
	switch {
	case misses >= fewMisses && slices.ContainsFunc(g.waiters, func(w *waiter) bool { return w.user.standing.Load() == answered }):
		hold *= 15
	case misses > manyMisses:
		hold *= 4
	}
	if !kept {
		hold = max(hold, breakHold)
	}
	return min(hold, maxHold)
}

// closesOnEverybody reports whether nobody is left who may be answered. It needs
// g.mu.
func (g *group) closesOnEverybody() bool {
	if g.answers && g.pool.tick.Load()-g.heardAt < recent {
		return false
	}
	for _, w := range g.waiters {
		if w.user.standing.Load() != broken {
			return false
		}
	}
	breaks := uint32(0)
	return !g.anyUser(func(u *User) bool {
		breaks += u.breaks.Load()
		s := u.standing.Load()
		return s == answered || s == doubtful
	}) && breaks > 1
}
