package center_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/rollout"
)

// gatewayChild is a follower in a process of its own, which refuses the version that REFUSES
// names.
func gatewayChild() {
	f, err := center.NewFollower(center.FollowerConfig{
		Store: center.Config{Endpoints: []string{os.Getenv("ENDPOINTS")}}, Gateway: os.Getenv("NAME"), Instance: os.Getenv("NAME"),
		CacheFile: filepath.Join(os.Getenv("DIR"), "cache"), LeaseTTL: 2 * time.Second,
		Apply: func(_ context.Context, s *config.Snapshot) center.Outcome {
			if len(s.Variables) > 0 && s.Variables[0].Unit == os.Getenv("REFUSES") {
				return center.Outcome{State: center.RolledBack, Err: errors.New("too bad")}
			}
			return center.Outcome{State: center.Applied}
		},
	})
	if err != nil {
		fail(err)
	}
	fmt.Println("ready")
	fail(f.Run(context.Background()))
}

// Three gateways are processes, and are killed with -9 in the middle of a rollout. A good
// change goes through all the same; a bad one halts in the first wave and returns, with
// nobody but the gateways at work.
func TestWavesKilled(t *testing.T) {
	dir := shortDir(t)
	endpoint := "unix:" + center.EmbeddedSocket(dir)
	srv, _ := child(t, "server", "DIR="+dir)
	names := []string{"lyon", "ulm", "turin"}
	running := map[string]*exec.Cmd{}
	start := func(name, refuses string) {
		home := filepath.Join(dir, name)
		if err := os.MkdirAll(home, 0o700); err != nil {
			t.Fatal(err)
		}
		running[name], _ = child(t, "gateway", "ENDPOINTS="+endpoint, "NAME="+name, "DIR="+home, "REFUSES="+refuses)
	}
	for _, name := range names {
		start(name, "3")
	}
	s := open(t, []string{endpoint}, 128)
	push := func(v int, specs ...string) {
		t.Helper()
		base, err := s.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		opts := center.PushOptions{}
		for _, text := range specs {
			spec, err := rollout.ParseSpec(text)
			if err != nil {
				t.Fatal(err)
			}
			if opts.Rollout == nil {
				opts.Rollout = &center.RolloutPlan{Poll: 100 * time.Millisecond, Bake: time.Second}
			}
			opts.Rollout.Waves = append(opts.Rollout.Waves, spec)
		}
		if _, err := s.Push(t.Context(), base, layered(20, v, names...), opts); err != nil {
			t.Fatal(err)
		}
	}
	run := func(v int, names ...string) func() bool {
		doc := layered(20, v, "lyon", "ulm", "turin")
		return func() bool {
			all, err := s.Gateways(t.Context())
			is := map[string]string{}
			for _, g := range all {
				if g.Online {
					is[g.Gateway] = g.SHA256
				}
			}
			for _, name := range names {
				if is[name] != runOf(t, doc, name).SHA256() {
					return false
				}
			}
			return err == nil
		}
	}
	state := func(want string) func() bool {
		return func() bool { r, err := s.Rollout(t.Context()); return err == nil && r.State == want }
	}
	push(1)
	until(t, "all run the first", run(1, names...))

	push(2, "1", "100%")
	until(t, "one crosses", func() bool { return run(2, "lyon")() || run(2, "ulm")() || run(2, "turin")() })
	for _, name := range names {
		kill(running[name])
	}
	kill(srv)
	srv, _ = child(t, "server", "DIR="+dir)
	for _, name := range names {
		start(name, "3")
	}
	until(t, "it is done", state("done"))
	until(t, "all run it", run(2, names...))

	push(3, "1", "100%")
	time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond) // the moment of the kill is the test
	kill(running["ulm"])
	kill(srv)
	_, _ = child(t, "server", "DIR="+dir)
	start("ulm", "3")
	until(t, "it is halted", state("halted"))
	until(t, "all run what they ran", run(2, names...))
	until(t, "who found it bad says why", func() bool {
		r, err := s.Rollout(t.Context())
		return err == nil && r.Bad == 1 && r.OK == 0 && len(r.BadBy) == 1 && r.BadBy[0].Reason == "too bad"
	})
}
