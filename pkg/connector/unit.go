package connector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"
)

// The times of supervision.
const (
	stopLimit    = 4 * time.Second // a connector has two seconds by contract
	minBackoff   = time.Second     // before a connector that failed is started anew
	maxBackoff   = time.Minute     // doubled until here
	steadyPeriod = 2 * time.Minute // one that ran so long begins with minBackoff again
)

// unit is one connector under a manager, through any number of Connector values:
// each that ends by itself or is reconfigured is followed by another, on the same
// place in the log.
type unit struct {
	m        *Manager
	name     string
	kind     string
	cfg      map[string]any // written under Manager.op and mu
	consumer Consumer
	giveUp   func() // of the consumer
	log      *slog.Logger

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
	c, err := u.m.construct(u.name, cfg, u.consumer)
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
		_ = contain(func() error { took = c.Update(cfg); return nil }) // a panic took nothing
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
	backoff := minBackoff
	for {
		began := time.Now()
		err := contain(func() error { return u.current().Run(ctx) })
		if ctx.Err() != nil {
			if err != nil {
				u.log.Warn("connector ended with an error when it was stopped", "error", err)
			}
			return
		}
		if time.Since(began) >= steadyPeriod {
			backoff = minBackoff
		}
		for {
			wait := backoff/2 + rand.N(backoff/2)
			backoff = min(2*backoff, maxBackoff)
			u.failed(err, wait)
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
			if err = u.renew(); err == nil {
				break
			}
		}
	}
}

// failed notes that the connector has ended by itself.
func (u *unit) failed(err error, wait time.Duration) {
	if err == nil {
		err = errors.New("the connector ended although nobody stopped it")
	}
	u.log.Error("connector failed", "error", err, "restart_in", wait.Round(time.Millisecond).String())
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
	i := Info{Name: u.name, Kind: u.kind, Status: c.Status(), AckSeq: u.consumer.Acked()}
	if head := u.consumer.Head(); head > i.AckSeq {
		i.Lag = head - i.AckSeq
	}
	if fault != nil {
		i.State, i.Error, i.Since = "fault", fault.Error(), since
	}
	return i
}

// contain calls f and makes an error of a panic.
func contain(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return f()
}
