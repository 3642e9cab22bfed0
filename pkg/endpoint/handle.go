package endpoint

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Handle is one open endpoint: an [Acquirer].
type Handle struct {
	pool      *Pool
	id        string
	url       URL // guarded by pool.mu
	errPaused error
	errClosed error

	group atomic.Pointer[group] // changes under the old group's mutex; nil once closed
	timed atomic.Bool           // the next Acquire is to be timed
	self  User                  // of Acquire

	usersMu sync.Mutex
	users   []*User // besides self

	account    account
	latency    latency
	reconnects atomic.Uint64

	// Guarded by the group's mutex.
	paused      bool
	pausedSince time.Time
}

var _ Acquirer = (*Handle)(nil)

func newHandle(p *Pool, id string) *Handle {
	h := &Handle{
		pool: p, id: id,
		errPaused: fmt.Errorf("endpoint %s: %w", id, ErrPaused),
		errClosed: fmt.Errorf("endpoint %s: %w", id, ErrClosed),
	}
	h.account.log = p.opts.Log.With("endpoint", id)
	h.timed.Store(true)
	h.self.handle = h
	return h
}

// ID is the name that the endpoint was opened with.
func (h *Handle) ID() string { return h.id }

// URL is where the endpoint leads now.
func (h *Handle) URL() URL {
	h.pool.mu.Lock()
	defer h.pool.mu.Unlock()
	return h.url
}

// Close forgets the endpoint and its metrics. A waiter gets [ErrClosed]; leases in use
// stay good until they are released. Closing twice is harmless.
func (h *Handle) Close() {
	h.pool.mu.Lock()
	defer h.pool.mu.Unlock()
	if h.group.Load() != nil {
		h.pool.remove(h)
	}
}

// Acquire returns a connection for the caller alone; see [Acquirer]. It fails
// with [ErrPaused], [ErrClosed], a [DownError], or ctx's error.
func (h *Handle) Acquire(ctx context.Context) (Lease, error) { return h.acquire(ctx, &h.self) }

func (h *Handle) acquire(ctx context.Context, u *User) (Lease, error) {
	var start time.Time
	if h.timed.Load() {
		start = time.Now()
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", h.id, err)
	}
	for {
		g := h.group.Load()
		if g == nil {
			return nil, h.errClosed
		}
		c, then, err := g.take(u, start)
		if then == queue {
			if start.IsZero() {
				start = time.Now()
			}
			c, then, err = g.wait(ctx, u, start)
		}
		switch {
		case then == again:
		case err != nil:
			return nil, err
		default:
			return c, nil
		}
	}
}
