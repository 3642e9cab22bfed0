package endpoint

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// startDial dials in a goroutine of the pool's. Without backup, only a connection
// to the endpoint itself is wanted. It needs g.mu, and that nothing dials.
func (g *group) startDial(backup bool) {
	g.dialing = true
	g.note()
	drains, began := g.drains, time.Now()
	g.pool.tasks.Go(func() {
		l, onBackup, err := g.dial(backup)
		g.dialed(l, onBackup, err, drains, backup, time.Since(began))
	})
}

// dial waits for the serial device's token, if there is one, and dials.
func (g *group) dial(backup bool) (*link, bool, error) {
	if g.line == nil {
		return g.dialer.dial(g.ctx, backup)
	}
	ctx, cancel := context.WithTimeout(g.ctx, g.dialer.options.Timeout)
	defer cancel()
	select {
	case g.line <- struct{}{}:
	case <-ctx.Done():
		return nil, false, fmt.Errorf("%w: its previous owner still holds it", ErrLineInUse)
	}
	l, onBackup, err := g.dialer.dial(ctx, backup)
	if err != nil {
		<-g.line
		return nil, false, err
	}
	inner := l.Conn
	l.Conn = &lineConn{inner, sync.OnceValue(func() error {
		defer func() { <-g.line }()
		return inner.Close()
	})}
	return l, onBackup, nil
}

// dialed takes the result of a dial.
func (g *group) dialed(l *link, onBackup bool, err error, drains uint64, backup bool, took time.Duration) {
	g.mu.Lock()
	g.dialTook = took
	stale := g.retired || drains != g.drains
	if err == nil && stale {
		// Drained while dialling: whoever waits gets a handshake begun after it,
		// and not before this one is closed.
		g.mu.Unlock()
		_ = l.Close() // never used
		g.mu.Lock()
	}
	g.dialing = false
	switch {
	case err != nil && backup:
		g.fail(err)
		g.closing = false
	case err != nil: // the endpoint itself is still away; the backup works
		g.failback = time.Now().Add(g.dialer.options.Failback)
	case !stale:
		g.add(l, onBackup)
	}
	g.note()
	g.serve()
	g.mu.Unlock()
}

// add takes in a new connection. It needs g.mu.
func (g *group) add(l *link, onBackup bool) {
	g.opened++
	c := newPooled(g, l, g.opened)
	now := g.pool.tick.Load()
	c.onBackup, c.drains, c.born, c.used = onBackup, g.drains, now, now
	if g.connected {
		for _, h := range g.handles {
			h.reconnects.Add(1)
		}
	}
	g.connected, g.down, g.early = true, nil, false
	if onBackup {
		if g.failback.IsZero() {
			g.failback = time.Now().Add(g.dialer.options.Failback)
		}
	} else if !g.failback.IsZero() {
		g.failback = time.Time{} // makes those on the backup outdated
		g.closeIdle(func(c *pooled) error {
			if c.onBackup {
				return errTooOld
			}
			return nil
		})
	}
	g.conns = append(g.conns, c)
	g.idle = append(g.idle, c)
}

// fail books a failed dial, or a connection that broke before it was of use,
// and tells everybody who waits, unless other connections work. It needs g.mu.
func (g *group) fail(err error) {
	now := time.Now()
	if g.failures == 0 {
		g.failing = now
	}
	g.failures++
	retry := now.Add(g.backoff(g.failures))
	if g.early && g.down != nil {
		retry = g.down.Retry // of which it was no part
		g.failures--
	}
	g.early = false
	g.down = &DownError{ID: g.name(), Since: g.failing, Failures: g.failures, Retry: retry, Err: err}
	g.lastErr, g.lastErrAt = err, now
	if len(g.conns) == 0 {
		g.refuse(g.down)
	}
}

// name is the id of the endpoint that was opened first.
func (g *group) name() string {
	if len(g.handles) == 0 {
		return g.key.url.String()
	}
	return g.handles[0].id
}

// lineConn gives the serial device's token back when it is closed.
type lineConn struct {
	Conn
	close func() error
}

func (c *lineConn) Close() error { return c.close() }
