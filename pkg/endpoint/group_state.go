package endpoint

import (
	"context"
	"slices"
	"time"
)

// enter adds an endpoint, if it isn't in.
func (g *group) enter(h *Handle) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !slices.Contains(g.handles, h) {
		g.handles = append(g.handles, h)
	}
}

// leave takes an endpoint out and points its handle to another group, or to none. Waiters
// get err, or go along to the other group.
func (g *group) leave(h *Handle, to *group, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.handles = slices.DeleteFunc(g.handles, func(x *Handle) bool { return x == h })
	h.group.Store(to)
	g.dismiss(h, grant{err: err, moved: to != nil})
}

// dismiss gives word to those who wait through h. It needs g.mu.
func (g *group) dismiss(h *Handle, word grant) {
	g.waiters = slices.DeleteFunc(g.waiters, func(w *waiter) bool {
		if w.user.handle == h {
			w.grant <- word
		}
		return w.user.handle == h
	})
}

// anotherThan names an endpoint of the group that isn't h.
func (g *group) anotherThan(h *Handle) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, other := range g.handles {
		if other != h {
			return other.id
		}
	}
	return ""
}

// retire ends a group that no endpoint is in any more: what is idle is closed
// now, what is leased at its release. It reports whether the group is retired
// and whether it has no connections left.
func (g *group) retire() (retired, empty bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.handles) > 0 {
		return false, false
	}
	g.retired = true
	g.cancel()
	g.closeIdle(func(*pooled) error { return errTooOld })
	return true, len(g.conns) == 0
}

// emptied waits until the group has no connections; when ctx ends it closes
// those in use, whose holders then see their reads and writes fail. It reports
// how many it closed.
func (g *group) emptied(ctx context.Context) (closed int) {
	g.mu.Lock()
	if len(g.conns) == 0 {
		g.mu.Unlock()
		return 0
	}
	if g.empty == nil {
		g.empty = make(chan struct{})
	}
	empty := g.empty
	g.mu.Unlock()
	select {
	case <-empty:
		return 0
	case <-ctx.Done():
	}
	g.mu.Lock()
	left := slices.Clone(g.conns)
	g.mu.Unlock()
	for _, c := range left {
		_ = c.Close() // its holder learns of it
	}
	return len(left)
}

// drain closes every connection, waiting for those in use until ctx ends. Those
// who acquire meanwhile wait and get connections made afterwards.
func (g *group) drain(ctx context.Context) (closed int) {
	g.mu.Lock()
	g.draining++
	g.drains++
	g.note()
	g.closeIdle(func(*pooled) error { return errTooOld })
	g.mu.Unlock()

	closed = g.emptied(ctx)

	g.mu.Lock()
	defer g.mu.Unlock()
	g.draining--
	g.note()
	g.serve()
	return closed
}

// setPaused pauses or resumes h; who waits through it gets ErrPaused.
func (g *group) setPaused(h *Handle, paused bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if h.paused == paused {
		return
	}
	h.paused, h.pausedSince = paused, time.Now()
	if paused {
		g.dismiss(h, grant{err: h.errPaused})
	}
}

// current is the group's status. It needs g.mu.
func (g *group) current() Status {
	switch {
	case g.draining > 0:
		return Draining
	case len(g.conns) > 0:
		return Up
	case g.down != nil:
		return Down
	case g.dialing:
		return Connecting
	}
	return Idle
}

// note remembers when the status changed, and logs what people want to know.
// It needs g.mu.
func (g *group) note() {
	was, is := g.status, g.current()
	if was == is {
		return
	}
	g.status, g.since = is, time.Now()
	log := g.pool.opts.Log.With("endpoint", g.name())
	switch {
	case g.retired:
	case is == Down:
		log.Warn("endpoint is down", "error", g.down.Err, "next_dial", g.down.Retry)
	case is == Up:
		log.Info("endpoint is up", "backup", !g.failback.IsZero())
	}
}

// state describes h, which is in g.
func (g *group) state(h *Handle) State {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := State{
		ID: h.id, URL: h.url.String(), Status: g.status, Since: g.since,
		Open: len(g.conns), InUse: len(g.conns) - len(g.idle),
		BytesIn: h.account.in.Load(), BytesOut: h.account.out.Load(),
		Reconnects: h.reconnects.Load(), Trace: h.account.trace.Load(),
		LastErrorAt: g.lastErrAt, latency: &h.latency,
	}
	if h.paused {
		s.Status, s.Since = Paused, h.pausedSince
	}
	if g.lastErr != nil {
		s.LastError = g.lastErr.Error()
	}
	if g.status == Down {
		s.Since, s.NextDial = g.down.Since, g.down.Retry
	}
	for _, w := range g.waiters {
		if w.user.handle == h {
			s.Waiting++
		}
	}
	for _, c := range g.conns {
		s.OnBackup = s.OnBackup || c.onBackup
		if e := c.link.certExpiry; !e.IsZero() && (s.CertExpiry.IsZero() || e.Before(s.CertExpiry)) {
			s.CertExpiry = e
		}
	}
	return s
}
