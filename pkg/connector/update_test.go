package connector

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// livelyFactory makes connectors that take changes of "live" over.
type livelyFactory struct{ fakeFactory }

type lively struct {
	*fake
	was map[string]any
}

func (f *livelyFactory) Kind() string { return "lively" }

func (f *livelyFactory) New(name string, cfg map[string]any, deps Deps) (Connector, error) {
	c, err := f.fakeFactory.New(name, cfg, deps)
	if err != nil {
		return nil, err
	}
	return &lively{c.(*fake), cfg}, nil
}

func (l *lively) Update(cfg map[string]any) bool {
	if cfg["live"] == "panic" {
		panic("boom")
	}
	a, b := maps.Clone(l.was), maps.Clone(cfg)
	delete(a, "live")
	delete(b, "live")
	if !maps.Equal(a, b) {
		return false
	}
	l.was = cfg
	return true
}

// TestManagerUpdates changes what a connector takes over as it runs, and what it
// does not.
func TestManagerUpdates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newManagerRig(t)
		f := new(livelyFactory)
		r.m.cfg.Factories["lively"] = f
		started := func() int {
			synctest.Wait()
			live := f.live()
			if len(live) != 1 {
				t.Fatalf("%d run", len(live))
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			for i, c := range f.made {
				if c == live[0] {
					return i
				}
			}
			return -1
		}
		apply := func(cfg map[string]any) {
			t.Helper()
			if err := r.m.Apply(t.Context(), cfgs{"a": cfg}); err != nil {
				t.Fatal(err)
			}
		}
		apply(map[string]any{"kind": "lively", "live": 1.0, "x": 1.0})
		first := started()
		apply(map[string]any{"kind": "lively", "live": 2.0, "x": 1.0})
		if started() != first {
			t.Error("it was replaced for what it takes over")
		}
		for _, cfg := range []map[string]any{{"kind": "lively", "live": 2.0, "x": 2.0}, {"kind": "lively", "live": "panic", "x": 2.0}} {
			apply(cfg)
			next := started()
			if next == first {
				t.Errorf("%v was not given to a new one", cfg)
			}
			first = next
		}
		err := r.m.Check(cfgs{"a": {"kind": "fake"}})
		if err == nil || !strings.Contains(err.Error(), "its kind cannot change from lively to fake") {
			t.Errorf("another kind: %v", err)
		}
		if err := r.m.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestManagerPutsBackStuck gives a connector that did not end in time a successor
// when its old configuration comes back, rather than take it for running.
func TestManagerPutsBackStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newManagerRig(t)
		old := cfgs{"a": {"kind": "fake", "do": "hang"}}
		if err := r.m.Apply(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := r.m.Apply(t.Context(), cfgs{"a": {"kind": "fake"}}); !errors.Is(err, ErrStuck) {
			t.Fatalf("Apply: %v", err)
		}
		time.Sleep(2 * time.Minute) // of synctest's time: it ends at last
		if n := len(r.factory.live()); n != 0 {
			t.Fatalf("%d run", n)
		}
		if err := r.m.Apply(context.Background(), old); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := len(r.factory.live()); n != 1 {
			t.Errorf("%d run after the old configuration came back", n)
		}
		_ = r.m.Close() // it hangs, as it is told to
		time.Sleep(2 * time.Minute)
	})
}
