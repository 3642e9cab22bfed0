package center

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

func TestWatch(t *testing.T) {
	endpoint := startEtcd(t)
	s := openStore(t, endpoint)
	doc := docOf(t, 2, "a")
	mustPush(t, s, doc)
	events := make(chan Event, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Watch(ctx, func(e Event) error { events <- e; return nil }) }()
	next := func(kind EventKind, fits func(Event) bool) {
		t.Helper()
		for {
			select {
			case e := <-events:
				if e.Kind == kind && fits(e) {
					return
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("no event %s that fits", kind)
			}
		}
	}
	next(EventCommit, func(e Event) bool { return e.Commit.SHA256 == doc.SHA256() })
	g := startGateway(t, endpoint, "gw")
	next(EventOnline, func(e Event) bool { return e.Gateway.Gateway == "gw" && e.Gateway.Online })
	next(EventStatus, func(e Event) bool { return e.Gateway.State == Applied && e.Gateway.Online })
	doc = docOf(t, 2, "b")
	c := mustPush(t, s, doc)
	next(EventCommit, func(e Event) bool { return e.Commit.Rev == c.Rev && e.Rev == c.Rev })
	next(EventStatus, func(e Event) bool { return e.Gateway.Rev == c.Rev })
	g.stop()
	next(EventOffline, func(e Event) bool { return !e.Gateway.Online })
	if err := s.Forget(t.Context(), "gw"); err != nil {
		t.Fatal(err)
	}
	next(EventForgotten, func(e Event) bool { return e.Gateway.Gateway == "gw" })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Watch: %v", err)
	}
}

func TestWaitApplied(t *testing.T) {
	endpoint := startEtcd(t)
	s := openStore(t, endpoint)
	wait := func(c Commit) error {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		return s.WaitApplied(ctx, c, Whom{}, nil)
	}
	doc := docOf(t, 2, "a")
	if err := wait(mustPush(t, s, doc)); err != nil {
		t.Errorf("nobody to wait for: %v", err)
	}
	g := startGateway(t, endpoint, "gw", func(c *FollowerConfig) { c.Rollback = RollbackLocal })
	eventually(t, "applied", g.runs(doc))
	if err := wait(mustPush(t, s, docOf(t, 2, "b"))); err != nil {
		t.Errorf("one gateway: %v", err)
	}
	g.decide(func(*config.Snapshot) Outcome { return Outcome{State: Rejected, Err: errors.New("no")} })
	c := mustPush(t, s, docOf(t, 2, "c"))
	var not *NotAppliedError
	if err := wait(c); !errors.As(err, &not) || len(not.Failed) != 1 || not.Failed[0].Error != "no" {
		t.Errorf("a gateway that rejects: %v", err)
	}
	mustPush(t, s, docOf(t, 2, "d"))
	if err := wait(c); !errors.As(err, &not) || not.Replaced == nil {
		t.Errorf("a commit that was replaced: %v", err)
	}
	g.decide(func(*config.Snapshot) Outcome { time.Sleep(time.Second); return Outcome{State: Applied} }) // longer than the wait below
	c = mustPush(t, s, docOf(t, 2, "e"))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := s.WaitApplied(ctx, c, Whom{}, nil); !errors.As(err, &not) || len(not.Missing) != 1 {
		t.Errorf("a gateway that takes its time: %v", err)
	}
}
