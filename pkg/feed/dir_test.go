package feed

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// rig is a directory that is followed by a gateway which applies what it is told to.
type rig struct {
	t       *testing.T
	dir     string
	data    string
	decide  func(*config.Snapshot) Outcome
	applied []string // hashes that were tried
	refused int
	failed  int
	backs   int
	feed    *Dir
	stop    func() error
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, dir: t.TempDir(), data: t.TempDir()}
	r.decide = func(*config.Snapshot) Outcome { return Outcome{State: Applied} }
	r.write("10.0.0.1")
	return r
}

// write changes the tables; the host tells one from the other. "" is no table.
func (r *rig) write(host string) {
	r.t.Helper()
	files := map[string]string{"endpoints.yml": "e: {scheme: tcp, host: " + host + "}\n", "drivers.yml": "{}\n", "variables.yml": "[]\n"}
	if host == "" {
		files["endpoints.yml"] = "e: [\n"
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
	later := time.Now().Add(time.Duration(len(host)) * time.Minute) // the clock of a test stands still
	if err := os.Chtimes(filepath.Join(r.dir, "endpoints.yml"), later, later); err != nil {
		r.t.Fatal(err)
	}
}

// start begins a process; stop ends it.
func (r *rig) start() {
	r.feed = NewDir(DirConfig{
		Dir: r.dir, DataDir: r.data, Log: slog.New(slog.DiscardHandler),
		Apply: func(_ context.Context, snap *config.Snapshot, _ bool) Outcome {
			r.applied = append(r.applied, snap.Endpoints["e"].Host)
			out := r.decide(snap)
			if out.State == Applied {
				out.Err = r.feed.Keep(snap)
			}
			return out
		},
		OnRefused: func(error) { r.refused++ }, OnFailed: func(error) { r.failed++ }, OnRollback: func(uint64, uint64) { r.backs++ },
	})
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan error, 1)
	go func() { done <- r.feed.Run(ctx) }()
	r.stop = func() error { cancel(); return <-done }
	r.settle()
}

// settle lets the directory be looked at often enough.
func (r *rig) settle() {
	time.Sleep(3 * dirPoll)
	synctest.Wait()
}

func (r *rig) is(state State, runs string) {
	r.t.Helper()
	st := r.feed.Status()
	if st.State != state || len(r.applied) == 0 || r.applied[len(r.applied)-1] != runs || (st.Error == "") != (state == Applied) {
		r.t.Errorf("the state is %+v after %v, expected %s and %s", st, r.applied, state, runs)
	}
	if state == Applied && st.Running != st.Wanted {
		r.t.Errorf("applied, but %+v runs and %+v is wanted", st.Running, st.Wanted)
	}
}

// TestDirectory follows a directory through everything that happens to one.
func TestDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.start()
		r.is(Applied, "10.0.0.1")
		r.write("10.0.0.22")
		r.settle()
		r.is(Applied, "10.0.0.22")

		r.write("") // no YAML: told once, what runs goes on
		r.settle()
		r.settle()
		r.is(Rejected, "10.0.0.22")
		if r.refused != 1 {
			t.Errorf("refused %d times", r.refused)
		}
		r.decide = func(*config.Snapshot) Outcome { return Outcome{State: RolledBack, Err: errors.New("no")} }
		r.write("10.0.0.333")
		r.settle()
		r.settle()
		r.is(RolledBack, "10.0.0.333")
		if len(r.applied) != 3 {
			t.Errorf("tried %v", r.applied)
		}
		r.decide = func(*config.Snapshot) Outcome { return Outcome{State: Applied} }
		if err := r.feed.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.is(Applied, "10.0.0.333")
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		if err := r.feed.Reload(t.Context()); !errors.Is(err, ErrStopped) {
			t.Errorf("a reload after the end: %v", err)
		}
	})
}

// TestPutBackStays: what a person left stays left, through a restart, until the
// directory changes or somebody asks.
func TestPutBackStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.start()
		if err := r.feed.Rollback(t.Context(), 0); !errors.Is(err, ErrNoEarlier) {
			t.Errorf("nothing ran before: %v", err)
		}
		if err := r.feed.Rollback(t.Context(), 7); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "no revisions") {
			t.Errorf("a revision: %v", err)
		}
		r.write("10.0.0.22")
		r.settle()
		if err := r.feed.Rollback(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		r.settle()
		r.is(Pinned, "10.0.0.1")
		if st := r.feed.Status(); r.backs != 1 || st.Running == st.Wanted {
			t.Errorf("put back %d times, %+v", r.backs, st)
		}
		for range 2 {
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
			r.start()
			r.is(Pinned, "10.0.0.1")
		}
		if err := r.feed.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.is(Applied, "10.0.0.22")
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestBrokenDownIsNotTriedAgain: the process after one that could run neither runs the
// last good one.
func TestBrokenDownIsNotTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.start()
		r.decide = func(*config.Snapshot) Outcome { return Outcome{State: Failed, Err: errors.New("stuck")} }
		r.write("10.0.0.22")
		r.settle()
		if st := r.feed.Status(); r.failed != 1 || st.State != Failed || st.Running != (Revision{}) {
			t.Errorf("told %d times, %+v", r.failed, st)
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		r.decide = func(*config.Snapshot) Outcome { return Outcome{State: Applied} }
		r.start()
		r.is(Pinned, "10.0.0.1")
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestOneAtATime: whoever asks while an apply runs waits for its end; who gives up
// first has changed nothing.
func TestOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.start()
		busy := 0
		r.decide = func(*config.Snapshot) Outcome {
			if busy++; busy > 1 {
				t.Error("two applies overlap")
			}
			time.Sleep(time.Minute)
			busy--
			return Outcome{State: Applied}
		}
		results := make(chan error, 2)
		for range 2 {
			go func() { results <- r.feed.Reload(t.Context()) }()
		}
		time.Sleep(time.Second)
		if st := r.feed.Status(); st.State != Applying {
			t.Errorf("it is %s", st.State)
		}
		hasty, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.feed.Reload(hasty); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a reload that can't wait: %v", err)
		}
		for range 2 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if len(r.applied) != 3 {
			t.Errorf("applied %v", r.applied)
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestLinkRemembers: since when, and why.
func TestLinkRemembers(t *testing.T) {
	at := time.Unix(1000, 0)
	up := Link{}.Set(true, nil, at)
	down := up.Set(true, nil, at.Add(time.Minute)).Set(false, errors.New("refused"), at.Add(time.Hour))
	later := down.Set(false, errors.New("timeout"), at.Add(2*time.Hour))
	if up != (Link{true, at, ""}) || down != (Link{false, at.Add(time.Hour), "refused"}) || later != (Link{false, at.Add(time.Hour), "timeout"}) {
		t.Errorf("got %+v, %+v, %+v", up, down, later)
	}
}
