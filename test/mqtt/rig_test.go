// Package mqtt holds the tests of the MQTT connector against real brokers: with
// the real bus below it and a plain subscriber behind the broker.
package mqtt

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/connector"
	"github.com/edge-gateway/edge-gateway/pkg/connector/mqtt"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/logtest"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

const dataTopic = "/edge/acme/line-1/data"

// rig is a bus with an MQTT connector on it. Both can be stopped and started
// again on the same directory.
type rig struct {
	t        testing.TB
	dir      string
	cfg      map[string]any
	busDeps  bus.Deps
	commands connector.Commander
	secret   func(string) (string, error)
	flush    time.Duration
	device   string
	logs     logtest.Buffer

	bus      *bus.Bus
	consumer *bus.Reader
	conn     connector.Connector
	stop     context.CancelFunc
	done     chan error
	set      *frame.TagSet
	value    int64
}

// newRig returns a rig whose connector has the given configuration beside the
// endpoint; nothing is started.
func newRig(t testing.TB, endpoint string, cfg map[string]any) *rig {
	r := &rig{t: t, dir: t.TempDir(), cfg: map[string]any{"kind": "mqtt5", "endpoint": endpoint, "max_interval": "50ms",
		"backoff": map[string]any{"base": "20ms", "max": "300ms"}}, flush: 5 * time.Millisecond, device: "line-1", set: &frame.TagSet{Driver: "line"}}
	for k, v := range cfg {
		r.cfg[k] = v
	}
	for i := range 100 {
		r.set.Tags = append(r.set.Tags, frame.Tag{Name: fmt.Sprintf("line.t%02d", i), Unit: "bar"})
	}
	t.Cleanup(r.close)
	return r
}

func (r *rig) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(io.MultiWriter(r.t.Output(), &r.logs), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

func (r *rig) openBus() {
	r.t.Helper()
	cfg := bus.DefaultConfig(r.dir)
	cfg.WALFlush, cfg.MinFree, cfg.Retain = r.flush, 0, 0
	deps := r.busDeps
	deps.Log = r.logger()
	var err error
	if r.bus, err = bus.Open(cfg, deps); err != nil {
		r.t.Fatal(err)
	}
	// From here on the log keeps what the connector has not delivered.
	c, err := r.bus.OpenReader("mqtt", bus.StartOldest)
	if err != nil {
		r.t.Fatal(err)
	}
	c.Close()
}

// start opens the bus, unless it is open, and runs the connector.
func (r *rig) start() {
	r.t.Helper()
	if r.bus == nil {
		r.openBus()
	}
	var err error
	if r.consumer, err = r.bus.OpenReader("mqtt", bus.StartOldest); err != nil {
		r.t.Fatal(err)
	}
	secret := r.secret
	if secret == nil {
		secret = func(s string) (string, error) { return s, nil }
	}
	factory, err := mqtt.NewFactory(prometheus.NewRegistry())
	if err != nil {
		r.t.Fatal(err)
	}
	r.conn, err = factory.New("mqtt", r.cfg, connector.Deps{
		Identity: connector.Identity{Gateway: "gw-test", Tenant: "acme", Device: r.device, Version: "test"},
		Source:   r.consumer, Commands: r.commands, Secret: secret, ConfigRev: func() uint64 { return 7 },
		Log: r.logger().With("connector", "mqtt"),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.stop, r.done = cancel, make(chan error, 1)
	conn := r.conn
	done := r.done
	go func() { done <- conn.Run(ctx) }()
}

// stopConnector stops the connector gracefully and returns how long that took.
func (r *rig) stopConnector() time.Duration {
	r.t.Helper()
	began := time.Now()
	r.stop()
	select {
	case err := <-r.done:
		if err != nil {
			r.t.Errorf("connector: %v", err)
		}
	case <-time.After(20 * time.Second):
		r.t.Fatal("the connector did not stop in 20 s")
	}
	r.consumer.Close()
	r.stop = nil
	return time.Since(began)
}

// close stops everything.
func (r *rig) close() {
	if r.stop != nil {
		r.stopConnector()
	}
	if r.bus != nil {
		if err := r.bus.Close(); err != nil {
			r.t.Errorf("close the bus: %v", err)
		}
		r.bus = nil
	}
}

// publish puts n frames into the log, in batches of at most 100.
func (r *rig) publish(n int) {
	r.t.Helper()
	for n > 0 {
		b := &frame.Batch{Set: r.set, ConfigRev: 7}
		for i := range min(n, len(r.set.Tags)) {
			b.Frames = append(b.Frames, frame.Frame{Value: frame.IntValue(r.value), TS: time.Now().UnixNano(), Tag: uint32(i)})
			r.value++
		}
		n -= len(b.Frames)
		if err := r.bus.Publish(context.Background(), b); err != nil {
			r.t.Fatal(err)
		}
	}
}

// publishSlowly publishes n frames at about the given rate per second until stop.
func (r *rig) publishAt(perSecond int, stop <-chan struct{}) (wait func() int) {
	var wg sync.WaitGroup
	total := 0
	wg.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				r.publish(perSecond / 100)
				total += perSecond / 100
			}
		}
	})
	return func() int { wg.Wait(); return total }
}

// waitDelivered waits until all that was published is acknowledged by the broker.
func (r *rig) waitDelivered(limit time.Duration) {
	r.t.Helper()
	peer.WaitFor(r.t, limit, "the log to be delivered", func() bool {
		return r.consumer.Acked() >= uint64(r.value) && r.consumer.Acked() == r.consumer.Head()
	})
}

// waitState waits until the connector's state is the given one.
func (r *rig) waitState(state string) {
	r.t.Helper()
	peer.WaitFor(r.t, 15*time.Second, "the connector to be "+state, func() bool { return r.conn.Status().State == state })
}
