package gateway

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// process is one life of a gateway, as a trial sees it.
func process(t *testing.T, dir string) (*trial, attempt) {
	t.Helper()
	tr, left, err := openTrial(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	tr.keep = func(snap *config.Snapshot, path string) error { return os.WriteFile(path, []byte(snap.SHA256), 0o600) }
	return tr, left
}

// TestTrial walks through what a configuration and the process can do to each other.
func TestTrial(t *testing.T) {
	a, b, c := &config.Snapshot{SHA256: "a", Rev: 1}, &config.Snapshot{SHA256: "b", Rev: 2}, &config.Snapshot{SHA256: "c", Rev: 3}
	apply := func(tr *trial, s *config.Snapshot) { tr.begin(s); tr.runs(s) }
	crash := func(tr *trial) { // nothing of it runs on
		tr.mu.Lock()
		defer tr.mu.Unlock()
		if tr.timer != nil {
			tr.timer.Stop()
		}
	}
	proven := func(dir string) *trial { // a ran long enough
		tr, _ := process(t, dir)
		apply(tr, a)
		time.Sleep(2 * healthyAfter)
		return tr
	}
	for name, x := range map[string]struct {
		live    func(dir string)
		unclean int
		sha     string
		proven  string
	}{
		"nothing ran": {func(string) {}, 0, "", ""},
		"a healthy minute, then a crash": {func(dir string) {
			tr, _ := process(t, dir)
			apply(tr, a)
			time.Sleep(healthyAfter + time.Second)
			crash(tr)
		}, 0, "", "a"},
		"a crash in the minute": {func(dir string) {
			tr, _ := process(t, dir)
			apply(tr, a)
			time.Sleep(healthyAfter - time.Second)
			crash(tr)
		}, 1, "a", ""},
		"a crash within the apply": {func(dir string) {
			tr := proven(dir)
			tr.begin(b)
			crash(tr)
		}, 1, "b", "a"},
		"two crashes": {func(dir string) {
			tr := proven(dir)
			apply(tr, b)
			crash(tr)
			tr, _ = process(t, dir)
			apply(tr, a) // from the cache, first
			apply(tr, b)
			crash(tr)
		}, 1, "b", "a"},
		"two crashes, begun with it": {func(dir string) {
			tr := proven(dir)
			for range 2 {
				apply(tr, b)
				crash(tr)
				tr, _ = process(t, dir)
			}
			apply(tr, b)
			crash(tr)
		}, 3, "b", "a"},
		"a clean stop in the minute": {func(dir string) {
			tr, _ := process(t, dir)
			apply(tr, a)
			tr.end()
		}, 0, "", ""},
		"refused, then a crash": {func(dir string) {
			tr := proven(dir)
			tr.begin(b)()
			crash(tr)
		}, 0, "", "a"},
		"refused while another was being tried": {func(dir string) {
			tr := proven(dir)
			apply(tr, b)
			tr.begin(c)()
			crash(tr)
		}, 1, "b", "a"},
		"back to the proven one": {func(dir string) {
			tr := proven(dir)
			apply(tr, b)
			apply(tr, a)
			crash(tr)
		}, 0, "", "a"},
		"not kept": {func(dir string) {
			tr, _ := process(t, dir)
			tr.keep = func(*config.Snapshot, string) error { return errors.New("full") }
			apply(tr, a)
			time.Sleep(2 * healthyAfter)
			crash(tr)
		}, 1, "a", ""},
		"nonsense in the note": {func(dir string) {
			if err := os.WriteFile(filepath.Join(dir, trialFile), []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, 0, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(*testing.T) {
				x.live(dir)
				_, left := process(t, dir)
				if left.Unclean != x.unclean || left.SHA256 != x.sha || left.Proven != x.proven {
					t.Errorf("left %+v, want %d of %q, proven %q", left, x.unclean, x.sha, x.proven)
				}
			})
		})
	}
}
