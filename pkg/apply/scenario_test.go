package apply_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/edge-gateway/edge-gateway/pkg/apply"
	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// TestScenarios applies each testdata/*.txtar on testdata/base: the tables in it
// replace those of the base, "want" lists the calls by phase, and the way back must
// end where it began. Calls that run side by side are listed in the order of ids.
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
			want := ""
			for _, f := range archive.Files {
				if f.Name == "want" {
					want = string(f.Data)
				}
			}
			next := load(t, archive)
			next.Rev = 2
			r := newRig(t, apply.VerifyStrict)
			r.boot(base)
			phase := map[apply.State][]string{}
			r.fail = func(_ context.Context, call string) error {
				r.mu.Lock()
				defer r.mu.Unlock()
				state := r.progress[len(r.progress)-1]
				phase[state] = append(phase[state], call)
				return nil
			}
			r.expect(r.Apply(ctx, next, false), apply.Applied, next)
			got := ""
			for _, state := range []apply.State{apply.DrainEP, apply.RestartDrv, apply.ReloadMap} {
				if calls := phase[state]; len(calls) > 0 {
					got += state.String() + ": " + strings.Join(ordered(calls), ", ") + "\n"
				}
			}
			if got != want {
				t.Errorf("calls\n%s, want\n%s", got, want)
			}
			r.expect(r.Apply(ctx, base, false), apply.Applied, base)
		})
	}
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
			if f.Name == "want" {
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
