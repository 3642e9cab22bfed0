// Package drivertest is the conformance suite of package driver: what every
// driver must do, run against a real one and a device that the test controls. A
// driver's first test is one line:
//
//	func TestConformance(t *testing.T) { drivertest.Run(t, newDevice) }
//
// The suite uses real time and a real connection. It takes some ten seconds. [Main],
// [StartPeer] and [CPU] are for benchmarks of a driver against a device in a process of
// its own.
package drivertest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

// Harness starts a device with n points, each holding 0, and says how a driver
// is configured to poll them at the given interval. Everything that it starts
// ends in t.Cleanup: the suite checks that no goroutine is left.
type Harness func(t *testing.T, n int, polling time.Duration) *Device

// Device is a device under the test's control and the way to it. Its functions
// may be called from any goroutine; all but Hang are required.
type Device struct {
	Factory  driver.Factory
	Endpoint endpoint.Acquirer

	// Item and EndpointItem configure the driver: writing enabled, few retries,
	// short timeouts (≤ 300 ms) and back-off, so that the suite does not wait.
	Item         config.Driver
	EndpointItem config.Endpoint
	// Variables are the n points: uint16, access RW, no scale, no rules. The
	// suite sets their DriverID, and scales and rules where it needs them.
	Variables []config.Variable

	Set   func(i int, v uint16) // changes what the device holds for Variables[i]
	Get   func(i int) uint16    // what it holds
	Conns func() int            // connections accepted since the device was made
	Stop  func()                // goes away: connections break, new ones are refused
	Start func()                // comes back at the same address with its values
	Hang  func(on bool)         // stays connected and does not answer; nil: not tested
}

// id is the driver's id in every test.
const id = "drivertest"

// The suite's patience. What must be quick by contract has its own limit.
const (
	patience = 20 * time.Second
	endLimit = time.Second + 500*time.Millisecond // the contract's second, and a busy machine
)

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	t.Helper()
	for _, sc := range []struct {
		name string
		run  func(*testing.T, Harness)
	}{
		{"New", testNew},
		{"FirstPollAtOnce", testFirstPoll},
		{"PollsAtInterval", testInterval},
		{"WriteOnlyIsNotPolled", testWriteOnly},
		{"DeviceGoesAway", testGoesAway},
		{"DeviceAwayAtStart", testAwayAtStart},
		{"DeviceHangs", testHangs},
		{"RunEnds", testRunEnds},
		{"PublishFails", testPublishFails},
		{"Update", testUpdate},
		{"UpdateRefused", testUpdateRefused},
		{"Write", testWrite},
		{"WriteRefused", testWriteRefused},
		{"Read", testRead},
		{"NotRunning", testNotRunning},
	} {
		before := goleak.IgnoreCurrent()
		t.Run(sc.name, func(t *testing.T) { sc.run(t, h) })
		if err := goleak.Find(before); err != nil {
			t.Errorf("%s: goroutines are left after driver, pool and device were closed: %v", sc.name, err)
		}
	}
}

// fixture is a driver with its device.
type fixture struct {
	*Device
	t      *testing.T
	vars   []config.Variable
	table  *point.Table
	sink   *sink
	driver driver.Driver

	cancel context.CancelFunc
	ended  chan error // Run's result; nil once it was taken
}

// build makes a device of n points and a driver for it, which does not run yet.
// edit, if given, changes the variables before.
func build(t *testing.T, h Harness, n int, polling time.Duration, edit func(vars []config.Variable)) *fixture {
	t.Helper()
	f := &fixture{Device: h(t, n, polling), t: t, sink: newSink()}
	f.vars = slices.Clone(f.Variables)
	if len(f.vars) != n {
		t.Fatalf("the harness gave %d variables, asked for %d", len(f.vars), n)
	}
	for i := range f.vars {
		f.vars[i].DriverID = id
	}
	if edit != nil {
		edit(f.vars)
	}
	f.table = f.compile(f.vars, nil)
	d, err := f.new(f.table)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	f.driver = d
	return f
}

// start makes a fixture whose driver runs; it is stopped at the test's end.
func start(t *testing.T, h Harness, n int, polling time.Duration, edit func(vars []config.Variable)) *fixture {
	t.Helper()
	f := build(t, h, n, polling, edit)
	f.run()
	return f
}

func (f *fixture) compile(vars []config.Variable, prev *point.Table) *point.Table {
	f.t.Helper()
	table, err := point.Compile(id, vars, prev)
	if err != nil {
		f.t.Fatalf("compile the variables: %v", err)
	}
	return table
}

func (f *fixture) new(table *point.Table) (driver.Driver, error) {
	return f.Factory.New(
		driver.Config{ID: id, Item: f.Item, Endpoint: f.EndpointItem, Points: table},
		driver.Deps{Endpoint: f.Endpoint, Out: f.sink, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
}

// run starts Run and stops it in Cleanup, before the device is closed.
func (f *fixture) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	f.cancel, f.ended = cancel, ended
	go func() { ended <- f.driver.Run(ctx) }()
	f.t.Cleanup(func() {
		cancel()
		if f.ended != nil {
			_ = f.waitEnd(patience) // the test has looked at how it ended, if it cared
		}
	})
}

// stop cancels Run and checks that it ends in time and without an error.
func (f *fixture) stop() {
	f.t.Helper()
	begin := time.Now()
	f.cancel()
	if err := f.waitEnd(endLimit); err != nil {
		f.t.Errorf("Run returned %v after its context ended, want nil", err)
	}
	if d := time.Since(begin); d > endLimit {
		f.t.Errorf("Run took %v to end, allowed is one second", d)
	}
}

// waitEnd waits for Run's result.
func (f *fixture) waitEnd(limit time.Duration) error {
	f.t.Helper()
	ended := f.ended
	f.ended = nil
	select {
	case err := <-ended:
		return err
	case <-time.After(limit):
		f.t.Fatalf("Run has not returned after %v", limit)
		return nil
	}
}

// tag returns the name of point i.
func (f *fixture) tag(i int) string { return f.vars[i].Tag }

// eventually waits until ok says so. It polls, because a driver has no way to tell.
func (f *fixture) eventually(what string, ok func() bool) {
	f.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			f.t.Fatalf("after %v still not: %s (status %+v, %d frames)", patience, what, f.driver.Status(), len(f.sink.all()))
		}
	}
}

// eventuallyState waits for a state.
func (f *fixture) eventuallyState(s driver.State) {
	f.t.Helper()
	f.eventually(fmt.Sprintf("state %s", s), func() bool { return f.driver.Status().State == s })
}

// eventuallyGood waits until every point of the device was reported good after
// frame from, with the value that the device holds.
func (f *fixture) eventuallyGood(from int) {
	f.t.Helper()
	for i := range f.vars {
		f.eventually(fmt.Sprintf("%s is reported as good with the device's value", f.tag(i)), func() bool {
			return slices.ContainsFunc(f.sink.of(f.tag(i), from), func(s sample) bool {
				v, _ := s.Value.Number()
				return s.Quality == frame.Good && v == float64(f.Get(i))
			})
		})
	}
}

// sample is a frame with its tag's name and the time at which it was published.
type sample struct {
	frame.Frame
	tag string
	at  time.Time
}

// sink is the suite's Publisher. It checks what every batch must be like.
type sink struct {
	mu      sync.Mutex
	samples []sample
	faults  []string
	err     error         // what Publish returns
	block   chan struct{} // Publish waits until it is closed; nil: does not
	blocked chan struct{} // told when a Publish waits
}

func newSink() *sink { return &sink{blocked: make(chan struct{}, 1)} }

// Publish takes the frames of b.
func (s *sink) Publish(ctx context.Context, b *frame.Batch) error {
	s.mu.Lock()
	block, err := s.block, s.err
	s.mu.Unlock()
	if block != nil {
		select {
		case s.blocked <- struct{}{}:
		default:
		}
		select {
		case <-block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case b == nil || len(b.Frames) == 0:
		s.faults = append(s.faults, "an empty batch was published")
		return nil
	case b.Kind != frame.Data || b.FirstSeq != 0 || b.Set == nil || b.Set.Driver != id:
		s.faults = append(s.faults, fmt.Sprintf("a batch was published as kind %v, seq %d, set %+v", b.Kind, b.FirstSeq, b.Set))
		return nil
	}
	now := time.Now()
	for i, fr := range b.Frames {
		s.samples = append(s.samples, sample{fr, b.Tag(i).Name, now})
	}
	return nil
}

// check reports what was wrong with the batches.
func (s *sink) check(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		t.Error(f)
	}
}

// all returns every sample so far.
func (s *sink) all() []sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.samples)
}

// of returns the samples of tag, from number from of all samples on.
func (s *sink) of(tag string, from int) []sample {
	var out []sample
	for _, sm := range s.all()[from:] {
		if sm.tag == tag {
			out = append(out, sm)
		}
	}
	return out
}
