package apply_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/apply"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// running is a driver as the fake runs it.
type running struct {
	Item     config.Driver
	Endpoint config.Endpoint
	Vars     []config.Variable
}

// fake is drivers, endpoints and settings that remember what runs and what was
// called. It keeps the contracts, an operation that fails with [driver.ErrStuck]
// included: the driver then has ended, and a Start with what it was does not see it.
type fake struct {
	fail   func(ctx context.Context, call string) error // may be nil; may wait for ctx
	status func(id string) driver.Status                // nil: all run

	mu        sync.Mutex
	runs      map[string]running
	dying     map[string]bool
	settings  map[string]map[string]any
	committed *config.Snapshot
	calls     []string
	twice     string // a tag that two drivers had at once
}

func newFake() *fake { return &fake{runs: map[string]running{}, dying: map[string]bool{}} }

// call records a call and returns the error that it is to have.
func (f *fake) call(ctx context.Context, what ...string) error {
	name := strings.Join(what, " ")
	f.mu.Lock()
	f.calls = append(f.calls, name)
	f.mu.Unlock()
	if f.fail == nil {
		return nil
	}
	return f.fail(ctx, name)
}

// took returns the calls since the last took.
func (f *fake) took() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := f.calls
	f.calls = nil
	return calls
}

func (f *fake) Start(ctx context.Context, id string, item config.Driver, ep config.Endpoint, vars []config.Variable) error {
	err := f.call(ctx, "start", id)
	f.mu.Lock()
	defer f.mu.Unlock()
	was, ok := f.runs[id]
	same := ok && reflect.DeepEqual(was.Item, item) && reflect.DeepEqual(was.Endpoint, ep)
	if err != nil {
		if ok && !same && errors.Is(err, driver.ErrStuck) {
			f.dying[id] = true
		}
		return err
	}
	f.runs[id] = running{item, ep, slices.Clone(vars)}
	f.dying[id] = f.dying[id] && same
	f.oneDriverPerTag()
	return nil
}

func (f *fake) Stop(ctx context.Context, id string) error {
	err := f.call(ctx, "stop", id)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		if _, ok := f.runs[id]; ok && errors.Is(err, driver.ErrStuck) {
			f.dying[id] = true
		}
		return err
	}
	delete(f.runs, id)
	delete(f.dying, id)
	return nil
}

func (f *fake) Update(id string, vars []config.Variable) error {
	if err := f.call(context.Background(), "update", id); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	r, ok := f.runs[id]
	if !ok {
		return driver.ErrUnknownDriver
	}
	r.Vars = slices.Clone(vars)
	f.runs[id] = r
	f.oneDriverPerTag()
	return nil
}

// oneDriverPerTag notes if two drivers have the same tag. f.mu is held.
func (f *fake) oneDriverPerTag() {
	owner := map[string]string{}
	for id, r := range f.runs {
		for _, v := range r.Vars {
			if other, taken := owner[v.Tag]; taken {
				f.twice = fmt.Sprintf("tag %s was at %s and at %s", v.Tag, other, id)
			}
			owner[v.Tag] = id
		}
	}
}

func (f *fake) Status(id string) (driver.Status, bool) {
	f.mu.Lock()
	_, ok := f.runs[id]
	f.mu.Unlock()
	if f.status != nil {
		return f.status(id), ok
	}
	return driver.Status{State: driver.Running, Polls: 1, FirstRead: time.Now(), Since: time.Now()}, ok
}

func (f *fake) Check(id string, _ config.Driver, _ config.Endpoint, _ []config.Variable) error {
	return f.call(context.Background(), "check", id)
}

// fakeEndpoints and fakeSettings are the fake's other faces.
type fakeEndpoints struct{ *fake }

func (f fakeEndpoints) Check(id string, _ config.Endpoint) error {
	return f.call(context.Background(), "check endpoint", id)
}

func (f fakeEndpoints) Drain(ctx context.Context, id string) error { return f.call(ctx, "drain", id) }

type fakeSettings struct{ *fake }

func (f fakeSettings) Check(map[string]map[string]any) error {
	return f.call(context.Background(), "check settings")
}

func (f fakeSettings) Set(ctx context.Context, groups map[string]map[string]any) error {
	if err := f.call(ctx, "settings"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settings = groups
	return nil
}

// commit keeps a snapshot as the gateway does.
func (f *fake) commit(ctx context.Context, s *config.Snapshot) error {
	if err := f.call(ctx, "commit"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.committed = s
	return nil
}

// differs says how what runs differs from exactly s; "" if it does not.
func (f *fake) differs(s *config.Snapshot) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.twice != "" {
		return f.twice
	}
	want := map[string]running{}
	groups := s.DriverVariables()
	for id, item := range s.Drivers {
		want[id] = running{item, s.Endpoints[item.EndpointID], groups[id]}
	}
	for _, id := range slices.Sorted(maps.Keys(f.runs)) {
		switch w, ok := want[id]; {
		case !ok:
			return "driver " + id + " runs"
		case f.dying[id]:
			return "driver " + id + " has ended"
		case !reflect.DeepEqual(w.Item, f.runs[id].Item), !reflect.DeepEqual(w.Endpoint, f.runs[id].Endpoint):
			return "driver " + id + " runs as another"
		case !slices.EqualFunc(w.Vars, f.runs[id].Vars, func(a, b config.Variable) bool { return a.Equal(&b) }):
			return fmt.Sprintf("driver %s runs with other variables: %v", id, f.runs[id].Vars)
		}
		delete(want, id)
	}
	for id := range want {
		return "driver " + id + " does not run"
	}
	if len(f.settings)+len(s.Settings) > 0 && !reflect.DeepEqual(f.settings, s.Settings) {
		return fmt.Sprintf("settings are %v", f.settings)
	}
	return ""
}

// rig is a runner on a fake.
type rig struct {
	*fake
	*apply.Runner
	t        *testing.T
	reg      *prometheus.Registry
	progress []apply.State
}

func newRig(t *testing.T, verify apply.VerifyMode) *rig {
	t.Helper()
	f := newFake()
	r := &rig{fake: f, t: t, reg: prometheus.NewRegistry()}
	metrics, err := apply.NewMetrics(r.reg)
	if err != nil {
		t.Fatal(err)
	}
	r.Runner = apply.NewRunner(apply.RunnerConfig{
		Plant: apply.NewPlant(apply.PlantConfig{Drivers: f, Endpoints: fakeEndpoints{f}, Settings: fakeSettings{f},
			Verify: verify, Commit: f.commit}),
		Timeouts: apply.Timeouts{Phase: 30 * time.Second, Verify: 10 * time.Second},
		Log:      slog.New(slog.NewTextHandler(io.Discard, nil)), Metrics: metrics,
		Progress: func(p apply.Progress) { r.progress = append(r.progress, p.State) },
	})
	return r
}

// boot applies the first snapshot.
func (r *rig) boot(s *config.Snapshot) {
	r.t.Helper()
	if res := r.Apply(context.Background(), s, true); res.Outcome != apply.Applied {
		r.t.Fatalf("boot: %s: %v", res.Outcome, res.Err)
	}
	r.took()
	r.progress = nil
}

// expect checks the outcome and that exactly s runs and is the last good one.
func (r *rig) expect(res apply.Result, outcome apply.Outcome, s *config.Snapshot) {
	r.t.Helper()
	if res.Outcome != outcome {
		r.t.Errorf("outcome %s in %s, want %s: %v", res.Outcome, res.FailedIn, outcome, res.Err)
	}
	if d := r.differs(s); d != "" {
		r.t.Errorf("neither mixed nor else may run, but %s", d)
	}
	if r.Current() != s || r.committed != s {
		r.t.Errorf("current rev %d, committed %d, want %d", r.Current().Rev, r.committed.Rev, s.Rev)
	}
}

// metric returns the value of a metric, with its label if it has one.
func (r *rig) metric(name, label string) float64 {
	r.t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == name && (label == "" || m.Label[0].GetValue() == label) {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	r.t.Fatalf("no metric %s", name)
	return 0
}

// site builds snapshots for tests.
type site struct {
	endpoints map[string]config.Endpoint
	drivers   map[string]config.Driver
	vars      []config.Variable
	settings  map[string]map[string]any
}

func newSite() *site {
	return &site{endpoints: map[string]config.Endpoint{}, drivers: map[string]config.Driver{}}
}

func (s *site) endpoint(id, host string) *site {
	s.endpoints[id] = config.Endpoint{Scheme: "tcp", Host: host, Port: 502}
	return s
}

// driver adds a driver with tags; "tag=scale" gives one a scale.
func (s *site) driver(id, endpoint, cfg string, tags ...string) *site {
	s.drivers[id] = config.Driver{Kind: config.KindStatic, EndpointID: endpoint, Proto: "stub", Cfg: map[string]any{"v": cfg}}
	for _, tag := range tags {
		tag, scale, _ := strings.Cut(tag, "=")
		s.vars = append(s.vars, config.Variable{Tag: tag, DriverID: id, Access: config.AccessR, Datatype: config.TypeUint16,
			Scale: scale, Report: config.ReportChange, Address: config.Address{Type: config.AddrHolding, Addr: 1}})
	}
	return s
}

func (s *site) setting(group, value string) *site {
	s.settings = map[string]map[string]any{group: {"v": value}}
	return s
}

func (s *site) rev(rev uint64) *config.Snapshot {
	snap := config.NewSnapshot(s.endpoints, s.drivers, s.vars, s.settings)
	snap.Rev = rev
	return snap
}

// mixed is a pair of snapshots whose difference has everything in it: endpoints
// added, removed, changed and shared, drivers added, removed, changed and moved to
// another endpoint, tags that change, come, go and move in all directions,
// settings. Driver same is outside of it.
func mixed() (old, next *config.Snapshot) {
	old = newSite().endpoint("e1", "a").endpoint("e2", "b").endpoint("e3", "c").endpoint("gone", "d").endpoint("quiet", "e").
		driver("shared1", "e1", "1", "s1", "moves.to.reload").driver("shared2", "e1", "1", "s2").
		driver("changed", "e2", "1", "c1", "moves.to.new").driver("roams", "e2", "1", "r1", "moves.to.restart").
		driver("removed", "gone", "1", "x1", "moves.from.removed").driver("leaves", "e1", "1", "l1").
		driver("reload1", "e3", "1", "v1=value", "swap1").driver("reload2", "e3", "1", "v2", "swap2", "v3").
		driver("same", "quiet", "1", "q1").setting("bus", "1").rev(1)
	next = newSite().endpoint("e1", "changed").endpoint("e2", "b").endpoint("e3", "c").endpoint("added", "f").endpoint("quiet", "e").
		driver("shared1", "e1", "1", "s1").driver("shared2", "e1", "1", "s2", "moves.from.removed").
		driver("changed", "e2", "2", "c1", "moves.to.restart").driver("roams", "added", "1", "r1").
		driver("new", "added", "1", "n1", "moves.to.new").driver("leaves", "e3", "1", "l1").
		driver("reload1", "e3", "1", "v1=value / 10", "swap2").driver("reload2", "e3", "1", "v2", "swap1", "v4", "moves.to.reload").
		driver("same", "quiet", "1", "q1").setting("bus", "2").rev(2)
	return old, next
}

// onProgress returns a runner that has applied what the rig has, with a progress
// function of its own.
func (r *rig) onProgress(progress func(apply.Progress)) *apply.Runner {
	r.t.Helper()
	metrics, err := apply.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		r.t.Fatal(err)
	}
	booted := false
	runner := apply.NewRunner(apply.RunnerConfig{
		Plant: apply.NewPlant(apply.PlantConfig{Drivers: r.fake, Endpoints: fakeEndpoints{r.fake}, Settings: fakeSettings{r.fake},
			Verify: apply.VerifyConnect, Commit: r.commit}),
		Timeouts: apply.Timeouts{Phase: time.Minute, Verify: time.Minute},
		Log:      slog.New(slog.NewTextHandler(io.Discard, nil)), Metrics: metrics,
		Progress: func(p apply.Progress) {
			if booted {
				progress(p)
			}
		},
	})
	if res := runner.Apply(context.Background(), r.Current(), true); res.Err != nil {
		r.t.Fatal(res.Err)
	}
	booted = true
	return runner
}
