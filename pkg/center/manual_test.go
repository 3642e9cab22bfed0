package center

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/feed"
)

// refuses returns an outcome: state for configurations whose variables have the
// unit "bad", and applied for others.
func refuses(state State) func(*config.Snapshot) Outcome {
	return func(s *config.Snapshot) Outcome {
		if len(s.Variables) > 0 && s.Variables[0].Unit == "bad" {
			return Outcome{State: state, Err: errors.New("driver drv did not start")}
		}
		return Outcome{State: Applied}
	}
}

// Who watches a rollback sees "applying" and then "rolled_back", nothing between,
// and a wait for the bad commit ends with the reason.
func TestRollbackDoesNotFlap(t *testing.T) {
	for _, outcome := range []State{Rejected, RolledBack} {
		endpoint := startEtcd(t)
		s := openStore(t, endpoint)
		mustPush(t, s, docOf(t, 5, "good"))
		g := startGateway(t, endpoint, "gw")
		eventually(t, "applied", g.runs(docOf(t, 5, "good")))
		g.decide(refuses(outcome))
		var mu sync.Mutex
		var once sync.Once
		var states []State
		ctx, cancel := context.WithCancel(t.Context())
		watching, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			_ = s.watch(ctx, func(e Event) error { // ends with ctx
				mu.Lock()
				defer mu.Unlock()
				if n := len(states); e.Kind == EventStatus && (n == 0 || states[n-1] != e.Gateway.State) {
					states = append(states, e.Gateway.State)
				}
				return nil
			}, func() error { once.Do(func() { close(watching) }); return nil })
		}()
		<-watching
		c := mustPush(t, s, docOf(t, 5, "bad"))
		var not *NotAppliedError
		if err := s.WaitApplied(t.Context(), c, Whom{}, nil); !errors.As(err, &not) || len(not.Failed) != 1 || not.Failed[0].State != RolledBack ||
			strings.Count(err.Error(), "driver drv did not start") != 1 {
			t.Errorf("wait: %v", err)
		}
		cancel()
		<-done
		for _, st := range states {
			if st != Waiting && st != Applied && st != Applying && st != RolledBack {
				t.Errorf("%s: the status went through %v", outcome, states)
			}
		}
		g.stop()
	}
}

// A wait names every gateway's reason.
func TestWaitTellsAllReasons(t *testing.T) {
	endpoint := startEtcd(t)
	s := openStore(t, endpoint)
	mustPush(t, s, docOf(t, 5, "good"))
	for _, name := range []string{"a", "b", "c"} {
		g := startGateway(t, endpoint, name)
		eventually(t, "applied", g.runs(docOf(t, 5, "good")))
		if name != "b" {
			g.decide(func(*config.Snapshot) Outcome {
				time.Sleep(100 * time.Millisecond) // one after the other, in whatever order
				return Outcome{State: Rejected, Err: errors.New("no, says " + name)}
			})
		}
	}
	eventually(t, "all are registered", func() bool {
		all, err := s.Gateways(t.Context())
		return err == nil && len(all) == 3
	})
	err := s.WaitApplied(t.Context(), mustPush(t, s, docOf(t, 5, "bad")), Whom{}, nil)
	if err == nil || !strings.Contains(err.Error(), "no, says a") || !strings.Contains(err.Error(), "no, says c") || strings.Contains(err.Error(), "; b") {
		t.Errorf("wait: %v", err)
	}
}

// A process that died between going back itself and putting the store back leaves
// that to the next one, which does not try the bad commit again.
func TestRollbackIsFinishedAfterCrash(t *testing.T) {
	endpoint := startEtcd(t)
	s := openStore(t, endpoint)
	good := docOf(t, 5, "good")
	mustPush(t, s, good)
	g := startGateway(t, endpoint, "gw", func(c *FollowerConfig) { c.Rollback = RollbackLocal })
	eventually(t, "applied", g.runs(good))
	g.decide(refuses(RolledBack))
	bad := mustPush(t, s, docOf(t, 5, "bad"))
	eventually(t, "pinned", func() bool { return g.View().State == Pinned })
	g.stop()

	cache := g.cfg.CacheFile
	g = startGateway(t, endpoint, "gw", func(c *FollowerConfig) { c.CacheFile = cache })
	eventually(t, "the store is put back", func() bool {
		head, err := s.Head(t.Context())
		return err == nil && head.SHA256 == good.SHA256() && g.View().State == RolledBack
	})
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.snaps) != 1 || len(g.rollbacks) != 1 || g.rollbacks[0].RevBad != bad.Rev || g.rollbacks[0].State != Rejected {
		t.Errorf("applied %d, rollbacks %+v", len(g.snaps), g.rollbacks)
	}
}

// A gateway that a person has put back stays there, through a restart with another
// version too, until a newer commit comes or it is told to try again.
func TestRollbackByHand(t *testing.T) {
	endpoint := startEtcd(t)
	s := openStore(t, endpoint)
	docs := []*config.Document{docOf(t, 5, "one"), docOf(t, 5, "two"), docOf(t, 5, "three")}
	g := startGateway(t, endpoint, "gw")
	var commits []Commit
	for _, doc := range docs {
		commits = append(commits, mustPush(t, s, doc))
		eventually(t, "applied", g.runs(doc))
	}
	pinned := func(doc *config.Document) func() bool {
		return func() bool {
			v := g.View()
			return g.last() != nil && g.last().SHA256 == doc.SHA256() && v.State == Pinned && v.SHA256 == doc.SHA256() && v.Target == commits[2].Rev
		}
	}
	r, err := g.Rollback(t.Context(), feed.Revision{})
	if err != nil || r.RevOld != commits[1].Rev || r.RevBad != commits[2].Rev || !pinned(docs[1])() {
		t.Fatalf("the one before: %+v, %v, %+v", r, err, g.View())
	}
	if r, err = g.Rollback(t.Context(), feed.Revision{Rev: uint64(commits[0].Rev)}); err != nil || r.RevBad != commits[1].Rev || !pinned(docs[0])() {
		t.Fatalf("rev %d: %+v, %v, %+v", commits[0].Rev, r, err, g.View())
	}
	if _, err := g.Rollback(t.Context(), feed.Revision{}); !errors.Is(err, ErrNoRelease) || !pinned(docs[0])() {
		t.Errorf("before the first: %v, %+v", err, g.View())
	}
	if head, err := s.Head(t.Context()); err != nil || head.Rev != commits[2].Rev {
		t.Errorf("the store was changed: %+v, %v", head, err)
	}
	g.stop()
	cache := g.cfg.CacheFile
	g = startGateway(t, endpoint, "gw", func(c *FollowerConfig) { c.CacheFile, c.Version = cache, "2.0" })
	eventually(t, "still there after a restart", func() bool { return g.View().Connected && pinned(docs[0])() })
	if g.count() != 1 {
		t.Errorf("the restart applied %d configurations", g.count())
	}
	if err := g.Reload(t.Context()); err != nil || !g.runs(docs[2])() {
		t.Errorf("reload: %v, %+v", err, g.View())
	}
	if _, err := g.Rollback(t.Context(), feed.Revision{Rev: uint64(commits[0].Rev)}); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Rollback(t.Context(), feed.Revision{Rev: uint64(commits[2].Rev)}); err != nil || !g.runs(docs[2])() {
		t.Errorf("to the one in force: %v, %+v", err, g.View())
	}
	if _, err := g.Rollback(t.Context(), feed.Revision{}); err != nil {
		t.Fatal(err)
	}
	next := docOf(t, 5, "four")
	mustPush(t, s, next)
	eventually(t, "a newer commit is applied", g.runs(next))
	if err := s.Retry(t.Context(), "gw"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the retry is taken", func() bool { // a later one would hide the rollback below
		resp, err := s.get(t.Context(), "look for the retry", s.keys.retry("gw"))
		return err == nil && len(resp.Kvs) == 0
	})

	g.decide(refuses(Rejected))
	mustPush(t, s, docOf(t, 5, "bad"))
	eventually(t, "rolled back", func() bool { return g.View().State == RolledBack })
	if err := g.Reload(t.Context()); err != nil {
		t.Errorf("reload of what runs: %v", err)
	}
	if _, err := g.Rollback(t.Context(), feed.Revision{Rev: 1}); !errors.Is(err, ErrNoRelease) {
		t.Errorf("rev 1: %v", err)
	}
}
