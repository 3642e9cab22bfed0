package connector

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// fakeFactory makes connectors that do what their configuration says.
type fakeFactory struct {
	mu   sync.Mutex
	made []*fake
}

type fake struct {
	cfg     map[string]any
	mu      sync.Mutex
	running bool
	paused  bool
	kicked  int
	source  Source
}

func (f *fakeFactory) Kind() string { return "fake" }

func (f *fakeFactory) New(_ string, cfg map[string]any, deps Deps) (Connector, error) {
	if cfg["bad"] != nil {
		return nil, errors.New("bad: cannot work")
	}
	c := &fake{cfg: cfg, source: deps.Source}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.made = append(f.made, c)
	return c, nil
}

// live returns those that run.
func (f *fakeFactory) live() []*fake {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []*fake
	for _, c := range f.made {
		c.mu.Lock()
		if c.running {
			out = append(out, c)
		}
		c.mu.Unlock()
	}
	return out
}

func (c *fake) Run(ctx context.Context) error {
	c.mu.Lock()
	c.running = true
	c.mu.Unlock()
	defer func() { c.mu.Lock(); c.running = false; c.mu.Unlock() }()
	switch c.cfg["do"] {
	case "panic":
		panic("boom")
	case "fail":
		return errors.New("cannot go on")
	case "hang":
		<-ctx.Done()
		time.Sleep(time.Minute) // longer than any contract allows
		return nil
	}
	<-ctx.Done()
	return nil
}

func (c *fake) Reconnect() { c.mu.Lock(); defer c.mu.Unlock(); c.kicked++ }
func (c *fake) SetPaused(p bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paused = p
}
func (c *fake) Status() Status                            { return Status{State: "up"} }
func (c *fake) Test(_ context.Context, report func(Step)) { report(Step{Name: "name"}) }
func (c *fake) Replay(context.Context, string, []*frame.Batch) (string, error) {
	return "there", ErrDown
}

// place is a consumer that only says where it is.
type place struct {
	Source
	atEnd bool
}

func (p *place) Acked() uint64 { return 3 }
func (p *place) Head() uint64  { return 10 }

type managerRig struct {
	m       *Manager
	factory *fakeFactory
	mu      sync.Mutex
	open    map[string]*place
}

func newManagerRig(t *testing.T) *managerRig {
	r := &managerRig{factory: new(fakeFactory), open: map[string]*place{}}
	var err error
	r.m, err = NewManager(ManagerConfig{Factories: map[string]Factory{"fake": r.factory}, Deps: Deps{Log: slog.New(slog.DiscardHandler)},
		Open: func(name string, atEnd bool) (Source, func(), error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.open[name] != nil {
				return nil, nil, errors.New("in use")
			}
			p := &place{atEnd: atEnd}
			r.open[name] = p
			return p, func() { r.mu.Lock(); defer r.mu.Unlock(); delete(r.open, name) }, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

type cfgs = map[string]map[string]any

func TestManager(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newManagerRig(t)
		apply := func(c cfgs, want string) {
			t.Helper()
			err := r.m.Apply(t.Context(), c)
			if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Fatalf("Apply: %v, want %q", err, want)
			}
			synctest.Wait()
		}
		a := map[string]any{"kind": "fake", "x": 1.0}
		b := map[string]any{"kind": "fake", "start": "end"}
		apply(cfgs{"a": a, "b": b}, "")
		if n := len(r.factory.live()); n != 2 || !r.open["b"].atEnd || r.open["a"].atEnd {
			t.Fatalf("%d run; %v", n, r.open)
		}
		list := r.m.List()
		if len(list) != 2 || list[0].Name != "a" || list[0].Kind != "fake" || list[0].State != "up" || list[0].AckSeq != 3 || list[0].Lag != 7 {
			t.Errorf("list: %+v", list)
		}
		if err := r.m.SetPaused("a", true); err != nil {
			t.Error(err)
		}
		first := r.factory.live()[0]

		// What cannot work changes nothing.
		for _, bad := range []struct {
			cfg  map[string]any
			want string
		}{{map[string]any{"kind": "fake", "bad": 1}, "connector a: bad"}, {map[string]any{"kind": "none"}, "there is fake"}} {
			apply(cfgs{"a": bad.cfg}, bad.want)
		}
		if n := len(r.factory.live()); n != 2 {
			t.Fatalf("%d run after a refused configuration, want 2", n)
		}

		// The unchanged one stays; the changed one is replaced, paused as it was.
		apply(cfgs{"a": {"kind": "fake", "x": 2.0}, "b": b}, "")
		live := r.factory.live()
		if len(live) != 2 || first.running {
			t.Fatalf("%d run, the first one: %t", len(live), first.running)
		}
		for _, c := range live {
			if (c.cfg["x"] == 2.0) != c.paused {
				t.Errorf("%v is paused: %t", c.cfg, c.paused)
			}
		}
		apply(cfgs{"b": b}, "")
		if n := len(r.factory.live()); n != 1 || r.open["a"] != nil {
			t.Errorf("%d run, a is open: %t", n, r.open["a"] != nil)
		}

		for name, err := range map[string]error{"reconnect": r.m.Reconnect("a"), "pause": r.m.SetPaused("a", true),
			"test": r.m.Test(t.Context(), "a", func(Step) {})} {
			if !errors.Is(err, ErrUnknown) {
				t.Errorf("%s of one that is gone: %v", name, err)
			}
		}
		if _, err := r.m.Replay(t.Context(), "b", "id", nil); !errors.Is(err, ErrDown) {
			t.Errorf("replay: %v", err)
		}

		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.m.Run(ctx) }()
		cancel()
		if err := <-done; err != nil || len(r.factory.live()) != 0 || len(r.open) != 0 {
			t.Errorf("Run: %v; %d run, %d open", err, len(r.factory.live()), len(r.open))
		}
		apply(cfgs{"b": b}, ErrClosed.Error())
	})
}

// TestManagerContains lets connectors fail and panic beside a good one.
func TestManagerContains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newManagerRig(t)
		err := r.m.Apply(t.Context(), cfgs{"panics": {"kind": "fake", "do": "panic"}, "fails": {"kind": "fake", "do": "fail"}, "good": {"kind": "fake"}})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want := map[string]string{"panics": "boom", "fails": "cannot go on", "good": ""}
		for _, i := range r.m.List() {
			if fault := i.State == "fault"; fault != (want[i.Name] != "") || !strings.Contains(i.Error, want[i.Name]) {
				t.Errorf("%s: %s %q", i.Name, i.State, i.Error)
			}
		}
		time.Sleep(10 * time.Minute) // of synctest's time: several attempts with back-off
		r.factory.mu.Lock()
		n := len(r.factory.made)
		r.factory.mu.Unlock()
		// Two checks and starts each, and attempts that are half a minute apart
		// at least, in the end.
		if n < 20 || n > 60 {
			t.Errorf("%d connectors were made in ten minutes", n)
		}
		if err := r.m.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestManagerStuck does not wait for ever, and gives nobody the place of one that
// does not end.
func TestManagerStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newManagerRig(t)
		if err := r.m.Apply(t.Context(), cfgs{"a": {"kind": "fake", "do": "hang"}}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		began := time.Now()
		if err := r.m.Apply(t.Context(), cfgs{}); !errors.Is(err, ErrStuck) {
			t.Errorf("Apply: %v", err)
		}
		if took := time.Since(began); took != stopLimit {
			t.Errorf("it took %s", took)
		}
		if r.open["a"] == nil {
			t.Error("its consumer was given up")
		}
		time.Sleep(2 * time.Minute) // of synctest's time: it ends at last
		if err := r.m.Close(); err != nil || r.open["a"] != nil {
			t.Errorf("Close: %v", err)
		}
	})
}
