package endpoint

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/words"
)

// PoolOptions are what a [Pool] works with. The zero value works.
type PoolOptions struct {
	Log        *slog.Logger          // state changes, and traffic that is traced; nil discards
	Registerer prometheus.Registerer // nil: no metrics
	// Secret resolves references such as ${file:NAME} at each dial; nil refuses
	// them. Its errors must not hold the secret.
	Secret func(reference string) (string, error)
	// Guard says what endpoints may use; nil: everything, and Secret resolves
	// references wherever a connection goes.
	Guard Guard
	// Transport replaces the system's own transports; nil keeps them.
	Transport Transport
	// DrainTimeout bounds how long a drain waits for connections in use; 0
	// means 5s.
	DrainTimeout time.Duration
}

// Pool shares connections to endpoints. Its methods may be called from any
// goroutine.
type Pool struct {
	opts    PoolOptions
	key     [32]byte      // of credential fingerprints
	tick    atomic.Uint32 // seconds since the pool began: a clock that costs nothing to read
	ctx     context.Context
	cancel  context.CancelFunc
	tasks   sync.WaitGroup // janitor and dials
	metrics *collector

	mu      sync.Mutex
	closed  bool
	handles map[string]*Handle
	groups  map[groupKey]*group
	leaving map[*group]struct{}      // without handles, until their last lease ends
	lines   map[string]chan struct{} // one token per serial device
	memos   map[string]*Memo         // by address
}

// groupKey is what endpoints that share connections have in common.
type groupKey struct {
	url      NormalizedURL
	identity [16]byte
}

// NewPool starts a pool. [Pool.Close] ends it and everything it began. The error
// is the registerer's.
func NewPool(opts PoolOptions) (*Pool, error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.DrainTimeout <= 0 {
		opts.DrainTimeout = 5 * time.Second
	}
	p := &Pool{
		opts:    opts,
		handles: make(map[string]*Handle), groups: make(map[groupKey]*group),
		leaving: make(map[*group]struct{}), lines: make(map[string]chan struct{}), memos: make(map[string]*Memo),
	}
	_, _ = rand.Read(p.key[:]) // never fails
	p.metrics = newMetrics(p)
	if opts.Registerer != nil {
		if err := opts.Registerer.Register(p.metrics); err != nil {
			return nil, fmt.Errorf("endpoint pool: register metrics: %w", err)
		}
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.tasks.Go(p.janitor)
	return p, nil
}

// Open makes an endpoint known. Nothing is dialled before the first Acquire. id
// names the endpoint in metrics, logs and errors; endpoints that normalise to the
// same URL, with the same credentials, share connections. It fails with
// [ErrExists], [ErrClosed], [ErrUnsupportedScheme], or [ErrLineInUse] for a
// serial device that another endpoint uses with other settings.
func (p *Pool) Open(id string, u URL) (*Handle, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, fmt.Errorf("endpoint %s: pool: %w", id, ErrClosed)
	}
	if _, ok := p.handles[id]; ok {
		return nil, fmt.Errorf("endpoint %s: %w", id, ErrExists)
	}
	h := newHandle(p, id)
	g, err := p.join(h, u)
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", id, err)
	}
	h.url = u
	h.group.Store(g)
	p.handles[id] = h
	return h, nil
}

// Update points an endpoint to another URL. Its handle stays valid: leases in
// use end as they are, and the next Acquire goes to the new URL. On an error
// everything is as before.
func (p *Pool) Update(id string, u URL) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	h, err := p.find(id)
	if err != nil {
		return err
	}
	old := h.group.Load()
	g, err := p.join(h, u)
	if err != nil {
		return fmt.Errorf("endpoint %s: %w", id, err)
	}
	h.url = u
	if g != old {
		old.leave(h, g, nil)
		p.retire(old)
	}
	return nil
}

// Remove is Close of the handle that Open returned.
func (p *Pool) Remove(id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	h, err := p.find(id)
	if err != nil {
		return err
	}
	p.remove(h)
	return nil
}

func (p *Pool) remove(h *Handle) {
	delete(p.handles, h.id)
	g := h.group.Load()
	g.leave(h, nil, h.errClosed)
	p.retire(g)
}

// find needs p.mu.
func (p *Pool) find(id string) (*Handle, error) {
	h, ok := p.handles[id]
	if !ok {
		return nil, fmt.Errorf("endpoint %s: %w", id, ErrNotFound)
	}
	return h, nil
}

// join enters h into the group of u, making it where there is none. It needs
// p.mu.
func (p *Pool) join(h *Handle, u URL) (*group, error) {
	if u.schemes[0] == noScheme {
		return nil, errors.New("the URL is empty")
	}
	key := groupKey{u.Normalize(), u.fingerprint(p.key[:])}
	if g, ok := p.groups[key]; ok {
		g.enter(h)
		return g, nil
	}
	line, err := p.claimLine(h, key)
	if err != nil {
		return nil, err
	}
	d, err := newDialer(u, p.opts)
	if err != nil {
		return nil, err
	}
	g := newGroup(p, key, d, line)
	g.memo = p.memo(key)
	p.groups[key] = g
	g.enter(h)
	return g, nil
}

// claimLine refuses a serial device that another endpoint than h uses with other
// settings, and returns the device's token.
func (p *Pool) claimLine(h *Handle, key groupKey) (chan struct{}, error) {
	if key.url.schemes[0] != Serial {
		return nil, nil
	}
	device := resolveDevice(key.url.host)
	for k, g := range p.groups {
		if k.url.schemes[0] != Serial || resolveDevice(k.url.host) != device {
			continue
		}
		if other := g.anotherThan(h); other != "" {
			return nil, fmt.Errorf("%w: %s belongs to endpoint %s, with other settings", ErrLineInUse, device, other)
		}
	}
	line, ok := p.lines[device]
	if !ok {
		line = make(chan struct{}, 1)
		p.lines[device] = line
	}
	return line, nil
}

// resolveDevice follows links such as /dev/serial/by-id/…; a device that isn't
// there keeps its name.
func resolveDevice(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// retire closes a group without handles. It needs p.mu.
func (p *Pool) retire(g *group) {
	if left, empty := g.retire(); left {
		delete(p.groups, g.key)
		if !empty {
			p.leaving[g] = struct{}{}
		}
	}
}

// left forgets a retired group whose last lease ended.
func (p *Pool) left(g *group) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.leaving, g)
}

// Close forgets every endpoint, waits for leases until ctx ends, closes what is
// left and waits for every goroutine of the pool. The error says that
// connections were closed while in use.
func (p *Pool) Close(ctx context.Context) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	for _, h := range p.handles {
		p.remove(h)
	}
	var leaving []*group
	for g := range p.leaving {
		leaving = append(leaving, g)
	}
	p.mu.Unlock()

	closed := 0
	for _, g := range leaving {
		closed += g.emptied(ctx)
	}
	p.cancel()
	p.tasks.Wait()
	if p.opts.Registerer != nil {
		p.opts.Registerer.Unregister(p.metrics)
	}
	if closed > 0 {
		return fmt.Errorf("endpoint pool: %s closed while in use", words.Count(closed, "connection"))
	}
	return nil
}

// janitor turns the pool's clock, closes idle connections that are too old or
// were closed by their peer, and tries to come back from backups.
func (p *Pool) janitor() {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-ticker.C:
		}
		p.tick.Add(1)
		for _, g := range p.allGroups() {
			g.sweep()
		}
	}
}

func (p *Pool) allGroups() []*group {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]*group, 0, len(p.groups))
	for _, g := range p.groups {
		list = append(list, g)
	}
	return list
}
