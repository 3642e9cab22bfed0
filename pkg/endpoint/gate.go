package endpoint

import (
	"net"
	"os"
	"sync"
	"time"
)

// gate is what decorators that delay writes have in common: a wait that ends
// with the write deadline, even one set while waiting, and with Close.
type gate struct {
	Conn
	mu       sync.Mutex
	deadline time.Time
	changed  chan struct{} // closed when deadline changes
	closed   chan struct{}
	once     sync.Once
}

func newGate(c Conn) *gate {
	return &gate{Conn: c, changed: make(chan struct{}), closed: make(chan struct{})}
}

// wait returns nil at the given time, [os.ErrDeadlineExceeded] or
// [net.ErrClosed].
func (g *gate) wait(until time.Time) error {
	for {
		g.mu.Lock()
		deadline, changed := g.deadline, g.changed
		g.mu.Unlock()
		now := time.Now()
		if !until.After(now) {
			return nil
		}
		end, late := until, !deadline.IsZero() && deadline.Before(until)
		if late {
			if end = deadline; !end.After(now) {
				return os.ErrDeadlineExceeded
			}
		}
		timer := time.NewTimer(end.Sub(now))
		select {
		case <-timer.C:
			if late {
				return os.ErrDeadlineExceeded
			}
			return nil
		case <-changed:
		case <-g.closed:
			timer.Stop()
			return net.ErrClosed
		}
		timer.Stop()
	}
}

func (g *gate) SetDeadline(t time.Time) error {
	g.setDeadline(t)
	return g.Conn.SetDeadline(t)
}

func (g *gate) SetWriteDeadline(t time.Time) error {
	g.setDeadline(t)
	return g.Conn.SetWriteDeadline(t)
}

func (g *gate) setDeadline(t time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.deadline = t
	close(g.changed)
	g.changed = make(chan struct{})
}

func (g *gate) Close() error {
	g.once.Do(func() { close(g.closed) })
	return g.Conn.Close()
}
