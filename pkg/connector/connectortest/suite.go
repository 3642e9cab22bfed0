// Package connectortest is what every connector must do, as tests that are run
// against each, and a log in memory for them.
package connectortest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/connector"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// Harness is a kind of connector with a peer that it delivers to.
type Harness struct {
	Factory connector.Factory
	// Start starts a peer and returns the configuration that reaches it. Stop
	// makes the peer go away, and Start then makes the same one come back. Seen
	// returns the seqs that it has got, in order, repeats included.
	Start func(t *testing.T) map[string]any
	Stop  func(t *testing.T)
	Seen  func(t *testing.T) []uint64
	// BadConfig cannot work; the error must contain BadField.
	BadConfig map[string]any
	BadField  string
}

// Run runs the suite; make makes a harness for each test.
func Run(t *testing.T, make func(t *testing.T) Harness) {
	tests := []struct {
		name string
		run  func(*testing.T, Harness)
	}{
		{"bad configuration", badConfig}, {"delivers and stops", delivers}, {"peer away", peerAway}, {"restart", restart},
		{"pause", pause}, {"store fails", storeFails}, {"calls at any time", anyTime},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, make(t)) })
	}
}

// running is a connector that runs.
type running struct {
	t    *testing.T
	c    connector.Connector
	stop context.CancelFunc
	done chan error
}

func deps(t *testing.T, log *Log) connector.Deps {
	return connector.Deps{
		Identity: connector.Identity{Gateway: "gw", Tenant: "acme", Device: "line-1", Version: "test"}, Source: log,
		Secret:    func(s string) (string, error) { return s, nil },
		ConfigRev: func() uint64 { return 1 }, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

func start(t *testing.T, h Harness, cfg map[string]any, log *Log) *running {
	t.Helper()
	c, err := h.Factory.New("test", cfg, deps(t, log))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, c: c, stop: cancel, done: make(chan error, 1)}
	go func() { r.done <- c.Run(ctx) }()
	t.Cleanup(cancel)
	return r
}

// end stops the connector: within two seconds, without an error.
func (r *running) end() {
	r.t.Helper()
	began := time.Now()
	r.stop()
	select {
	case err := <-r.done:
		if err != nil {
			r.t.Errorf("Run: %v", err)
		}
	case <-time.After(10 * time.Second):
		r.t.Fatal("Run did not return in 10 s")
	}
	// The contract says two seconds; the rest is for a busy machine.
	if took := time.Since(began); took > 3*time.Second {
		r.t.Errorf("the stop took %s", took)
	}
	if s := r.c.Status().State; s != "stopped" {
		r.t.Errorf("state after the stop: %s", s)
	}
}

func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(5 * time.Millisecond) // polling what other goroutines and the peer do
	}
}

// batch returns n frames.
func batch(n int) *frame.Batch {
	b := &frame.Batch{Set: &frame.TagSet{Driver: "d", Tags: []frame.Tag{{Name: "plant.a", Unit: "bar"}}}, ConfigRev: 1}
	for i := range n {
		b.Frames = append(b.Frames, frame.Frame{Value: frame.IntValue(int64(i)), TS: time.Now().UnixNano()})
	}
	return b
}

func delivered(log *Log) func() bool { return func() bool { return log.Acked() == log.Head() } }

// checkOnce fails unless 1…n arrived, each once, in order.
func checkOnce(t *testing.T, h Harness, n int) {
	t.Helper()
	waitFor(t, fmt.Sprintf("%d frames at the peer", n), func() bool { return len(h.Seen(t)) >= n })
	for i, s := range h.Seen(t) {
		if s != uint64(i)+1 {
			t.Fatalf("frame %d of %d at the peer has seq %d", i+1, n, s)
		}
	}
}

func badConfig(t *testing.T, h Harness) {
	_, err := h.Factory.New("test", h.BadConfig, deps(t, NewLog()))
	if err == nil || !strings.Contains(err.Error(), h.BadField) {
		t.Errorf("New: %v, want an error that names %s", err, h.BadField)
	}
}

func delivers(t *testing.T, h Harness) {
	log := NewLog()
	r := start(t, h, h.Start(t), log)
	waitFor(t, "the connection", func() bool { return r.c.Status().State == "up" })
	for range 10 {
		log.Publish(batch(20), batch(1))
		cmd := batch(1)
		cmd.Kind = frame.Cmd // takes numbers, and is not for the peer
		log.Publish(cmd)
		waitFor(t, "delivery", delivered(log))
	}
	if s := r.c.Status(); s.OutFrames != 210 || s.Peer == "" || s.Inflight != 0 {
		t.Errorf("status: %+v", s)
	}
	r.end()
	if n := len(h.Seen(t)); n != 210 {
		t.Errorf("%d frames at the peer, want 210", n)
	}
}

func peerAway(t *testing.T, h Harness) {
	log := NewLog()
	cfg := h.Start(t)
	h.Stop(t)
	r := start(t, h, cfg, log)
	log.Publish(batch(50))
	waitFor(t, "a reason", func() bool { s := r.c.Status(); return s.State != "up" && s.Error != "" })
	h.Start(t)
	waitFor(t, "delivery", delivered(log))
	h.Stop(t)
	log.Publish(batch(50))
	waitFor(t, "the loss to be noticed", func() bool { return r.c.Status().State != "up" })
	h.Start(t)
	r.c.Reconnect()
	waitFor(t, "delivery", delivered(log))
	checkOnce(t, h, 100)
	h.Stop(t)
	r.end()
}

func restart(t *testing.T, h Harness) {
	log := NewLog()
	cfg := h.Start(t)
	for range 5 {
		r := start(t, h, cfg, log)
		log.Publish(batch(30))
		waitFor(t, "the connection", func() bool { return r.c.Status().State == "up" })
		r.end()
	}
	r := start(t, h, cfg, log)
	waitFor(t, "delivery", delivered(log))
	r.end()
	checkOnce(t, h, 150)
}

func pause(t *testing.T, h Harness) {
	log := NewLog()
	r := start(t, h, h.Start(t), log)
	r.c.SetPaused(true)
	waitFor(t, "the pause", func() bool { return r.c.Status().State == "paused" })
	log.Publish(batch(100))
	time.Sleep(200 * time.Millisecond) // it would be delivered by now
	if n := log.Acked(); n != 0 {
		t.Errorf("delivered up to %d while paused", n)
	}
	r.c.SetPaused(false)
	waitFor(t, "delivery", delivered(log))
	checkOnce(t, h, 100)
	r.end()
}

func storeFails(t *testing.T, h Harness) {
	log := NewLog()
	r := start(t, h, h.Start(t), log)
	waitFor(t, "the connection", func() bool { return r.c.Status().State == "up" })
	for range 3 {
		log.FailNext(errors.New("no space"))
		log.Publish(batch(10))
		waitFor(t, "delivery", delivered(log))
	}
	checkOnce(t, h, 30)
	r.end()
}

func anyTime(t *testing.T, h Harness) {
	log := NewLog()
	cfg := h.Start(t)
	c, err := h.Factory.New("test", cfg, deps(t, log))
	if err != nil {
		t.Fatal(err)
	}
	poke := func() {
		c.Status()
		c.SetPaused(true)
		c.SetPaused(false)
		c.Reconnect()
	}
	poke() // before Run
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5 {
				poke()
				log.Publish(batch(5))
				time.Sleep(10 * time.Millisecond) // some time to reconnect between
			}
		})
	}
	wg.Wait()
	waitFor(t, "delivery", delivered(log))
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	poke() // after it
}
