package apply_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/edge-gateway/edge-gateway/pkg/apply"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	ctx     = context.Background()
	errTest = errors.New("injected")
)

// effects returns every call, once, that applying the mixed change takes.
func effects(t *testing.T) []string {
	t.Helper()
	old, next := mixed()
	r := newRig(t, apply.VerifyConnect)
	r.boot(old)
	r.expect(r.Apply(ctx, next, false), apply.Applied, next)
	calls := r.took()
	slices.Sort(calls)
	return slices.Compact(calls)
}

// A failure at any effect, of any kind, ends with exactly the old snapshot running,
// and the next attempt works.
func TestFailureAtEveryEffect(t *testing.T) {
	kinds := map[string]func(ctx context.Context, cancel func()) error{
		"error": func(context.Context, func()) error { return errTest },
		"stuck": func(context.Context, func()) error { return fmt.Errorf("%w: %w", driver.ErrStuck, errTest) },
		"canceled": func(ctx context.Context, cancel func()) error {
			cancel()
			return fmt.Errorf("%w: %w", driver.ErrStuck, context.Canceled)
		},
		"timeout": func(ctx context.Context, _ func()) error {
			<-ctx.Done()
			return fmt.Errorf("%w: %w", driver.ErrStuck, ctx.Err())
		},
	}
	for _, call := range effects(t) {
		for kind, fault := range kinds {
			verb, _, _ := strings.Cut(call, " ")
			if kind == "timeout" && (verb == "check" || verb == "update") {
				continue // these know no context
			}
			t.Run(strings.ReplaceAll(call, " ", "_")+"/"+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { failOnce(t, call, fault) })
			})
		}
	}
}

func failOnce(t *testing.T, call string, fault func(context.Context, func()) error) {
	old, next := mixed()
	r := newRig(t, apply.VerifyConnect)
	r.boot(old)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var failed atomic.Bool
	r.fail = func(phase context.Context, c string) error {
		if c == call && !failed.Swap(true) {
			return fault(phase, cancel)
		}
		return nil
	}
	want := apply.RolledBack
	if strings.HasPrefix(call, "check") {
		want = apply.Rejected
	}
	r.expect(r.Apply(ctx, next, false), want, old)
	for _, c := range r.took() {
		if strings.HasSuffix(c, " same") || strings.HasSuffix(c, " quiet") {
			t.Errorf("%s is outside of the change", c)
		}
		if want == apply.Rejected && !strings.HasPrefix(c, "check") {
			t.Errorf("%s, though prepare failed", c)
		}
	}
	r.expect(r.Apply(context.Background(), next, false), apply.Applied, next)
}

// Two failures: any effect, and then any other in the rollback. It is broken or
// exactly the old one runs; broken, it stays.
func TestFailureInRollback(t *testing.T) {
	all := effects(t)
	broke := 0
	for _, first := range all {
		for _, second := range all {
			old, next := mixed()
			r := newRig(t, apply.VerifyConnect)
			r.boot(old)
			var failed atomic.Bool
			r.fail = func(_ context.Context, c string) error {
				if c == first && !failed.Load() {
					failed.Store(true)
					return errTest
				}
				if c == second && slices.Contains(r.progress, apply.RollingBack) {
					return errTest
				}
				return nil
			}
			res := r.Apply(ctx, next, false)
			if res.Outcome != apply.BrokenDown {
				r.expect(res, res.Outcome, old)
				continue
			}
			broke++
			if !errors.Is(res.Err, errTest) || !strings.Contains(res.Err.Error(), "the rollback failed") || res.FailedIn >= apply.RollingBack {
				t.Errorf("%s, %s: failed in %s: %v", first, second, res.FailedIn, res.Err)
			}
			r.took()
			if res := r.Apply(ctx, old, false); res.Outcome != apply.BrokenDown || !errors.Is(res.Err, apply.ErrBroken) || res.ID != 3 {
				t.Errorf("after a break-down: %+v", res)
			}
			if calls := r.took(); len(calls) > 0 {
				t.Errorf("a broken runner calls %v", calls)
			}
			if n := r.metric("cfg_rollback_total", ""); n != 1 {
				t.Errorf("%v rollbacks counted, want 1", n)
			}
		}
	}
	if broke == 0 {
		t.Error("no failure ever broke the rollback: the test tests nothing")
	}
}

// What ends the context before a phase makes that phase fail, and no effect of it
// is begun.
func TestCanceledAtEveryPhase(t *testing.T) {
	for state := apply.Preparing; state <= apply.Committing; state++ {
		t.Run(state.String(), func(t *testing.T) {
			old, next := mixed()
			r := newRig(t, apply.VerifyConnect)
			r.boot(old)
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			runner := r.onProgress(func(p apply.Progress) {
				if p.State == state {
					cancel()
				}
			})
			res := runner.Apply(ctx, next, false)
			want := apply.RolledBack
			if state == apply.Preparing {
				want = apply.Rejected
			}
			if res.Outcome != want || res.FailedIn != state || !errors.Is(res.Err, context.Canceled) {
				t.Errorf("%s in %s: %v", res.Outcome, res.FailedIn, res.Err)
			}
			if d := r.differs(old); d != "" {
				t.Error(d)
			}
		})
	}
}

// Nothing that the change has not touched yet is touched by its rollback.
func TestRollbackTouchesOnlyWhatWasTouched(t *testing.T) {
	old, next := mixed()
	r := newRig(t, apply.VerifyConnect)
	r.boot(old)
	r.fail = func(_ context.Context, c string) error {
		if c == "drain e1" {
			return errTest
		}
		return nil
	}
	r.expect(r.Apply(ctx, next, false), apply.RolledBack, old)
	for _, c := range r.took() {
		verb, id, _ := strings.Cut(c, " ")
		if verb == "check" {
			continue
		}
		if !slices.Contains([]string{"e1", "gone", "shared1", "shared2", "leaves", "removed"}, id) {
			t.Errorf("%s, though only the endpoints e1 and gone were being drained", c)
		}
	}
}

func TestPhaseTimeoutSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, next := mixed()
		r := newRig(t, apply.VerifyConnect)
		r.boot(old)
		r.fail = func(ctx context.Context, c string) error {
			if c == "drain e1" && !slices.Contains(r.progress, apply.RollingBack) {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		began := time.Now()
		res := r.Apply(ctx, next, false)
		r.expect(res, apply.RolledBack, old)
		if d := time.Since(began); d != 30*time.Second || res.Duration != d {
			t.Errorf("took %s, result says %s, want 30s", d, res.Duration)
		}
		if res.FailedIn != apply.DrainEP || !strings.Contains(res.Err.Error(), "not done within 30s") {
			t.Errorf("failed in %s: %v", res.FailedIn, res.Err)
		}
	})
}

func TestProgressAndMetrics(t *testing.T) {
	old, next := mixed()
	r := newRig(t, apply.VerifyConnect)
	r.boot(old)
	expect := func(what string, rev, ok, err, invalid, rollbacks float64) {
		t.Helper()
		got := []float64{r.metric("cfg_revision_current", ""), r.metric("cfg_apply_total", "ok"), r.metric("cfg_apply_total", "err"),
			r.metric("cfg_invalid_total", ""), r.metric("cfg_rollback_total", ""), r.metric("cfg_apply_duration_ms", "")}
		if want := []float64{rev, ok, err, invalid, rollbacks, ok + err}; !slices.Equal(got, want) {
			t.Errorf("%s: revision, ok, err, invalid, rollbacks, durations %v, want %v", what, got, want)
		}
	}
	expect("boot", 1, 1, 0, 0, 0)

	r.fail = func(_ context.Context, c string) error {
		if c == "check new" {
			return errTest
		}
		return nil
	}
	r.expect(r.Apply(ctx, next, false), apply.Rejected, old)
	expect("rejected", 1, 1, 1, 1, 0)

	var uncounted atomic.Bool
	r.fail = func(_ context.Context, c string) error {
		if slices.Contains(r.progress, apply.RollingBack) && r.metric("cfg_rollback_total", "") != 1 {
			uncounted.Store(true)
		}
		if c == "commit" {
			return errTest
		}
		return nil
	}
	r.progress = nil
	res := r.Apply(ctx, next, false)
	r.expect(res, apply.RolledBack, old)
	expect("rolled back", 1, 1, 2, 1, 1)
	if uncounted.Load() {
		t.Error("a rollback is counted when it is triggered")
	}
	all := []apply.State{apply.Preparing, apply.DrainEP, apply.RestartDrv, apply.ReloadMap, apply.Verifying, apply.Committing, apply.RollingBack}
	var phases []apply.State
	for _, p := range res.Phases {
		phases = append(phases, p.State)
	}
	if !slices.Equal(r.progress, all) || !slices.Equal(phases, all) {
		t.Errorf("progress %v, phases %v", r.progress, phases)
	}

	r.fail, r.progress = nil, nil
	r.expect(r.Apply(ctx, next, false), apply.Applied, next)
	expect("applied", 2, 2, 2, 1, 1)
	if !slices.Equal(r.progress, all[:6]) {
		t.Errorf("progress %v", r.progress)
	}
}

// Current answers while an apply runs.
func TestCurrentDoesNotWait(t *testing.T) {
	old, next := mixed()
	r := newRig(t, apply.VerifyConnect)
	r.boot(old)
	r.fail = func(context.Context, string) error {
		if r.Current() != old {
			t.Error("the new snapshot is current before it is committed")
		}
		return nil
	}
	r.expect(r.Apply(ctx, next, false), apply.Applied, next)
}

// After an error, or the end of the context, a phase begins nothing more than what
// is under way side by side, and the rollback concerns that alone.
func TestNothingMoreIsBegun(t *testing.T) {
	for name, end := range map[string]error{"error": errTest, "canceled": nil} {
		t.Run(name, func(t *testing.T) {
			s, changed := newSite().endpoint("e", "a"), newSite().endpoint("e", "a")
			for i := range 500 {
				id := fmt.Sprintf("d%03d", i)
				s.driver(id, "e", "1", id)
				changed.driver(id, "e", "1", id+"=value / 10")
			}
			old := s.rev(1)
			r := newRig(t, apply.VerifyConnect)
			r.boot(old)
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			var updates atomic.Int64
			r.fail = func(_ context.Context, c string) error {
				if strings.HasPrefix(c, "update") && updates.Add(1) == 1 {
					if end == nil {
						cancel()
					}
					return end
				}
				return nil
			}
			r.expect(r.Apply(ctx, changed.rev(2), false), apply.RolledBack, old)
			if n := updates.Load(); n > 2*32+2 {
				t.Errorf("%d updates there and back, though the first one failed", n)
			}
		})
	}
}

// One line of the log tells the whole of an apply: its id, the impact, each phase's
// time, the outcome and the reason.
func TestApplyIsLogged(t *testing.T) {
	old, next := mixed()
	f := newFake()
	metrics, err := apply.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	r := apply.NewRunner(apply.RunnerConfig{
		Plant: apply.NewPlant(apply.PlantConfig{Drivers: f, Endpoints: fakeEndpoints{f}, Settings: fakeSettings{f},
			Verify: apply.VerifyConnect, Commit: f.commit}),
		Timeouts: apply.Timeouts{Phase: time.Minute, Verify: time.Minute},
		Log:      slog.New(slog.NewTextHandler(&out, nil)), Metrics: metrics,
	})
	r.Apply(ctx, old, true)
	r.Apply(ctx, next, false)
	f.fail = func(_ context.Context, c string) error {
		if c == "drain e1" {
			return errTest
		}
		return nil
	}
	r.Apply(ctx, old, false)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines of three applies:\n%s", len(lines), out.String())
	}
	for i, want := range [][]string{
		{"apply=1", "rev=1", "outcome=applied", "impact="},
		{"apply=2", "rev=2", "outcome=applied", `impact="drain e1,gone; stop removed; start new; restart `, "DrainEP=", "RestartDrv=", "ReloadMap=", "Verifying=", "Committing="},
		{"level=WARN", "apply=3", "rev=1", "outcome=rolled_back", "RollingBack=", "failed_in=DrainEP", "error=injected"},
	} {
		for _, w := range want {
			if !strings.Contains(lines[i], w) {
				t.Errorf("apply %d: the line lacks %s:\n%s", i+1, w, lines[i])
			}
		}
	}
}
