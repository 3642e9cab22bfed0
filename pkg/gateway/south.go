package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/protocols"
)

// openPool builds the endpoint pool. It comes before the bus, which may want the
// endpoints paused as soon as it is open.
func (g *Gateway) openPool() (err error) {
	policy, err := newPolicy(g.cfg)
	if err != nil {
		return err
	}
	g.pool, err = endpoint.NewPool(endpoint.PoolOptions{Log: g.log, Registerer: g.reg, Guard: policy})
	if err != nil {
		return err
	}
	g.endpoints = &endpoints{pool: g.pool, log: g.log, policy: policy, booted: g.hasBooted, open: map[string]*openEndpoint{}}
	return nil
}

// openSouth builds the driver manager.
func (g *Gateway) openSouth() error {
	factories, kinds, err := protocols.Builtin().Factories(driver.Host{
		Registerer: g.reg, GatewayID: g.cfg.GatewayID, DataDir: g.cfg.DataDir,
		Secret:     func(reference, address string) (string, error) { return g.endpoints.policy.Secret(reference, address) }, // a rehearsal has none
		File:       func(path string) error { return g.endpoints.policy.File(path) },
		DriversDir: g.cfg.DriversDir, DriverMemory: int64(g.cfg.DriverMemory),
	})
	if err != nil {
		return err
	}
	g.drivers, err = driver.NewManager(driver.ManagerConfig{
		Factories: factories, Kinds: kinds, Open: g.endpoints.Open, Out: stamped{g.bus, &g.rev, g.cfg.Clock.NotBefore.Std().UnixNano()}, Log: g.log, Registerer: g.reg,
	})
	return err
}

func (g *Gateway) secrets() config.Secrets { return config.Secrets{Dir: g.cfg.SecretsDir} }

// onPressure passes the log's back-pressure on to the endpoints: no driver gets a
// connection until there is room again.
func (g *Gateway) onPressure(paused bool) { g.endpoints.setPaused(paused) }

// endpoints shares the pool's handles among the drivers: several may use one
// endpoint, and the last one that leaves closes it.
type endpoints struct {
	pool   *endpoint.Pool
	log    *slog.Logger
	policy *policy
	booted func() bool

	mu     sync.Mutex
	open   map[string]*openEndpoint
	paused bool
}

type openEndpoint struct {
	handle *endpoint.Handle
	users  int
}

// dialled is the URL of an item of the endpoints table, as its protocol wants it.
func dialled(item config.Endpoint) (endpoint.URL, error) {
	item = protocols.Builtin().Transport(item)
	return endpoint.FromTable(item.Scheme, item.Host, item.Port, item.Opts)
}

// Open returns the way to endpoint id, for one driver or one question alone, and a
// function that gives it up.
func (e *endpoints) Open(id string, item config.Endpoint) (endpoint.Acquirer, func(), error) {
	user, giveUp, err := e.user(id, item)
	if err != nil {
		return nil, nil, err
	}
	return user, giveUp, nil
}

// user is Open, with what only a user has.
func (e *endpoints) user(id string, item config.Endpoint) (*endpoint.User, func(), error) {
	u, err := dialled(item)
	if err != nil {
		return nil, nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	o := e.open[id]
	if o == nil {
		h, err := e.pool.Open(id, u)
		if err != nil {
			return nil, nil, err
		}
		o = &openEndpoint{handle: h}
		e.open[id] = o
		if e.paused {
			e.control(id, endpoint.Pause)
		}
	} else if err := e.pool.Update(id, u); err != nil {
		return nil, nil, err
	}
	o.users++
	user := o.handle.User()
	return user, sync.OnceFunc(func() { user.Close(); e.giveUp(id, o) }), nil
}

func (e *endpoints) giveUp(id string, o *openEndpoint) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if o.users--; o.users == 0 {
		o.handle.Close()
		delete(e.open, id)
	}
}

// maxConns returns how many connections endpoint id may have, 0 if it is not open.
func (e *endpoints) maxConns(id string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if o := e.open[id]; o != nil {
		return o.handle.URL().Options().MaxConns
	}
	return 0
}

// setPaused pauses or resumes every endpoint, and those that come later.
func (e *endpoints) setPaused(paused bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.paused = paused
	op := endpoint.Resume
	if paused {
		op = endpoint.Pause
	}
	for id := range e.open {
		e.control(id, op)
	}
}

// control sends op to an endpoint that is open. e.mu is held.
func (e *endpoints) control(id string, op endpoint.Op) {
	if err := e.pool.Control(context.Background(), endpoint.Control{Op: op, ID: id}); err != nil {
		e.log.Error("an endpoint was not told", "endpoint", id, "op", op, "error", err)
	}
}

// Check implements [apply.Endpoints]. What the policy does not allow is refused where
// something else runs already. At the boot it is not: the other endpoints run, and this
// one says why it does not when it dials.
func (e *endpoints) Check(id string, item config.Endpoint) error {
	u, err := dialled(item)
	if err != nil {
		return fmt.Errorf("endpoint %s: %w", id, err)
	}
	err = e.policy.check(u)
	switch {
	case err == nil:
		return nil
	case e.booted():
		return fmt.Errorf("endpoint %s: %w", id, err)
	}
	e.log.Warn("an endpoint is not dialled", "endpoint", id, "error", err)
	return nil
}

// Drain implements [apply.Endpoints]. An endpoint whose last driver has ended is
// closed already.
func (e *endpoints) Drain(ctx context.Context, id string) error {
	e.mu.Lock()
	_, open := e.open[id]
	e.mu.Unlock()
	if !open {
		return nil
	}
	return e.pool.Control(ctx, endpoint.Control{Op: endpoint.Drain, ID: id})
}
