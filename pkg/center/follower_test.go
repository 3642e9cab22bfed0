package center

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/logtest"
	"github.com/edge-gateway/edge-gateway/test/faults"
)

// gateway is a follower whose applier is the test's.
type gateway struct {
	*Follower
	mu        sync.Mutex
	snaps     []*config.Snapshot // applied, in order
	invalid   int
	rollbacks []Rollback
	outcome   func(*config.Snapshot) Outcome
	err       error // of Run, after stop
	stop      func()
}

// decide sets what becomes of the snapshots from now on.
func (g *gateway) decide(outcome func(*config.Snapshot) Outcome) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.outcome = outcome
}

func (g *gateway) last() *config.Snapshot {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.snaps) == 0 {
		return nil
	}
	return g.snaps[len(g.snaps)-1]
}

func (g *gateway) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.snaps)
}

// runs reports whether the gateway runs doc and says so.
func (g *gateway) runs(doc *config.Document) func() bool {
	return func() bool {
		s := g.last()
		return s != nil && s.SHA256 == doc.SHA256() && g.View().State == Applied && g.View().SHA256 == doc.SHA256()
	}
}

// startGateway runs a follower named name until the test ends or stop is called.
func startGateway(t testing.TB, endpoint, name string, change ...func(*FollowerConfig)) *gateway {
	t.Helper()
	g := &gateway{outcome: func(*config.Snapshot) Outcome { return Outcome{State: Applied} }}
	cfg := FollowerConfig{
		Store:    Config{Endpoints: []string{endpoint}},
		Gateway:  name,
		Instance: "instance-of-" + name, Version: "1.0", Host: "host",
		CacheFile:  filepath.Join(t.TempDir(), "config.cache"),
		OnInvalid:  func(int64, error) { g.mu.Lock(); g.invalid++; g.mu.Unlock() },
		OnRollback: func(r Rollback) { g.mu.Lock(); g.rollbacks = append(g.rollbacks, r); g.mu.Unlock() },
		Apply: func(_ context.Context, snap *config.Snapshot) Outcome {
			g.mu.Lock()
			outcome := g.outcome
			g.mu.Unlock()
			out := outcome(snap)
			if out.State == Applied {
				g.mu.Lock()
				g.snaps = append(g.snaps, snap)
				g.mu.Unlock()
			}
			return out
		},
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	for _, c := range change {
		c(&cfg)
	}
	f, err := NewFollower(cfg)
	if err != nil {
		t.Fatal(err)
	}
	g.Follower = f
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); g.err = f.Run(ctx) }()
	g.stop = func() { cancel(); <-done }
	t.Cleanup(g.stop)
	return g
}

func TestFollow(t *testing.T) {
	endpoint := startEtcd(t)
	s := openStore(t, endpoint)
	g := startGateway(t, endpoint, "gw-1")
	eventually(t, "the gateway is registered", func() bool {
		all, err := s.Gateways(t.Context())
		return err == nil && len(all) == 1 && all[0].Online
	})

	doc := docOf(t, 50, "a")
	c := mustPush(t, s, doc)
	eventually(t, "the first push is applied", g.runs(doc))
	first := g.last()
	if len(first.Variables) != 50 || first.Rev != uint64(c.Rev) || first.Endpoints["plc"].Port != 502 || first.Drivers["drv"].EndpointID != "plc" {
		t.Errorf("snapshot: %+v", first)
	}

	// A small change comes with the commit record; what didn't change is shared.
	doc = with(t, doc, config.Variables, variable(7, "b"))
	c = mustPush(t, s, doc)
	if c.Delta == nil {
		t.Error("a small push has no delta")
	}
	eventually(t, "the second push is applied", g.runs(doc))
	full, err := mustLoad(t, s).Snapshot(nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := config.Diff(full, g.last()); !d.Empty() {
		t.Errorf("the snapshot made with the delta differs from the one loaded: %+v", d)
	}
	if got := config.Diff(first, g.last()).Variables.Changed; len(got) != 1 || got[0].ID != variable(7, "").ID {
		t.Errorf("changed: %v", got)
	}

	eventually(t, "the status tells", func() bool {
		all, err := s.Gateways(t.Context())
		if err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		done, ok := all[0].Settled(c)
		return done && ok && all[0].State == Applied && all[0].Version == "1.0"
	})
	g.stop()
	if g.err != nil {
		t.Errorf("Run: %v", g.err)
	}
	all, err := s.Gateways(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	if state, _ := all[0].Shown(); state != Offline || all[0].Rev != c.Rev {
		t.Errorf("after the end: %v, %+v", state, all[0])
	}
	if err := s.Forget(t.Context(), "gw-1"); err != nil {
		t.Error(err)
	}
	if all, err := s.Gateways(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("after forget: %v, %v", all, err)
	}
}

// Without the store a gateway starts on what it ran last, and catches up later, even
// if the history in between is gone.
func TestBootFromCache(t *testing.T) {
	dir, err := os.MkdirTemp("", "e")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cache := func(c *FollowerConfig) {
		c.CacheFile = filepath.Join(dir, "cache")
		c.BootWait = 200 * time.Millisecond
	}

	endpoint, stopEtcd := startEtcdIn(t, dir)
	doc := docOf(t, 20, "a")
	mustPush(t, openStore(t, endpoint), doc)
	g := startGateway(t, endpoint, "gw", cache)
	eventually(t, "applied", g.runs(doc))
	g.stop()
	stopEtcd()

	g = startGateway(t, endpoint, "gw", cache)
	eventually(t, "started from the cache", g.runs(doc))
	if v := g.View(); v.Connected {
		t.Errorf("connected to nothing: %+v", v)
	}

	_, stopEtcd = startEtcdIn(t, dir)
	eventually(t, "connected", func() bool { return g.View().Connected })
	if g.count() != 1 {
		t.Errorf("the same configuration was applied %d times", g.count())
	}
	g.stop()

	// Off during many commits and a compaction.
	row := faults.Open(t, "etcd-compacted")
	s := openStore(t, endpoint)
	for i := range 5 {
		doc = docOf(t, 20+i, i)
		mustPush(t, s, doc)
	}
	if _, err := s.etcd.Compact(t.Context(), mustLoad(t, s).Commit.Rev); err != nil {
		t.Fatal(err)
	}
	row.Fault(1)
	back := time.Now()
	g = startGateway(t, endpoint, "gw", cache)
	eventually(t, "caught up over a compaction", g.runs(doc))
	row.Recovered(time.Since(back))
	row.Count(5, 0, 0) // the last of them runs; waiting for it in vain has ended the test
	stopEtcd()
}

// The watch survives what ends it: compaction past it, and a cluster that is older
// than what the gateway has seen.
func TestRestoredCluster(t *testing.T) {
	row := faults.Open(t, "etcd-old")
	dir, err := os.MkdirTemp("", "e")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	endpoint, stopEtcd := startEtcdIn(t, dir)
	s := openStore(t, endpoint)
	old := docOf(t, 10, "old")
	mustPush(t, s, old)
	var said logtest.Buffer
	g := startGateway(t, endpoint, "gw", func(c *FollowerConfig) {
		c.Recheck = 200 * time.Millisecond
		c.Log = slog.New(slog.NewTextHandler(&said, nil))
	})
	eventually(t, "applied", g.runs(old))
	stopEtcd()
	backup := t.TempDir()
	if err := os.CopyFS(backup, os.DirFS(filepath.Join(dir, "etcd"))); err != nil {
		t.Fatal(err)
	}

	_, stopEtcd = startEtcdIn(t, dir)
	for i := range 5 {
		mustPush(t, s, docOf(t, 10, i))
	}
	eventually(t, "applied", g.runs(docOf(t, 10, 4)))
	revBefore := g.View().Rev
	stopEtcd()
	if err := os.RemoveAll(filepath.Join(dir, "etcd")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "etcd"), os.DirFS(backup)); err != nil {
		t.Fatal(err)
	}
	startEtcdIn(t, dir)
	row.Fault(1)
	back := time.Now()
	eventually(t, "went back to the restored configuration", g.runs(old))
	row.Recovered(time.Since(back))
	if got := g.View().Rev; got >= revBefore {
		t.Errorf("rev %d after the restore, %d before", got, revBefore)
	}
	next := docOf(t, 10, "next")
	mustPush(t, s, next)
	eventually(t, "follows the restored cluster", g.runs(next))
	row.Count(3, 0, 0) // of each state that the store had, the gateway runs the newest commit; waiting for it in vain has ended the test
	if n := strings.Count(said.String(), "the config center went back"); n != 1 {
		t.Errorf("the log tells %d times that the store went back, expected once:\n%s", n, said.String())
	}
}

// A store that lost everything gets it back from the gateway.
func TestSeed(t *testing.T) {
	snap := config.NewSnapshot(map[string]config.Endpoint{"e": {Scheme: "tcp", Host: "h", Port: 1}}, nil, nil, nil)
	doc := snap.Document()
	if doc.SHA256() != snap.SHA256 {
		t.Fatalf("the document has the hash %s, the snapshot %s", doc.SHA256(), snap.SHA256)
	}
	seed := func(c *FollowerConfig) { c.Seed = func() (*config.Snapshot, error) { return snap, nil } }
	endpoint := startEtcd(t)
	s := openStore(t, endpoint)
	a := startGateway(t, endpoint, "a", seed)
	b := startGateway(t, endpoint, "b", seed)
	eventually(t, "both run the seed", func() bool { return a.runs(doc)() && b.runs(doc)() })
	if log, err := s.Log(t.Context(), 0); err != nil || len(log) != 1 || !strings.Contains(log[0].Message, "seeded") {
		t.Errorf("log: %v, %v", log, err)
	}
	later := docOf(t, 3, "x")
	mustPush(t, s, later)
	eventually(t, "both run the push", func() bool { return a.runs(later)() && b.runs(later)() })
	b.stop()

	other := startEtcd(t) // a new, empty store
	cacheOfB := b.cfg.CacheFile
	b = startGateway(t, other, "b", seed, func(c *FollowerConfig) { c.CacheFile = cacheOfB })
	eventually(t, "the empty store was filled", func() bool {
		head, err := openStore(t, other).Head(t.Context())
		return err == nil && head.SHA256 == later.SHA256()
	})
	eventually(t, "and is followed", b.runs(later))
}

// A gateway whose seed directory doesn't exist waits for the first push, and
// follows a store that is filled already.
func TestSeedOfNothing(t *testing.T) {
	nothing := func(c *FollowerConfig) { c.Seed = func() (*config.Snapshot, error) { return nil, nil } }
	endpoint := startEtcd(t)
	s := openStore(t, endpoint)
	a := startGateway(t, endpoint, "a", nothing)
	eventually(t, "the gateway follows", func() bool { return a.View().Connected })
	if head, err := s.Head(t.Context()); err != nil || !head.None() {
		t.Errorf("head %v, %v; want an empty store", head, err)
	}
	doc := docOf(t, 3, "x")
	mustPush(t, s, doc)
	b := startGateway(t, endpoint, "b", nothing)
	eventually(t, "both run the push", func() bool { return a.runs(doc)() && b.runs(doc)() })
}

func TestRollback(t *testing.T) {
	bad := errors.New("driver drv did not start")
	refuse := func(state State) func(*config.Snapshot) Outcome {
		return func(s *config.Snapshot) Outcome {
			if len(s.Variables) > 0 && s.Variables[0].Unit == "bad" {
				return Outcome{State: state, Err: bad}
			}
			return Outcome{State: Applied}
		}
	}
	for _, tc := range []struct {
		policy   Policy
		outcome  State
		gateways int
		want     State // of the first gateway
	}{
		{RollbackAuto, Rejected, 1, RolledBack},
		{RollbackAuto, RolledBack, 1, RolledBack},
		{RollbackAuto, Rejected, 2, Rejected},
		{RollbackAuto, RolledBack, 2, Pinned},
		{RollbackLocal, RolledBack, 1, Pinned},
		{RollbackCenter, RolledBack, 2, RolledBack},
		{RollbackCenter, Failed, 1, Failed},
	} {
		t.Run(fmt.Sprintf("%s %s %d", tc.policy, tc.outcome, tc.gateways), func(t *testing.T) {
			endpoint := startEtcd(t)
			s := openStore(t, endpoint)
			good, broken := docOf(t, 5, "good"), docOf(t, 5, "bad")
			mustPush(t, s, good)
			policy := func(c *FollowerConfig) { c.Rollback = tc.policy }
			var all []*gateway
			for i := range tc.gateways {
				g := startGateway(t, endpoint, fmt.Sprint("gw", i), policy)
				if i == 0 {
					g.decide(refuse(tc.outcome))
				}
				all = append(all, g)
				eventually(t, "applied", g.runs(good))
				eventually(t, "registered", func() bool {
					list, err := s.Gateways(t.Context())
					return err == nil && len(list) == i+1
				})
			}
			g := all[0]
			c := mustPush(t, s, broken)
			eventually(t, "the state "+string(tc.want), func() bool { return g.View().State == tc.want })
			head, err := s.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if tc.want == RolledBack {
				if head.SHA256 != good.SHA256() || head.BaseRev != c.Rev || !strings.Contains(head.Message, bad.Error()) {
					t.Errorf("head: %+v", head)
				}
				eventually(t, "everyone is back", func() bool {
					for _, g := range all {
						if v := g.View(); v.Rev != head.Rev || v.SHA256 != good.SHA256() {
							return false
						}
					}
					return true
				})
				g.mu.Lock()
				if len(g.rollbacks) != 1 || g.rollbacks[0].RevBad != c.Rev || g.rollbacks[0].State != tc.outcome {
					t.Errorf("rollbacks: %+v", g.rollbacks)
				}
				g.mu.Unlock()
				return
			}
			if head.Rev != c.Rev {
				t.Errorf("the store was put back: %+v", head)
			}
			running := good.SHA256()
			if tc.want == Failed {
				running = ""
			}
			if v := g.View(); v.SHA256 != running || v.Target != c.Rev || !strings.Contains(v.Error, bad.Error()) {
				t.Errorf("view: %+v", v)
			}
			// A restart stays where it was, without trying again; a retry tries.
			g.stop()
			g = startGateway(t, endpoint, "gw0", policy, func(c *FollowerConfig) { c.CacheFile = g.cfg.CacheFile })
			if tc.want == Failed { // the process before could not; this one runs, and puts the store back
				eventually(t, "the restart has put the store back", func() bool {
					head, err := s.Head(t.Context())
					return err == nil && head.SHA256 == good.SHA256() && g.View().State == RolledBack && g.count() == 1
				})
				return
			}
			eventually(t, "the verdict is remembered", func() bool { v := g.View(); return v.Connected && v.State == tc.want && v.Rev != 0 })
			if g.count() != 1 {
				t.Errorf("the restart applied %d configurations", g.count())
			}
			if err := s.Retry(t.Context(), "gw0"); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the retry is applied", g.runs(broken))
		})
	}
}

// A commit that isn't a snapshot is refused before the applier sees it.
func TestInvalidCommit(t *testing.T) {
	endpoint := startEtcd(t)
	s := openStore(t, endpoint)
	good := docOf(t, 5, "good")
	mustPush(t, s, good)
	g := startGateway(t, endpoint, "gw")
	eventually(t, "applied", g.runs(good))
	mustPush(t, s, with(t, good, config.Variables, config.Item{ID: "nonsense", JSON: []byte(`{"tag":"nonsense","colour":"red"}`)}))
	eventually(t, "rolled back", func() bool { return g.View().State == RolledBack })
	if v := g.View(); !strings.Contains(v.Error, "colour") {
		t.Errorf("error: %s", v.Error)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.invalid != 1 || len(g.snaps) != 1 {
		t.Errorf("invalid %d, applied %d", g.invalid, len(g.snaps))
	}
}

func TestClaim(t *testing.T) {
	endpoint := startEtcd(t)
	s := openStore(t, endpoint)
	registered := func(online bool) func() bool {
		return func() bool {
			all, err := s.Gateways(t.Context())
			return err == nil && len(all) == 1 && all[0].Online == online
		}
	}
	ended := func(g *gateway) error {
		eventually(t, "Run has returned", func() bool { v := g.View(); return v.Err != nil })
		g.stop()
		return g.err
	}
	g := startGateway(t, endpoint, "gw")
	eventually(t, "registered", registered(true))

	var claimed *ClaimedError
	second := startGateway(t, endpoint, "gw", func(c *FollowerConfig) { c.Instance = "another" })
	if err := ended(second); !errors.As(err, &claimed) || !claimed.Alive || claimed.Host != "host" {
		t.Errorf("a second instance: %v", err)
	}
	if err := s.Forget(t.Context(), "gw"); err == nil {
		t.Error("a running gateway was forgotten")
	}
	g.stop()
	eventually(t, "gone", registered(false))
	second = startGateway(t, endpoint, "gw", func(c *FollowerConfig) { c.Instance = "another" })
	if err := ended(second); !errors.As(err, &claimed) || claimed.Alive || !strings.Contains(err.Error(), "edge-cfg forget gw") {
		t.Errorf("a second instance after the first: %v", err)
	}
	if err := s.Forget(t.Context(), "gw"); err != nil {
		t.Fatal(err)
	}
	second = startGateway(t, endpoint, "gw", func(c *FollowerConfig) { c.Instance = "another" })
	eventually(t, "the second registered", registered(true))
	second.stop()

	// A copy of the data directory on another machine has to wait for a lease
	// that never ends.
	me := presence{Instance: "another", Boot: "of another machine", Host: "twin"}
	ctx := t.Context()
	lease, err := s.register(ctx, me, second.View().Status, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.register(ctx, second.me, second.View().Status, time.Minute); !errors.Is(err, errWait) {
		t.Errorf("a twin registered: %v", err)
	}
	if _, err := s.etcd.Revoke(ctx, lease); err != nil {
		t.Fatal(err)
	}
	if _, err := s.register(ctx, second.me, second.View().Status, time.Minute); err != nil {
		t.Errorf("after the twin: %v", err)
	}
	if err := s.putStatus(ctx, lease, second.View().Status); !errors.Is(err, errTaken) {
		t.Errorf("a status was written without a lease: %v", err)
	}
	if err := s.Retry(ctx, "nobody"); err == nil {
		t.Error("a gateway that never was is told to retry")
	}
}

// While one apply runs, only the newest commit waits.
func TestBurst(t *testing.T) {
	endpoint := startEtcd(t)
	s := openStore(t, endpoint)
	doc := docOf(t, 5, "first")
	mustPush(t, s, doc)
	g := startGateway(t, endpoint, "gw")
	enter, leave := make(chan struct{}), make(chan struct{})
	eventually(t, "applied", g.runs(doc))
	g.decide(func(*config.Snapshot) Outcome {
		select {
		case enter <- struct{}{}:
			<-leave
		case <-t.Context().Done():
		}
		return Outcome{State: Applied}
	})
	mustPush(t, s, docOf(t, 5, "second"))
	<-enter
	for i := range 20 {
		doc = with(t, doc, config.Variables, variable(i, "burst"))
		mustPush(t, s, doc)
	}
	// The commits have to arrive before the apply ends, or they aren't a burst. The
	// status is written by the goroutine that has seen them before.
	eventually(t, "the session is through with them", func() bool {
		all, err := s.Gateways(t.Context())
		return err == nil && len(all) == 1 && all[0].State == Applying
	})
	leave <- struct{}{}
	go func() { // the last may come in two parts
		for {
			select {
			case <-enter:
				leave <- struct{}{}
			case <-t.Context().Done():
				return
			}
		}
	}()
	eventually(t, "the last is applied", func() bool { return g.View().SHA256 == doc.SHA256() && g.View().State == Applied })
	if n := g.count(); n > 4 { // first, second and last, perhaps in two parts
		t.Errorf("%d applies of 22 commits", n)
	}
}

// No decision depends on the clocks: commits are in etcd's order, whatever times
// their writers and readers believe in.
func TestClockJumps(t *testing.T) {
	endpoint := startEtcd(t)
	var mu sync.Mutex
	now := time.Now()
	jumping := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(-1000 * time.Hour)
		if now.Year() < 2000 {
			now = now.AddDate(80, 0, 0)
		}
		return now
	}
	s := openStore(t, endpoint, func(c *Config) { c.Now = jumping })
	g := startGateway(t, endpoint, "gw", func(c *FollowerConfig) { c.Store.Now = jumping })
	for i := range 10 {
		doc := docOf(t, 3+i, i)
		mustPush(t, s, doc)
		eventually(t, "applied", g.runs(doc))
	}
	log, err := s.Log(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range log {
		if c.Release != uint64(10-i) {
			t.Errorf("entry %d is release %d", i, c.Release)
		}
	}
	eventually(t, "the gateway is online all the time", func() bool {
		all, err := s.Gateways(t.Context())
		return err == nil && len(all) == 1 && all[0].Online && all[0].Rev == log[0].Rev
	})
}
