package apply_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/apply"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

// stub is a driver that observes the value 5 for every point as soon as it runs,
// and again after an update.
type stub struct {
	f      *stubFactory
	cfg    driver.Config
	mu     sync.Mutex
	status driver.Status
}

// stubFactory makes stubs and notes what happens to them.
type stubFactory struct {
	dead string // drivers of endpoints with this host get no answer

	mu     sync.Mutex
	events []string
}

func (f *stubFactory) Proto() string { return "stub" }

func (f *stubFactory) New(cfg driver.Config, _ driver.Deps) (driver.Driver, error) {
	if cfg.Item.Cfg["v"] == "refused" {
		return nil, errTest
	}
	return &stub{f: f, cfg: cfg, status: driver.Status{State: driver.Stopped}}, nil
}

func (f *stubFactory) note(event ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = append(f.events, strings.Join(event, " "))
}

// took returns the events since the last took.
func (f *stubFactory) took() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	events := f.events
	f.events = nil
	return events
}

func (s *stub) set(state driver.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.State = state
	s.status.Since = time.Now()
}

func (s *stub) observe(points *point.Table) {
	b := points.Begin(points.Len())
	for i := range points.Len() {
		points.Observe(b, i, frame.IntValue(5), frame.Good, time.Now().UnixNano())
	}
	points.End(b)
}

func (s *stub) Run(ctx context.Context) error {
	s.f.note("run", s.cfg.ID)
	if s.f.dead != "" && s.cfg.Endpoint.Host == s.f.dead {
		s.set(driver.Fault)
	} else {
		s.observe(s.cfg.Points)
		s.mu.Lock()
		s.status = driver.Status{State: driver.Running, Since: time.Now(), Polls: 1, FirstRead: time.Now()}
		s.mu.Unlock()
	}
	<-ctx.Done()
	s.f.note("end", s.cfg.ID)
	return nil
}

func (s *stub) Update(points *point.Table) error {
	s.f.note("update", s.cfg.ID)
	if s.Status().State == driver.Running {
		s.observe(points)
	}
	return nil
}

func (s *stub) Write(context.Context, driver.Write) (driver.WriteResult, error) {
	return driver.WriteResult{}, driver.ErrAccess
}

func (s *stub) Read(context.Context, string) (driver.Reading, error) {
	return driver.Reading{}, driver.ErrAccess
}

func (s *stub) Status() driver.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// plant is a runner on a real manager of stubs.
type plant struct {
	*apply.Runner
	*stubFactory
	drivers *driver.Manager
}

// plantEndpoints notes drains.
type plantEndpoints struct{ *stubFactory }

func (plantEndpoints) Check(string, config.Endpoint) error { return nil }

func (p plantEndpoints) Drain(_ context.Context, id string) error {
	p.note("drain", id)
	return nil
}

func newPlant(t testing.TB, verify apply.VerifyMode) *plant {
	t.Helper()
	f := &stubFactory{}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	reg := prometheus.NewRegistry()
	m, err := driver.NewManager(driver.ManagerConfig{
		Factories: map[string]driver.Factory{"stub": f}, Log: log, Registerer: reg,
		Open: func(string, config.Endpoint) (endpoint.Acquirer, func(), error) { return nil, func() {}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	metrics, err := apply.NewMetrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	return &plant{stubFactory: f, drivers: m, Runner: apply.NewRunner(apply.RunnerConfig{
		Plant: apply.NewPlant(apply.PlantConfig{Drivers: m, Endpoints: plantEndpoints{f}, Settings: fakeSettings{newFake()},
			Verify: verify, Commit: func(context.Context, *config.Snapshot) error { return nil }}),
		Timeouts: apply.Timeouts{Phase: 10 * time.Second, Verify: 10 * time.Second}, Log: log, Metrics: metrics,
	})}
}

// apply applies s and waits until all drivers run.
func (p *plant) apply(t testing.TB, s *config.Snapshot, boot bool) {
	t.Helper()
	if res := p.Apply(context.Background(), s, boot); res.Outcome != apply.Applied {
		t.Fatalf("rev %d %s in %s: %v", s.Rev, res.Outcome, res.FailedIn, res.Err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for slices.ContainsFunc(p.drivers.List(), func(s driver.DriverStatus) bool { return s.State != driver.Running }) {
		if time.Now().After(deadline) {
			t.Fatalf("not all drivers run: %+v", p.drivers.List())
		}
		time.Sleep(time.Millisecond) // the stubs run on goroutines of the manager
	}
}

// expectTags checks that the plant has exactly the tags of s, each at its driver.
func (p *plant) expectTags(t *testing.T, s *config.Snapshot) {
	t.Helper()
	tags, err := p.drivers.Tags("")
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, tag := range tags {
		got = append(got, tag.Tag+"@"+tag.Driver)
	}
	for _, v := range s.Variables {
		want = append(want, v.Tag+"@"+v.DriverID)
	}
	if !slices.Equal(got, want) {
		t.Errorf("tags %v, want %v", got, want)
	}
}

func TestVariablesAloneStopNothing(t *testing.T) {
	p := newPlant(t, apply.VerifyStrict)
	old := newSite().endpoint("e", "a").driver("d", "e", "1", "x", "y").driver("other", "e", "1", "z").rev(1)
	p.apply(t, old, true)
	p.took()
	next := newSite().endpoint("e", "a").driver("d", "e", "1", "x", "y=value / 10", "w").driver("other", "e", "1", "z").rev(2)
	p.apply(t, next, false)
	if events := p.took(); !slices.Equal(events, []string{"update d"}) {
		t.Errorf("events %v, want one update of d", events)
	}
	p.expectTags(t, next)
}

func TestOnlyWhatChangedIsTouched(t *testing.T) {
	p := newPlant(t, apply.VerifyStrict)
	old, next := mixed()
	p.apply(t, old, true)
	p.took()
	before, _ := p.drivers.Status("same")
	p.apply(t, next, false)
	for _, e := range p.took() {
		if strings.HasSuffix(e, " same") || strings.HasSuffix(e, " quiet") || e == "end reload1" || e == "end reload2" {
			t.Errorf("event %s", e)
		}
	}
	if after, _ := p.drivers.Status("same"); after != before {
		t.Errorf("driver same: %+v, was %+v", after, before)
	}
	p.expectTags(t, next)
	p.apply(t, old, false)
	p.expectTags(t, old)
}

// An endpoint that changes is drained when its drivers have ended and before they
// run again, also when it changes back.
func TestDrainComesBetweenDrivers(t *testing.T) {
	p := newPlant(t, apply.VerifyConnect)
	p.dead = "dead"
	at := func(host string, rev uint64) *config.Snapshot {
		return newSite().endpoint("e", host).endpoint("f", "a").driver("d1", "e", "1", "x").driver("d2", "e", "1", "y").
			driver("other", "f", "1", "z").rev(rev)
	}
	check := func(events []string) {
		t.Helper()
		if len(events) != 5 || events[2] != "drain e" || !slices.Equal(slices.Sorted(slices.Values(events[:2])), []string{"end d1", "end d2"}) ||
			!slices.Equal(slices.Sorted(slices.Values(events[3:])), []string{"run d1", "run d2"}) {
			t.Errorf("events %v, want both ended, drained, both run", events)
		}
	}
	p.apply(t, at("a", 1), true)
	p.took()
	p.apply(t, at("b", 2), false)
	check(p.took())

	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if res := p.Apply(ctx, at("dead", 3), false); res.Outcome != apply.RolledBack || res.FailedIn != apply.Verifying {
		t.Fatalf("%s in %s: %v", res.Outcome, res.FailedIn, res.Err)
	}
	p.apply(t, p.Current(), false)
	events := p.took()
	if len(events) != 10 {
		t.Fatalf("events %v", events)
	}
	check(events[:5])
	check(events[5:])
}

// A driver that is restarted has the values that it had.
func TestRestartKeepsLastValues(t *testing.T) {
	p := newPlant(t, apply.VerifyConnect)
	p.apply(t, newSite().endpoint("e", "a").driver("d", "e", "1", "x").rev(1), true)
	before, ok := p.drivers.Tag("x")
	if !ok || !before.Last.Known {
		t.Fatalf("tag x: %+v", before)
	}
	p.dead = "a" // the new one gets no answer
	if res := p.Apply(ctx, newSite().endpoint("e", "a").driver("d", "e", "2", "x").rev(2), true); res.Err != nil {
		t.Fatal(res.Err)
	}
	if after, ok := p.drivers.Tag("x"); !ok || after.Last != before.Last {
		t.Errorf("tag x after a restart: %+v, before %+v", after.Last, before.Last)
	}
}

// Random histories on the real manager: the tags are those of the last good
// snapshot, and nothing is left running.
func TestHistoriesOnManager(t *testing.T) {
	p := newPlant(t, apply.VerifyStrict)
	_, good := mixed()
	p.apply(t, good, true)
	for rev := range uint64(histories(t) / 10) {
		next, other := mixed()
		if rev%2 == 1 {
			next = other
		}
		next.Rev = rev
		refused := rev%7 == 3
		if refused {
			bad := next.Drivers["changed"]
			bad.Cfg = map[string]any{"v": "refused"}
			next.Drivers["changed"] = bad
		}
		res := p.Apply(ctx, next, false)
		switch {
		case refused && res.Outcome == apply.Rejected:
		case !refused && res.Outcome == apply.Applied:
			good = next
		default:
			t.Fatalf("rev %d: %s in %s: %v", rev, res.Outcome, res.FailedIn, res.Err)
		}
		p.expectTags(t, good)
		if got, want := len(p.drivers.List()), len(good.Drivers); got != want {
			t.Fatalf("%d drivers, want %d", got, want)
		}
	}
}

// BenchmarkApply applies a change of one variable's scale among many, on the real
// manager with 50 drivers; p99-ms is over the iterations.
func BenchmarkApply(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint("variables=", n), func(b *testing.B) {
			p := newPlant(b, apply.VerifyConnect)
			at := func(scale string) *config.Snapshot {
				s := newSite()
				for d := range 50 {
					s.endpoint(fmt.Sprint("e", d), "a")
					tags := make([]string, n/50)
					for i := range tags {
						tags[i] = fmt.Sprintf("plant.line%02d.tag%05d=value / 10", d, i)
					}
					s.driver(fmt.Sprint("d", d), fmt.Sprint("e", d), "1", tags...)
				}
				s.vars[n/2].Scale = scale
				return s.rev(1)
			}
			snaps := []*config.Snapshot{at("value / 10"), at("value / 100")}
			p.apply(b, snaps[0], true)
			times := make([]time.Duration, 0, 1000)
			b.ReportAllocs()
			for i := 1; b.Loop(); i++ {
				res := p.Apply(ctx, snaps[i%2], false)
				if res.Outcome != apply.Applied {
					b.Fatal(res.Err)
				}
				times = append(times, res.Duration)
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}
