package dyn

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/driver/plugin"
	"github.com/edge-gateway/edge-gateway/pkg/sdk/driverpb"
)

const (
	checkLimit = 15 * time.Second // for a driver to start, describe itself, and check
	keepChecks = 128              // checks that found nothing are not made again, so many
)

// host starts drivers, and knows those that run.
type host struct {
	dir    string
	limits Limits

	mu      sync.Mutex
	known   map[identity]*plugin.Description
	live    map[identity][]plugin.Session
	checked [][sha256.Size]byte // of checks that found nothing, the newest last
}

func newHost(dir string, limits Limits) *host {
	return &host{dir: dir, limits: limits, known: map[identity]*plugin.Description{}, live: map[identity][]plugin.Session{}}
}

// factory makes the drivers of kind dyn.
type factory struct{ *host }

// Proto implements driver.Factory: any.
func (factory) Proto() string { return string(config.KindDyn) }

// New implements driver.Factory. It runs the driver's executable for as long as it needs to
// describe itself and to check what its schemas don't say, unless it runs already.
func (f factory) New(cfg driver.Config, deps driver.Deps) (driver.Driver, error) {
	fail := func(err error) (driver.Driver, error) { return nil, fmt.Errorf("driver %s: %w", cfg.ID, err) }
	ctx, cancel := context.WithTimeout(context.Background(), checkLimit)
	defer cancel()
	what, id, err := f.describe(ctx, cfg.Item, deps.Log)
	if err != nil {
		return fail(err)
	}
	if err := what.Refuse(cfg.Item); err != nil {
		return fail(err)
	}
	d, err := plugin.New(cfg, deps, plugin.Host{
		Start: func(ctx context.Context) (plugin.Session, error) { return f.run(ctx, cfg, deps.Log) },
		Check: func(r *driverpb.CheckRequest) error { return f.check(what, id, cfg.Item, r, deps.Log) },
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// describe returns what the executable of an item says that it is.
func (h *host) describe(ctx context.Context, item config.Driver, log *slog.Logger) (*plugin.Description, identity, error) {
	f, err := locate(h.dir, item.Path, item.SHA256)
	if err != nil {
		return nil, identity{}, err
	}
	defer func() { _ = f.Close() }() // only read
	h.mu.Lock()
	what := h.known[f.id]
	h.mu.Unlock()
	if what != nil {
		return what, f.id, nil
	}
	err = h.with(ctx, f, log, func(s plugin.Session) error {
		what, err = plugin.Describe(ctx, s)
		return err
	})
	if err != nil {
		return nil, f.id, config.FieldErrorf("path", "%s: %v", f.path, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.known) >= keepChecks { // files that were replaced
		clear(h.known)
	}
	h.known[f.id] = what
	return what, f.id, nil
}

// with calls do with a session of an executable that runs, or with one that is started for
// that.
func (h *host) with(ctx context.Context, f *file, log *slog.Logger, do func(plugin.Session) error) error {
	h.mu.Lock()
	running := slices.Clone(h.live[f.id])
	h.mu.Unlock()
	for _, s := range running {
		select {
		case <-s.Done():
			continue
		default:
		}
		if err := do(s); !errors.Is(err, plugin.ErrBroken) {
			return err
		}
	}
	s, err := start(ctx, f, "", h.limits, log)
	if err != nil {
		return err
	}
	defer s.Stop()
	return do(s)
}

// check has the driver check its points. What was found in order is not asked again.
func (h *host) check(what *plugin.Description, id identity, item config.Driver, r *driverpb.CheckRequest, log *slog.Logger) error {
	if err := what.RefusePoints(r.GetPoints()); err != nil || !what.Checks {
		return err
	}
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(fmt.Appendf(text, "%v", id))
	h.mu.Lock()
	done := slices.Contains(h.checked, sum)
	h.mu.Unlock()
	if done {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), checkLimit)
	defer cancel()
	f, err := locate(h.dir, item.Path, item.SHA256)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	err = h.with(ctx, f, log, func(s plugin.Session) error { return plugin.Check(ctx, s, r) })
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.checked = append(h.checked, sum); len(h.checked) > keepChecks {
		h.checked = slices.Delete(h.checked, 0, 1)
	}
	return nil
}

// run starts the executable of a driver that is to run.
func (h *host) run(ctx context.Context, cfg driver.Config, log *slog.Logger) (plugin.Session, error) {
	f, err := locate(h.dir, cfg.Item.Path, cfg.Item.SHA256)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // the process has it
	s, err := start(ctx, f, cfg.ID, h.limits, log)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.live[f.id] = append(h.live[f.id], s)
	return &tracked{s, h, f.id}, nil
}

// tracked is a session that checks may be asked of.
type tracked struct {
	plugin.Session
	host *host
	id   identity
}

// Stop implements plugin.Session.
func (t *tracked) Stop() {
	t.host.mu.Lock()
	left := slices.DeleteFunc(t.host.live[t.id], func(s plugin.Session) bool { return s == t.Session })
	if t.host.live[t.id] = left; len(left) == 0 {
		delete(t.host.live, t.id)
	}
	t.host.mu.Unlock()
	t.Session.Stop()
}
