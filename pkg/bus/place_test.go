package bus

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestLogMovedAway: a log whose directory is moved away takes nothing any more within a
// second, says so, and goes on without a loss when it is back. What is published
// meanwhile waits.
func TestLogMovedAway(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "log")
	b := openBus(t, testConfig(dir), Deps{})
	set := testSet("plc", 10)
	publish(t, b, batchOf(set, 10, 1))
	for _, away := range []func() (back func() error){
		func() func() error {
			must(t, os.Rename(dir, dir+".away"))
			return func() error { return os.Rename(dir+".away", dir) }
		},
		func() func() error {
			must(t, errors.Join(os.Rename(dir, dir+".away"), os.Mkdir(dir, 0o700)))
			return func() error { return errors.Join(os.Remove(dir), os.Rename(dir+".away", dir)) }
		},
		func() func() error {
			must(t, os.Rename(filepath.Join(dir, "frames"), filepath.Join(dir, "f")))
			return func() error { return os.Rename(filepath.Join(dir, "f"), filepath.Join(dir, "frames")) }
		},
	} {
		back := away()
		waitFor(t, "the problem is noticed", func() bool { return b.Problem() != nil })
		if err := b.Problem(); !errors.Is(err, ErrMoved) || !strings.Contains(err.Error(), dir) {
			t.Errorf("problem: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if err := b.Publish(ctx, batchOf(set, 10, 7)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("published into nothing: %v", err)
		}
		cancel()
		must(t, back())
		waitFor(t, "the bus goes on", func() bool { return b.Problem() == nil })
		publish(t, b, batchOf(set, 10, 2))
		if err := b.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Err(); err != nil {
		t.Error(err)
	}
}

// TestLogDeleted: a log that does not come back ends the bus, which says why and what
// is lost, not what the next write ran into.
func TestLogDeleted(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]func(dir string) error{
		"all of it": os.RemoveAll,
		"its files": func(dir string) error {
			files, err := filepath.Glob(filepath.Join(dir, "frames", "*"))
			for _, f := range files {
				err = errors.Join(err, os.Remove(f))
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "log")
			failed := make(chan error, 1)
			b, err := Open(testConfig(dir), Deps{OnFailure: func(err error) { failed <- err }, patience: time.Second})
			must(t, err)
			openReader(t, b, "mqtt")
			publish(t, b, batchOf(testSet("plc", 10), 10, 1))
			must(t, b.Sync(t.Context()))
			must(t, remove(dir))
			select {
			case err := <-failed:
				if !errors.Is(err, ErrMoved) || !errors.Is(err, ErrFailed) || name == "all of it" && !strings.Contains(err.Error(), "frames 1 to 10") {
					t.Errorf("failed with %v", err)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("nobody was told")
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
