package apply_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/edge-gateway/edge-gateway/pkg/apply"
	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// allPhases are the phases of a change that needs all of them.
var allPhases = []apply.State{apply.Preparing, apply.DrainEP, apply.RestartDrv, apply.ReloadMap, apply.Verifying,
	apply.Committing}

// TestErrorAtEveryPhase injects an error at every phase, on the way from each of two
// snapshots to the other, and then one at every operation of the rollback. The state,
// the history of phases and what runs at the end are those of the snapshot before.
func TestErrorAtEveryPhase(t *testing.T) {
	first, second := mixed()
	for name, way := range map[string][2]*config.Snapshot{"there": {first, second}, "back": {second, first}} {
		for i, state := range allPhases {
			if state == apply.Verifying {
				continue // its errors are those of TestCanceledAtEveryPhase: it calls nothing
			}
			t.Run(name+"/"+state.String(), func(t *testing.T) { errorAt(t, way[0], way[1], state, allPhases[:i+1]) })
		}
	}
}

// errorAt has every call in a phase fail, one after the other, and then every call of the
// rollback from there.
func errorAt(t *testing.T, old, next *config.Snapshot, state apply.State, passed []apply.State) {
	for n := 0; ; n++ {
		r := newRig(t, apply.VerifyConnect)
		r.boot(old)
		failed := failNth(r, state, n)
		res := r.Apply(ctx, next, false)
		if *failed == "" {
			if n == 0 {
				t.Fatal("nothing is called in this phase")
			}
			r.expect(res, apply.Applied, next)
			return
		}
		want, history := apply.RolledBack, append(slices.Clone(passed), apply.RollingBack)
		if state == apply.Preparing {
			want, history = apply.Rejected, passed
		}
		r.expect(res, want, old)
		var phases []apply.State
		for _, p := range res.Phases {
			phases = append(phases, p.State)
		}
		if res.FailedIn != state || !errors.Is(res.Err, errTest) {
			t.Errorf("%s: failed in %s with %v", *failed, res.FailedIn, res.Err)
		}
		if !slices.Equal(phases, history) || !slices.Equal(r.progress, history) {
			t.Errorf("%s: phases %v, progress %v, want %v", *failed, phases, r.progress, history)
		}
		r.fail, r.progress = nil, nil
		r.expect(r.Apply(ctx, next, false), apply.Applied, next)
		if want == apply.RolledBack {
			errorsOnTheWayBack(t, old, next, state, n, history)
		}
	}
}

// errorsOnTheWayBack has each call of the rollback fail after the n-th call of a phase has.
func errorsOnTheWayBack(t *testing.T, old, next *config.Snapshot, state apply.State, n int, history []apply.State) {
	for k := 0; ; k++ {
		r := newRig(t, apply.VerifyConnect)
		r.boot(old)
		failNth(r, state, n)
		there := r.fail
		failed := failNth(r, apply.RollingBack, k)
		back := r.fail
		r.fail = func(ctx context.Context, call string) error { return cmp.Or(there(ctx, call), back(ctx, call)) }
		res := r.Apply(ctx, next, false)
		if *failed == "" {
			r.expect(res, apply.RolledBack, old)
			return
		}
		if res.Outcome != apply.BrokenDown || res.FailedIn != state || !slices.Equal(r.progress, history) {
			t.Errorf("%s in the rollback from %s: %s, failed in %s, progress %v", *failed, state, res.Outcome,
				res.FailedIn, r.progress)
		}
		if r.Current() != old || r.committed != old {
			t.Errorf("%s in the rollback from %s: the snapshot of before is not the last good one any more", *failed, state)
		}
		r.took()
		if res := r.Apply(ctx, next, false); !errors.Is(res.Err, apply.ErrBroken) || len(r.took()) > 0 {
			t.Errorf("a broken runner goes on: %v", res.Err)
		}
	}
}

// failNth has the n-th call in a phase fail, from 0, and returns where its name is put.
func failNth(r *rig, state apply.State, n int) *string {
	failed, count := new(string), 0
	r.fail = func(_ context.Context, call string) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.progress) == 0 || r.progress[len(r.progress)-1] != state {
			return nil
		}
		if count++; count != n+1 {
			return nil
		}
		*failed = call
		return errTest
	}
	return failed
}

// TestRollbackIsTheWayBack rolls every scenario back when all of it has happened. The
// calls are those that applying the old snapshot to the new one makes: the same code,
// with the arguments swapped. Only what gives a tag away is stopped instead of told.
func TestRollbackIsTheWayBack(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	base, same := load(t, nil), 0
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if part(archive, "outcome") != "" || strings.Contains(file, "moved") || strings.HasSuffix(file, "mixed.txtar") {
			continue
		}
		next := load(t, archive)
		next.Rev = 2
		var calls [2]string
		for i, way := range [][2]*config.Snapshot{{base, next}, {next, base}} {
			r := newRig(t, apply.VerifyConnect)
			r.boot(way[0])
			watched := []apply.State{apply.DrainEP, apply.RestartDrv, apply.ReloadMap}
			if i == 0 {
				watched = []apply.State{apply.RollingBack}
			}
			var got []string
			r.fail = func(_ context.Context, call string) error {
				r.mu.Lock()
				defer r.mu.Unlock()
				if slices.Contains(watched, r.progress[len(r.progress)-1]) {
					got = append(got, call)
				}
				if call == "commit" && i == 0 {
					return errTest
				}
				return nil
			}
			r.Apply(ctx, way[1], false)
			calls[i] = fmt.Sprint(ordered(got))
		}
		if calls[0] != calls[1] {
			t.Errorf("%s: the rollback calls\n%s, the way back\n%s", file, calls[0], calls[1])
		}
		if calls[0] != "[]" {
			same++
		}
	}
	if same < 8 {
		t.Errorf("%d scenarios are compared", same)
	}
}
