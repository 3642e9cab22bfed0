package connector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/supervise"
)

// The times of supervision.
const (
	stopLimit = 4 * time.Second // a connector has two seconds by contract
)

// unit is one connector under a manager, through any number of Connector values:
// each that ends by itself or is reconfigured is followed by another, on the same
// place in the log.
type unit struct {
	m      *Manager
	name   string
	kind   string
	cfg    map[string]any // written under Manager.op and mu
	source Source
	giveUp func() // of the consumer
	log    *slog.Logger

	ending bool // it was told to end; guarded by Manager.op
	cancel context.CancelFunc
	done   chan struct{} // closed when supervise has ended

	mu        sync.Mutex // guards what follows; never held while the connector is called
	connector Connector
	paused    bool
	fault     error // why the connector has ended by itself; nil while it runs
	since     time.Time
}

// begin constructs a connector from cfg and runs it until end.
func (u *unit) begin() error {
	if err := u.renew(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	u.cancel, u.done, u.ending = cancel, make(chan struct{}), false
	go u.supervise(ctx)
	return nil
}

// renew puts a new Connector in place.
func (u *unit) renew() error {
	u.mu.Lock()
	cfg := u.cfg
	u.mu.Unlock()
	c, err := u.m.construct(u.name, cfg, u.source)
	if err != nil {
		return err
	}
	u.mu.Lock()
	paused := u.paused
	u.connector, u.fault = c, nil
	u.mu.Unlock()
	if paused {
		c.SetPaused(true)
	}
	return nil
}

// end stops the connector and waits for it. It may be called again.
func (u *unit) end() error {
	u.ending = true
	u.cancel()
	select {
	case <-u.done:
		return nil
	case <-time.After(stopLimit):
		return fmt.Errorf("connector %s: %w (%s)", u.name, ErrStuck, stopLimit)
	}
}

// update reports whether the connector has taken cfg over as it runs.
func (u *unit) update(cfg map[string]any) bool {
	c, ok := u.current().(Updater)
	took := false
	if ok {
		_ = supervise.Contain(func() error { took = c.Update(cfg); return nil }) // a panic took nothing
	}
	if took {
		u.setConfig(cfg)
		u.log.Info("connector settings changed without a new connection")
	}
	return took
}

func (u *unit) setConfig(cfg map[string]any) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.cfg = cfg
}

// supervise runs the connector until ctx ends, and another whenever it ends
// before.
func (u *unit) supervise(ctx context.Context) {
	defer close(u.done)
	l := supervise.Loop{
		Run: func(ctx context.Context) error {
			return supervise.Contain(func() error { return u.current().Run(ctx) })
		},
		Failed: u.failed, Renew: u.renew,
		Stopped: func(err error) { u.log.Warn("connector ended with an error when it was stopped", "error", err) },
	}
	l.Do(ctx)
}

// failed notes that the connector has ended by itself.
func (u *unit) failed(err error, wait time.Duration) {
	if err == nil {
		err = errors.New("the connector ended although nobody stopped it")
	}
	u.log.Error("connector failed", append([]any{"error", err, "restart_in", wait.Round(time.Millisecond).String()}, supervise.Stack(err)...)...)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.fault, u.since = err, time.Now()
}

func (u *unit) current() Connector {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.connector
}

func (u *unit) setPaused(p bool) {
	u.mu.Lock()
	c := u.connector
	u.paused = p
	u.mu.Unlock()
	c.SetPaused(p)
}

// info is the unit's line in a listing.
func (u *unit) info() Info {
	u.mu.Lock()
	c, fault, since := u.connector, u.fault, u.since
	u.mu.Unlock()
	i := Info{Name: u.name, Kind: u.kind, Status: c.Status(), AckSeq: u.source.Acked()}
	if head := u.source.Head(); head > i.AckSeq {
		i.Lag = head - i.AckSeq
	}
	if fault != nil {
		i.State, i.Error, i.Since = "fault", fault.Error(), since
	}
	return i
}
