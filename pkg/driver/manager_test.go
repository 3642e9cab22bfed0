package driver_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/logtest"
	"github.com/edge-gateway/edge-gateway/pkg/point"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stub is a driver that does what the test says.
type stub struct {
	f   *stubFactory
	cfg driver.Config
	n   int // how many its factory made before

	mu     sync.Mutex
	points *point.Table
	state  driver.State
}

// stubFactory makes stubs. Its functions may be nil.
type stubFactory struct {
	new    func(cfg driver.Config) error
	run    func(ctx context.Context, s *stub) error
	update func(s *stub, points *point.Table) error
	write  func(s *stub, w driver.Write) (driver.WriteResult, error)
	diag   bool // the drivers have a diagnosis

	mu   sync.Mutex
	made []*stub
	runs map[string]int // how many run now, by id
}

func (f *stubFactory) Proto() string { return "stub" }

func (f *stubFactory) New(cfg driver.Config, deps driver.Deps) (driver.Driver, error) {
	if f.new != nil {
		if err := f.new(cfg); err != nil {
			return nil, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s := &stub{f: f, cfg: cfg, points: cfg.Points, state: driver.Stopped, n: len(f.made)}
	f.made = append(f.made, s)
	if f.diag {
		return diagnoser{s}, nil
	}
	return s, nil
}

// diagnoser is a stub with a diagnosis.
type diagnoser struct{ *stub }

func (d diagnoser) Diagnose(context.Context) ([]driver.Fact, error) {
	return []driver.Fact{{Name: "device", Value: "stub " + d.cfg.ID}}, nil
}

// last returns the newest stub.
func (f *stubFactory) last() *stub {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.made[len(f.made)-1]
}

func (f *stubFactory) count(id string, n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.runs[id] += n
	return f.runs[id]
}

func (s *stub) set(state driver.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = state
}

func (s *stub) Run(ctx context.Context) error {
	if n := s.f.count(s.cfg.ID, 1); n != 1 {
		panic(fmt.Sprintf("%d drivers %s run at once", n, s.cfg.ID))
	}
	defer s.f.count(s.cfg.ID, -1)
	s.set(driver.Running)
	defer s.set(driver.Stopped)
	if s.f.run != nil {
		return s.f.run(ctx, s)
	}
	<-ctx.Done()
	return nil
}

func (s *stub) Update(points *point.Table) error {
	if s.f.update != nil {
		if err := s.f.update(s, points); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.points = points
	return nil
}

func (s *stub) Write(_ context.Context, w driver.Write) (driver.WriteResult, error) {
	if s.f.write != nil {
		return s.f.write(s, w)
	}
	return driver.WriteResult{ReadBack: w.Value, TS: 1}, nil
}

func (s *stub) Read(context.Context, string) (driver.Reading, error) {
	return driver.Reading{Value: frame.StringValue(s.cfg.ID), TS: 2}, nil
}

func (s *stub) Status() driver.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return driver.Status{State: s.state, Polls: 3, Errors: 4, Overruns: 5}
}

func (s *stub) Address(tag string) string { return "at " + tag }

// observe makes the point with index i known.
func (s *stub) observe(i int, v int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.points.Begin(1)
	s.points.Observe(b, i, frame.IntValue(v), frame.Good, 1)
	s.points.End(b)
}

// rig is a manager with what it works with.
type rig struct {
	*driver.Manager
	t       *testing.T
	factory *stubFactory
	reg     *prometheus.Registry
	log     *logtest.Buffer
	open    atomic.Int64 // endpoints opened and not given up
}

func newRig(t *testing.T, f *stubFactory) *rig {
	t.Helper()
	f.runs = map[string]int{}
	r := &rig{t: t, factory: f, reg: prometheus.NewRegistry(), log: &logtest.Buffer{}}
	m, err := driver.NewManager(driver.ManagerConfig{
		Factories: map[string]driver.Factory{"stub": f},
		Open: func(id string, _ config.Endpoint) (endpoint.Acquirer, func(), error) {
			if id == "broken" {
				return nil, nil, errors.New("no such scheme")
			}
			r.open.Add(1)
			return nil, func() { r.open.Add(-1) }, nil
		},
		Log:        slog.New(slog.NewTextHandler(r.log, nil)),
		Registerer: r.reg,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Manager = m
	return r
}

// close ends the manager and checks that nothing is left.
func (r *rig) close() {
	r.t.Helper()
	if err := r.Close(context.Background()); err != nil {
		r.t.Errorf("Close: %v", err)
	}
	if n := r.open.Load(); n != 0 {
		r.t.Errorf("%d endpoints are still open", n)
	}
	for id, n := range r.factory.runs {
		if n != 0 {
			r.t.Errorf("driver %s still runs", id)
		}
	}
}

// start starts driver id with tags; cfg tells configurations apart.
func (r *rig) start(id, cfg string, tags ...string) error {
	return r.Start(context.Background(), id, item(cfg), config.Endpoint{Host: "plc"}, variables(id, tags...))
}

func (r *rig) mustStart(id, cfg string, tags ...string) {
	r.t.Helper()
	if err := r.start(id, cfg, tags...); err != nil {
		r.t.Fatal(err)
	}
}

func item(cfg string) config.Driver {
	return config.Driver{Kind: config.KindStatic, Proto: "stub", EndpointID: "e", Cfg: map[string]any{"v": cfg}}
}

func variables(id string, tags ...string) []config.Variable {
	vars := make([]config.Variable, len(tags))
	for i, tag := range tags {
		vars[i] = config.Variable{Tag: tag, DriverID: id, Access: config.AccessRW, Datatype: config.TypeUint16,
			Unit: "bar", Report: config.ReportChange}
	}
	return vars
}

// state returns the state of driver id, "" if there is none.
func (r *rig) state(id string) driver.State {
	s, _ := r.Status(id)
	return s.State
}

func (r *rig) expectState(id string, want driver.State) {
	r.t.Helper()
	synctest.Wait()
	if got := r.state(id); got != want {
		r.t.Errorf("driver %s is %q, want %q", id, got, want)
	}
}

var ctx = context.Background()

const minute = time.Minute

func TestFactoryUnderWrongName(t *testing.T) {
	_, err := driver.NewManager(driver.ManagerConfig{Factories: map[string]driver.Factory{"modbus": &stubFactory{}}})
	if err == nil || !strings.Contains(err.Error(), `"stub" is registered as "modbus"`) {
		t.Errorf("error %v", err)
	}
}

func TestUnsupported(t *testing.T) {
	r := newRig(t, &stubFactory{})
	defer r.close()
	dyn, opc := item(""), item("")
	dyn.Kind, opc.Proto = config.KindDyn, "opcua"
	for want, it := range map[string]config.Driver{`kind "dyn"`: dyn, `protocol "opcua" is not built in, there is stub`: opc} {
		for name, err := range map[string]error{
			"Check": r.Check("d", it, config.Endpoint{}, nil),
			"Start": r.Start(ctx, "d", it, config.Endpoint{}, nil),
		} {
			if !errors.Is(err, driver.ErrUnsupported) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "driver d") {
				t.Errorf("%s: %v, want %v with %q", name, err, driver.ErrUnsupported, want)
			}
		}
	}
}

func TestCheckTouchesNothing(t *testing.T) {
	f := &stubFactory{new: func(cfg driver.Config) error {
		if cfg.Item.Cfg["v"] == "bad" {
			return errors.New("cfg.v: bad")
		}
		return nil
	}}
	r := newRig(t, f)
	defer r.close()
	if err := r.Check("d", item("good"), config.Endpoint{}, variables("d", "a")); err != nil {
		t.Error(err)
	}
	if err := r.Check("d", item("bad"), config.Endpoint{}, nil); err == nil || !strings.Contains(err.Error(), "driver d: cfg.v: bad") {
		t.Errorf("error %v", err)
	}
	if err := r.Check("d", item("good"), config.Endpoint{}, variables("other", "a")); err == nil || !strings.Contains(err.Error(), "tag a") {
		t.Errorf("error %v", err)
	}
	if len(r.List()) != 0 || r.open.Load() != 0 {
		t.Error("Check left something behind")
	}
}

func TestStartIsIdempotent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &stubFactory{})
		r.mustStart("d", "1", "a")
		r.expectState("d", driver.Running)
		first := r.factory.last()
		first.observe(0, 5)
		r.mustStart("d", "1", "b", "a")
		r.expectState("d", driver.Running)
		if r.factory.last() != first {
			t.Error("the driver was replaced though only its variables changed")
		}
		if s, ok := r.Tag("a"); !ok || s.Last.Value.Int() != 5 {
			t.Errorf("tag a: %+v, %v", s, ok)
		}
		r.mustStart("d", "2", "b", "a")
		r.expectState("d", driver.Running)
		if got := r.factory.last(); got == first || got.cfg.Item.Cfg["v"] != "2" {
			t.Error("the driver was not replaced though its cfg changed")
		}
		if s, ok := r.Tag("a"); !ok || s.Last.Value.Int() != 5 {
			t.Errorf("tag a after a restart: %+v, %v", s, ok)
		}
		if n := r.open.Load(); n != 1 {
			t.Errorf("%d endpoints are open", n)
		}
		for range 2 {
			if err := r.Stop(ctx, "d"); err != nil {
				t.Error(err)
			}
			r.expectState("d", "")
		}
		r.close()
	})
}

// Whatever cannot be constructed leaves what runs alone.
func TestFailedChangeLeavesTheOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("cfg.v: broken")
		var refuse atomic.Bool
		f := &stubFactory{
			new: func(cfg driver.Config) error {
				if refuse.Load() {
					return broken
				}
				return nil
			},
			update: func(*stub, *point.Table) error {
				if refuse.Load() {
					return broken
				}
				return nil
			},
		}
		r := newRig(t, f)
		r.mustStart("d", "1", "a")
		r.expectState("d", driver.Running)
		old := f.last()
		refuse.Store(true)
		bad := item("1")
		bad.EndpointID = "broken"
		for name, err := range map[string]error{
			"Start":    r.start("d", "2", "a"),
			"Restart":  r.Restart(ctx, "d"),
			"Pause":    r.Pause(ctx, "d"),
			"Update":   r.Update("d", variables("d", "a", "b")),
			"variable": r.Update("d", variables("e", "a")),
			"endpoint": r.Start(ctx, "d", bad, config.Endpoint{}, nil),
			"new":      r.start("other", "1"),
		} {
			if err == nil || !strings.Contains(err.Error(), "driver ") {
				t.Errorf("%s: error %v", name, err)
			}
		}
		r.expectState("d", driver.Running)
		if old.Status().State != driver.Running || r.factory.runs["d"] != 1 || r.open.Load() != 1 || len(r.List()) != 1 {
			t.Error("a failed change touched what ran")
		}
		if tags, _ := r.Tags(""); len(tags) != 1 {
			t.Errorf("tags %+v after failed updates", tags)
		}
		refuse.Store(false)
		if err := r.Resume(ctx, "d"); err != nil || f.last() != old {
			t.Errorf("Resume of a driver that is not paused: %v", err)
		}
		r.close()
	})
}

func TestPanicIsTheDriversOwnFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &stubFactory{run: func(ctx context.Context, s *stub) error {
			if s.cfg.ID == "bad" && s.n < 2 {
				time.Sleep(time.Second)
				s.cfg.Points.Begin(1)
				panic("decoder out of range")
			}
			<-ctx.Done()
			return nil
		}}
		r := newRig(t, f)
		r.mustStart("bad", "1", "a")
		r.mustStart("good", "1", "b")
		time.Sleep(time.Second)
		r.expectState("good", driver.Running)
		r.expectState("bad", driver.Fault)
		if s, _ := r.Status("bad"); s.Error != "panic: decoder out of range" {
			t.Errorf("status %+v", s)
		}
		if _, err := r.Write(ctx, driver.Write{Tag: "a"}); !errors.Is(err, driver.ErrNotRunning) || !strings.Contains(err.Error(), "out of range") {
			t.Errorf("write to a driver that failed: %v", err)
		}
		if log := r.log.String(); !strings.Contains(log, "manager_test.go") || !strings.Contains(log, "driver=bad") {
			t.Errorf("the log has no stack: %s", log)
		}
		if err := r.Update("bad", variables("bad", "a", "c")); err != nil {
			t.Errorf("update of a driver that failed: %v", err)
		}
		time.Sleep(minute)
		r.expectState("bad", driver.Running)
		f.last().observe(1, 7) // its table is not left locked
		if s, ok := r.Tag("c"); !ok || s.Last.Value.Int() != 7 {
			t.Errorf("tag c: %+v, %v", s, ok)
		}
		if l := r.List(); l[0].ID != "bad" || l[0].Restarts != 1 || l[0].Tags != 2 || l[1].Restarts != 0 {
			t.Errorf("list %+v", l)
		}
		r.close()
	})
}

// A driver that fails over and over is tried less and less often, at random
// times; once it ran for a while, the next failure is a first one.
func TestRestartBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var starts []time.Time
		steady := false
		f := &stubFactory{run: func(ctx context.Context, s *stub) error {
			mu.Lock()
			starts = append(starts, time.Now())
			run := 0 * time.Second
			if steady {
				run = 3 * minute
			}
			mu.Unlock()
			select {
			case <-time.After(run):
				if s.n%2 == 0 {
					return nil // without being told to
				}
				return errors.New("cannot go on")
			case <-ctx.Done():
				return nil
			}
		}}
		r := newRig(t, f)
		r.mustStart("d", "1")
		time.Sleep(10 * minute)
		r.expectState("d", driver.Fault)
		mu.Lock()
		for i, limit := 1, time.Second; i < len(starts); i++ {
			if gap := starts[i].Sub(starts[i-1]); gap < limit/2 || gap > limit {
				t.Errorf("start %d came after %v, want %v to %v", i, gap, limit/2, limit)
			}
			limit = min(2*limit, minute)
		}
		if n := len(starts); n < 14 || n > 30 {
			t.Errorf("%d starts in ten minutes", n)
		}
		steady = true
		mu.Unlock()
		time.Sleep(10 * minute)
		mu.Lock()
		n := len(starts)
		if gap := starts[n-1].Sub(starts[n-2]); gap > 3*minute+time.Second {
			t.Errorf("after a steady run the next start came after %v", gap)
		}
		mu.Unlock()
		r.close()
	})
}

// A driver that cannot even be constructed anew is tried again, too.
func TestRestartThatCannotBeConstructed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made atomic.Int64
		f := &stubFactory{
			new: func(driver.Config) error {
				if n := made.Add(1); n == 2 || n == 3 {
					return errors.New("out of file descriptors")
				}
				return nil
			},
			run: func(ctx context.Context, s *stub) error {
				if s.n == 0 {
					return errors.New("cannot go on")
				}
				<-ctx.Done()
				return nil
			},
		}
		r := newRig(t, f)
		r.mustStart("d", "1")
		time.Sleep(1100 * time.Millisecond)
		r.expectState("d", driver.Fault)
		if s, _ := r.Status("d"); !strings.Contains(s.Error, "file descriptors") {
			t.Errorf("status %+v", s)
		}
		time.Sleep(minute)
		r.expectState("d", driver.Running)
		r.close()
	})
}

// Variables that come while the driver is being started anew reach the new one.
func TestUpdateMeetsRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &stubFactory{
			run: func(ctx context.Context, s *stub) error {
				if s.n == 0 {
					time.Sleep(time.Second)
					return errors.New("cannot go on")
				}
				<-ctx.Done()
				return nil
			},
			update: func(s *stub, _ *point.Table) error {
				if s.n == 0 {
					time.Sleep(minute) // meanwhile there is another
				}
				return nil
			},
		}
		r := newRig(t, f)
		r.mustStart("d", "1", "a")
		if err := r.Update("d", variables("d", "a", "b")); err != nil {
			t.Fatal(err)
		}
		r.expectState("d", driver.Running)
		if s := f.last(); s.n != 1 || s.points.Len() != 2 {
			t.Errorf("driver %d runs with %d points, want the second with two", s.n, s.points.Len())
		}
		r.close()
	})
}

func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &stubFactory{})
		if err := r.Pause(ctx, "d"); !errors.Is(err, driver.ErrUnknownDriver) {
			t.Errorf("Pause of nothing: %v", err)
		}
		r.mustStart("d", "1", "a")
		r.expectState("d", driver.Running)
		r.factory.last().observe(0, 5)
		for range 2 {
			if err := r.Pause(ctx, "d"); err != nil {
				t.Error(err)
			}
			r.expectState("d", driver.Paused)
		}
		if _, err := r.Read(ctx, "a"); !errors.Is(err, driver.ErrPaused) {
			t.Errorf("Read while paused: %v", err)
		}
		if s, _ := r.Tag("a"); s.Last.Value.Int() != 5 {
			t.Errorf("the last value is gone: %+v", s)
		}
		// A configuration that comes meanwhile is not a Resume.
		if err := r.Update("d", variables("d", "a", "b")); err != nil {
			t.Error(err)
		}
		r.mustStart("d", "2", "a", "b")
		r.expectState("d", driver.Paused)
		if err := r.Stop(ctx, "d"); err != nil {
			t.Error(err)
		}
		r.mustStart("d", "3", "a", "b")
		r.expectState("d", driver.Paused)
		if r.factory.runs["d"] != 0 {
			t.Error("the paused driver runs")
		}
		for range 2 {
			if err := r.Resume(ctx, "d"); err != nil {
				t.Error(err)
			}
			r.expectState("d", driver.Running)
		}
		if got := r.factory.last().cfg; got.Item.Cfg["v"] != "3" || got.Points.Len() != 2 {
			t.Errorf("resumed with %+v", got)
		}
		r.close()
	})
}

// What was reported before a restart is reported again: the frames may not have
// reached the log.
func TestRestartReportsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &stubFactory{})
		r.mustStart("d", "1", "a")
		r.factory.last().observe(0, 5)
		r.factory.last().observe(0, 5) // report: change, no frame
		if err := r.Restart(ctx, "d"); err != nil {
			t.Fatal(err)
		}
		r.factory.last().observe(0, 5)
		if s, _ := r.Tag("a"); s.Last.Frames != 2 {
			t.Errorf("%d frames, want one of each driver", s.Last.Frames)
		}
		r.close()
	})
}

func TestDriverThatDoesNotStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := newRig(t, &stubFactory{run: func(context.Context, *stub) error { <-release; return nil }})
		r.mustStart("d", "1", "a")
		begin := time.Now()
		for name, op := range map[string]func() error{
			"Stop":    func() error { return r.Stop(ctx, "d") },
			"Restart": func() error { return r.Restart(ctx, "d") },
			"Start":   func() error { return r.start("d", "2", "a") },
			// Once told to end it is as good as dead, whatever its configuration.
			"Start as it was": func() error {
				if err := r.Stop(ctx, "d"); !errors.Is(err, driver.ErrStuck) {
					t.Errorf("Stop: %v", err)
				}
				return r.start("d", "1", "a")
			},
			"Stop with a context": func() error {
				short, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				return r.Stop(short, "d")
			},
		} {
			if err := op(); !errors.Is(err, driver.ErrStuck) || !strings.Contains(err.Error(), "driver d") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if d := time.Since(begin); d != 26*time.Second {
			t.Errorf("waited %v, want five times 5s and 1s", d)
		}
		close(release)
		if err := r.Stop(ctx, "d"); err != nil {
			t.Errorf("Stop, once it can: %v", err)
		}
		r.close()
	})
}

func TestWriteAndRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &stubFactory{write: func(s *stub, w driver.Write) (driver.WriteResult, error) {
			switch w.Tag {
			case "a.panics":
				panic("in write")
			case "a.fails":
				return driver.WriteResult{}, fmt.Errorf("tag %s: %w", w.Tag, driver.ErrAccess)
			}
			return driver.WriteResult{ReadBack: frame.StringValue(s.cfg.ID)}, nil
		}}
		r := newRig(t, f)
		r.mustStart("a", "1", "a.x", "a.panics", "a.fails")
		r.mustStart("b", "1", "b.x")
		r.expectState("b", driver.Running)
		for _, id := range []string{"a", "b"} {
			if res, err := r.Write(ctx, driver.Write{Tag: id + ".x"}); err != nil || res.ReadBack.Text() != id {
				t.Errorf("Write to %s.x: %+v, %v", id, res, err)
			}
			if got, err := r.Read(ctx, id+".x"); err != nil || got.Value.Text() != id {
				t.Errorf("Read of %s.x: %+v, %v", id, got, err)
			}
		}
		if _, err := r.Write(ctx, driver.Write{Tag: "c.x"}); !errors.Is(err, driver.ErrUnknownTag) || !strings.Contains(err.Error(), "c.x") {
			t.Errorf("Write to c.x: %v", err)
		}
		if _, err := r.Read(ctx, "c.x"); !errors.Is(err, driver.ErrUnknownTag) {
			t.Errorf("Read of c.x: %v", err)
		}
		if _, err := r.Write(ctx, driver.Write{Tag: "a.fails"}); !errors.Is(err, driver.ErrAccess) {
			t.Errorf("Write to a.fails: %v", err)
		}
		if _, err := r.Write(ctx, driver.Write{Tag: "a.panics"}); err == nil || !strings.Contains(err.Error(), "in write") ||
			!strings.Contains(r.log.String(), "operation=write") {
			t.Errorf("Write to a.panics: %v; log %s", err, r.log)
		}
		if _, err := r.Diagnose(ctx, "a"); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("Diagnose of a driver that cannot: %v", err)
		}
		if _, err := r.Diagnose(ctx, "c"); !errors.Is(err, driver.ErrUnknownDriver) {
			t.Errorf("Diagnose of nothing: %v", err)
		}
		r.expectState("a", driver.Running)
		r.close()
	})
}

func TestDiagnose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &stubFactory{diag: true})
		r.mustStart("d", "1")
		if facts, err := r.Diagnose(ctx, "d"); err != nil || len(facts) != 1 || facts[0].Value != "stub d" {
			t.Errorf("Diagnose: %v, %v", facts, err)
		}
		if err := r.Pause(ctx, "d"); err != nil {
			t.Error(err)
		}
		if _, err := r.Diagnose(ctx, "d"); !errors.Is(err, driver.ErrPaused) {
			t.Errorf("Diagnose while paused: %v", err)
		}
		r.close()
	})
}

func TestTags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &stubFactory{})
		r.mustStart("z", "1", "line.a", "line.c")
		r.mustStart("y", "1", "line.b", "tank.b")
		r.factory.last().observe(0, 8)
		for glob, want := range map[string]string{"": "line.a line.b line.c tank.b", "*": "line.a line.b line.c tank.b",
			"line.*": "line.a line.b line.c", "*.b": "line.b tank.b", "line.b": "line.b", "x": ""} {
			tags, err := r.Tags(glob)
			var names []string
			for _, s := range tags {
				names = append(names, s.Tag)
				if s.Tag != s.Variable.Tag || s.Driver != s.Variable.DriverID || s.Unit != "bar" || s.Address != "at "+s.Tag ||
					s.Last.Known != (s.Tag == "line.b") {
					t.Errorf("%+v", s)
				}
			}
			if got := strings.Join(names, " "); err != nil || got != want {
				t.Errorf("Tags(%q) = %s, %v, want %s", glob, got, err, want)
			}
		}
		if _, err := r.Tags("["); err == nil || !strings.Contains(err.Error(), `"["`) {
			t.Errorf("Tags([): %v", err)
		}
		if s, ok := r.Tag("line.b"); !ok || s.Driver != "y" || s.Last.Value.Int() != 8 {
			t.Errorf("Tag(line.b) = %+v, %v", s, ok)
		}
		if s, ok := r.Tag("x"); ok {
			t.Errorf("Tag(x) = %+v", s)
		}
		r.close()
	})
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &stubFactory{})
		r.mustStart("d", "1")
		r.mustStart("e", "1")
		synctest.Wait()
		gather := func() map[string]float64 {
			families, err := r.reg.Gather()
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]float64{}
			for _, f := range families {
				for _, m := range f.Metric {
					key := f.GetName()
					for _, l := range m.Label {
						key += " " + l.GetValue()
					}
					got[key] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
				}
			}
			return got
		}
		got := gather()
		for key, want := range map[string]float64{"driver_state d running": 1, "driver_state d fault": 0, "driver_state e paused": 0,
			"driver_polls_total d": 3, "driver_poll_errors_total d": 4, "driver_overruns_total e": 5, "driver_restarts_total d": 0} {
			if v, ok := got[key]; !ok || v != want {
				t.Errorf("%s = %v, %v, want %v", key, v, ok, want)
			}
		}
		if err := r.Stop(ctx, "d"); err != nil {
			t.Fatal(err)
		}
		for key := range gather() {
			if strings.Contains(key, " d") {
				t.Errorf("%s is left after Stop", key)
			}
		}
		r.close()
		if got := gather(); len(got) != 0 {
			t.Errorf("left after Close: %v", got)
		}
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &stubFactory{run: func(ctx context.Context, _ *stub) error {
			<-ctx.Done()
			time.Sleep(time.Second)
			return nil
		}})
		for i := range 50 {
			r.mustStart(fmt.Sprint("d", i), "1")
		}
		begin := time.Now()
		r.close()
		if d := time.Since(begin); d != time.Second {
			t.Errorf("50 drivers took %v to end, want one second together", d)
		}
		if err := r.start("d", "1"); !errors.Is(err, driver.ErrClosed) {
			t.Errorf("Start after Close: %v", err)
		}
		if r.open.Load() != 0 {
			t.Error("Start after Close left an endpoint open")
		}
	})
}

// Any operations at once: no id ever runs twice (the stub panics), nothing leaks,
// and what was asked for last is what runs.
func TestOperationsAtOnce(t *testing.T) {
	r := newRig(t, &stubFactory{run: func(ctx context.Context, s *stub) error {
		if rand.IntN(8) == 0 {
			return errors.New("cannot go on")
		}
		<-ctx.Done()
		return nil
	}})
	ids := []string{"a", "b", "c"}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(g), 1))
			for range 300 {
				id := ids[random.IntN(len(ids))]
				var err error
				switch random.IntN(10) {
				case 0, 1:
					err = r.start(id, fmt.Sprint(random.IntN(3)), id+".x")
				case 2:
					err = r.Stop(ctx, id)
				case 3:
					err = r.Restart(ctx, id)
				case 4:
					err = r.Pause(ctx, id)
				case 5, 6:
					err = r.Resume(ctx, id)
				case 7:
					err = r.Update(id, variables(id, id+".x", id+".y"))
				case 8:
					_, _ = r.Write(ctx, driver.Write{Tag: id + ".x"}) // may be refused in many ways
				case 9:
					_, _ = r.Tags("*") // the pattern is good
					r.List()
				}
				if err != nil && !errors.Is(err, driver.ErrUnknownDriver) {
					t.Errorf("driver %s: %v", id, err)
				}
			}
		})
	}
	wg.Wait()
	for _, id := range ids {
		if err := r.start(id, "last", id+".z"); err != nil {
			t.Error(err)
		}
	}
	if l := r.List(); len(l) != 3 || slices.ContainsFunc(l, func(s driver.DriverStatus) bool { return s.Item.Cfg["v"] != "last" || s.Tags != 1 }) {
		t.Errorf("list %+v", l)
	}
	if log := r.log.String(); strings.Contains(log, "panic") {
		t.Errorf("a driver ran twice: %s", log)
	}
	r.close()
}
