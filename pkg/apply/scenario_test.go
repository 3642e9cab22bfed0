package apply_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/edge-gateway/edge-gateway/pkg/apply"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// TestScenarios applies each testdata/*.txtar on testdata/base: the tables in it
// replace those of the base, "want" lists the calls by phase, and the way back must
// end where it began. Calls that run side by side are listed in the order of ids.
//
// One that is to fail has "outcome", with words of the reason behind it, and what
// makes it fail: "fail", a call, or "dead", a host where nobody answers.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d scenarios, %v", len(files), err)
	}
	base := load(t, nil)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) { scenario(t, base, archive) })
		})
	}
}

func scenario(t *testing.T, base *config.Snapshot, archive *txtar.Archive) {
	next := load(t, archive)
	next.Rev = 2
	r := newRig(t, apply.VerifyConnect)
	r.boot(base)
	phase := map[apply.State][]string{}
	fail := strings.TrimSpace(part(archive, "fail"))
	r.fail = func(_ context.Context, call string) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		state := r.progress[len(r.progress)-1]
		phase[state] = append(phase[state], call)
		if call == fail && state < apply.RollingBack {
			return errTest
		}
		return nil
	}
	dead := strings.TrimSpace(part(archive, "dead"))
	r.status = func(id string) driver.Status {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.runs[id].Endpoint.Host == dead && dead != "" {
			return driver.Status{State: driver.Fault, Error: "connection refused"}
		}
		return driver.Status{State: driver.Running, Polls: 1}
	}
	res := r.Apply(ctx, next, false)
	outcome, reason, fails := strings.Cut(strings.TrimSpace(part(archive, "outcome")), " ")
	if fails {
		r.expect(res, apply.Outcome(outcome), base)
		if res.Err == nil || !strings.Contains(res.Err.Error(), reason) {
			t.Errorf("reason %v, want %q", res.Err, reason)
		}
	} else {
		r.expect(res, apply.Applied, next)
	}
	got := ""
	for _, state := range []apply.State{apply.DrainEP, apply.RestartDrv, apply.ReloadMap, apply.RollingBack} {
		if calls := phase[state]; len(calls) > 0 {
			got += state.String() + ": " + strings.Join(ordered(calls), ", ") + "\n"
		}
	}
	if want := part(archive, "want"); got != want {
		t.Errorf("calls\n%s, want\n%s", got, want)
	}
	r.expect(r.Apply(ctx, base, false), apply.Applied, base)
}

// part returns a file of archive, "" if it has none of that name.
func part(archive *txtar.Archive, name string) string {
	for _, f := range archive.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

// ordered sorts each run of calls with the same verb.
func ordered(calls []string) []string {
	for i := 0; i < len(calls); {
		verb, _, _ := strings.Cut(calls[i], " ")
		j := i
		for j < len(calls) && strings.HasPrefix(calls[j], verb) {
			j++
		}
		slices.Sort(calls[i:j])
		i = j
	}
	return calls
}

// load returns the base with the tables in archive instead.
func load(t *testing.T, archive *txtar.Archive) *config.Snapshot {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/base")); err != nil {
		t.Fatal(err)
	}
	if archive != nil {
		for _, f := range archive.Files {
			if !strings.HasSuffix(f.Name, ".yml") {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	s, err := config.LoadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
