package center_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/rollout"
)

// crowd is the whole followers of a fleet, in this process, against a cluster of three.
type crowd struct {
	t     *testing.T
	c     *cluster
	s     *center.Store
	names []string
	runs  []atomic.Value  // of each: the unit that its variables have
	count [9]atomic.Int64 // of units: how many run it
	ever  [9]atomic.Int64 // how often it was applied
}

// startCrowd starts n followers. One in a hundred refuses unit 3.
func startCrowd(t *testing.T, n int) *crowd {
	t.Helper()
	f := &crowd{t: t, c: startCluster(t), runs: make([]atomic.Value, n)}
	f.s = open(t, f.c.clients[:], 128)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); wg.Wait() })
	home := cacheDir(t)
	for i := range n {
		name := fmt.Sprintf("gw-%05d", i)
		f.names = append(f.names, name)
		g, err := center.NewFollower(center.FollowerConfig{
			Store: center.Config{Endpoints: f.c.clients[:]}, Gateway: name, Instance: name, CacheFile: home + "/" + name,
			LeaseTTL: time.Minute, Apply: f.apply(i), Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if err := g.Run(ctx); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	return f
}

func (f *crowd) apply(i int) func(context.Context, *config.Snapshot) center.Outcome {
	return func(_ context.Context, s *config.Snapshot) center.Outcome {
		unit := s.Variables[0].Unit
		v, _ := strconv.Atoi(unit)
		if v == 3 && i%100 == 50 {
			return center.Outcome{State: center.RolledBack, Err: errors.New("too bad")}
		}
		f.ever[v].Add(1)
		f.count[v].Add(1)
		if was, ok := f.runs[i].Swap(unit).(string); ok {
			old, _ := strconv.Atoi(was)
			f.count[old].Add(-1)
		}
		return center.Outcome{State: center.Applied}
	}
}

// push pushes unit v, in waves if there are some.
func (f *crowd) push(v int, specs ...string) {
	f.t.Helper()
	base, err := f.s.Load(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	opts := center.PushOptions{}
	for _, text := range specs {
		spec, err := rollout.ParseSpec(text)
		if err != nil {
			f.t.Fatal(err)
		}
		if opts.Rollout == nil {
			opts.Rollout = &center.RolloutPlan{}
			if len(f.names) <= 60 {
				opts.Rollout.Poll = 300 * time.Millisecond // else as the fleet's size has it
			}
		}
		opts.Rollout.Waves = append(opts.Rollout.Waves, spec)
	}
	if _, err := f.s.Push(f.t.Context(), base, layered(20, v, f.names...), opts); err != nil {
		f.t.Fatal(err)
	}
}

// measured does something and tells how long it took, and the members' processor time.
func (f *crowd) measured(what string, do func()) {
	f.t.Helper()
	cpu := func() (sum time.Duration) {
		for _, m := range f.c.cmds {
			sum += cpuTime(f.t, m.Process.Pid)
		}
		return sum
	}
	begin, used := time.Now(), cpu()
	do()
	f.t.Logf("%s: %v, and %v of the members' processor time", what, time.Since(begin).Round(time.Millisecond), cpu()-used)
}

// until waits longer than that of one gateway: all of them share this machine.
func (f *crowd) until(what string, cond func() bool) {
	f.t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); !cond(); time.Sleep(20 * time.Millisecond) { // they are at work
		if time.Now().After(deadline) {
			f.t.Fatalf("not in five minutes: %s", what)
		}
	}
}

func (f *crowd) all(v int) func() bool {
	return func() bool { return f.count[v].Load() == int64(len(f.names)) }
}

func (f *crowd) stands(want string) func() bool {
	return func() bool { r, err := f.s.Rollout(f.t.Context()); return err == nil && r.State == want }
}

// EDGE_FLEET whole followers, each with its own connections, on three members, whose leader is
// killed: a push to all, a rollout that goes through, and one that is bad for one in a hundred.
func TestFleetInWaves(t *testing.T) {
	text := os.Getenv("EDGE_FLEET")
	if text == "" {
		t.Skip("make campaign-fleet runs it: it takes 8 s of two processors with 60 gateways")
	}
	n := atoi(text)
	f := startCrowd(t, n)
	f.measured("the first push", func() { f.push(1); f.until("all run it", f.all(1)) })
	f.measured("all are online", func() { registered(t, f.s, n) })
	f.measured("a push to all", func() { f.push(2); f.until("all run it", f.all(2)) })
	if n > 60 {
		f.measured("idle for 10 s", func() { time.Sleep(10 * time.Second) }) // it is what is measured
	}

	f.push(4, "1%", "10%", "100%")
	again := f.c.killLeader()
	f.c.start(again)
	f.measured("a good rollout, with the leader killed", func() {
		f.until("it is done", f.stands("done"))
		f.until("all run it", f.all(4))
	})
	if ever := f.ever[4].Load(); ever != int64(n) {
		t.Errorf("%d gateways applied it %d times", n, ever)
	}
	f.measured("a bad rollout", func() {
		f.push(3, "1%", "10%", "100%")
		f.until("it is halted", f.stands("halted"))
		f.until("all returned", f.all(4))
	})
	t.Logf("it ran on %d of %d gateways; etcd: %s", f.ever[3].Load(), n, memory(t, f.c.cmds[(again+1)%3].Process.Pid))
}
