package endpoint

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Op is what a [Control] asks for.
type Op string

// The operations. Pause and Resume concern one endpoint. Drain and Reload
// concern the connections, and so every endpoint that shares them.
const (
	// Pause makes Acquire fail with ErrPaused, also for those who wait; leases in
	// use stay.
	Pause Op = "pause"
	// Resume ends a pause.
	Resume Op = "resume"
	// Drain closes every connection once it is released, waiting for that at most
	// PoolOptions.DrainTimeout, after which it is closed under its holder's feet.
	// Acquires wait meanwhile; the next one makes a new handshake.
	Drain Op = "drain"
	// Reload is Drain, and reads the certificates anew even if their files look
	// unchanged.
	Reload Op = "reload"
)

// Control is a message to an endpoint.
type Control struct {
	Op Op
	ID string
}

// Control obeys one message and returns when it is done. ctx shortens the wait
// of a drain, after which connections in use are closed as they are. It fails
// with [ErrNotFound], or for an unknown operation.
func (p *Pool) Control(ctx context.Context, msg Control) error {
	p.mu.Lock()
	h, err := p.find(msg.ID)
	if err != nil {
		p.mu.Unlock()
		return err
	}
	g := h.group.Load()
	switch msg.Op {
	case Pause, Resume:
		g.setPaused(h, msg.Op == Pause)
	}
	p.mu.Unlock()

	switch msg.Op {
	case Pause, Resume:
		return nil
	case Reload:
		g.dialer.certs.forget()
	case Drain:
	default:
		return fmt.Errorf("endpoint %s: unknown operation %q: one of pause, resume, drain, reload", msg.ID, msg.Op)
	}
	ctx, cancel := context.WithTimeout(ctx, p.opts.DrainTimeout)
	defer cancel()
	if closed := g.drain(ctx); closed > 0 {
		p.opts.Log.Warn("connections in use were closed by a drain", "endpoint", msg.ID, "connections", closed)
	}
	return nil
}

// Trace switches the dump of an endpoint's traffic to the debug log.
func (p *Pool) Trace(id string, on bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	h, err := p.find(id)
	if err != nil {
		return err
	}
	h.account.trace.Store(on)
	return nil
}

// Status is what an endpoint is doing.
type Status string

// The statuses.
const (
	Idle       Status = "idle"       // nothing is open, nothing is wrong
	Connecting Status = "connecting" // the first dial is under way
	Up         Status = "up"         // a connection is open
	Paused     Status = "paused"     // by a Control message
	Draining   Status = "draining"   // by a Control message
	Down       Status = "down"       // the last dial failed
)

// State describes an endpoint. What concerns connections is the same for
// endpoints that share them.
type State struct {
	ID          string
	URL         string // without credentials
	Status      Status
	Since       time.Time // of Status; of the first failure when down
	Open        int       // connections
	InUse       int       // of them
	Waiting     int       // Acquires of this endpoint
	OnBackup    bool      // the connections lead to the backup
	LastError   string    // "" if there never was one
	LastErrorAt time.Time
	NextDial    time.Time // when down: not before
	CertExpiry  time.Time // of the peer's certificate; zero without TLS or connection
	BytesIn     uint64    // of this endpoint, since it was opened
	BytesOut    uint64
	Reconnects  uint64 // dials that worked, after the first
	Trace       bool

	latency *latency
}

// States lists every endpoint, sorted by id.
func (p *Pool) States() []State {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]State, 0, len(p.handles))
	for _, h := range p.handles {
		list = append(list, h.group.Load().state(h))
	}
	slices.SortFunc(list, func(a, b State) int { return strings.Compare(a.ID, b.ID) })
	return list
}

// State describes one endpoint.
func (p *Pool) State(id string) (State, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h, err := p.find(id)
	if err != nil {
		return State{}, err
	}
	return h.group.Load().state(h), nil
}
