package feed

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// endpoints is the text of a table with n endpoints; host is that of the first.
func endpoints(host string, n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "e: {scheme: tcp, host: %s}\n", host)
	for i := 1; i < n; i++ {
		fmt.Fprintf(&b, "e%d: {scheme: tcp, host: 10.1.0.%d}\n", i, i)
	}
	return b.String()
}

// put writes the endpoints, and nothing else; the file's time stays.
func (r *rig) put(text string) {
	r.t.Helper()
	path := filepath.Join(r.dir, "endpoints.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Chtimes(path, time.Unix(1e9, 0), time.Unix(1e9, 0)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) allow() {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, AllowDeleteFile), nil, 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// TestRemovalNeedsIntent: a table that is emptied, or loses most of its items, is refused
// with counts until a person says that it is meant, at a start too.
func TestRemovalNeedsIntent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.put(endpoints("10.0.0.1", 10))
		r.start()
		wait := func() { time.Sleep(10 * time.Second); synctest.Wait() }
		tries := func(n int) {
			t.Helper()
			if len(r.applied) != n {
				t.Errorf("applied %d times, expected %d: %v", len(r.applied), n, r.applied)
			}
		}
		for _, text := range []string{"", "# nothing\n", "{}\n", endpoints("10.0.0.2", 4)} {
			r.put(text)
			wait()
			st := r.feed.Status()
			if st.State != Rejected || !strings.Contains(st.Error, "of 10 endpoints") || !strings.Contains(st.Error, AllowDeleteFile) {
				t.Errorf("%q: %+v", text, st)
			}
		}
		tries(1)
		if err := r.feed.Reload(t.Context()); err == nil {
			t.Error("a reload by hand removed them")
		}

		// At the next start, too: what ran last is remembered.
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		r.start()
		r.is(Rejected, "10.0.0.1")
		tries(2)

		r.allow()
		wait()
		r.is(Applied, "10.0.0.2")
		if _, err := os.Stat(filepath.Join(r.dir, AllowDeleteFile)); err == nil {
			t.Error("what allowed one removal allows the next")
		}
		r.put("{}\n")
		wait()
		if st := r.feed.Status(); st.State != Rejected {
			t.Errorf("the next removal: %+v", st)
		}
		r.put(endpoints("10.0.0.3", 2)) // half of them is no slip
		wait()
		r.is(Applied, "10.0.0.3")
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestSlowWriter: a file that is being written is not loaded in between, and one that was
// cut short must stay so for a while.
func TestSlowWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.put(endpoints("10.0.0.1", 10))
		r.start()
		next := endpoints("10.0.0.2", 10)
		lines := strings.SplitAfter(next, "\n")
		for n := range len(lines) - 1 { // with pauses, as over a slow link
			r.put(strings.Join(lines[:n], ""))
			time.Sleep(3 * dirPoll)
		}
		if len(r.applied) != 1 || r.refused != 0 {
			t.Errorf("half of a file was loaded: %v, refused %d", r.applied, r.refused)
		}
		r.put(next)
		r.settle()
		r.is(Applied, "10.0.0.2")

		// The same size and time, another content; then another time, the same content.
		r.put(endpoints("10.0.0.9", 10))
		time.Sleep(2 * wholeEvery * dirPoll)
		r.is(Applied, "10.0.0.9")
		tried := len(r.applied)
		later := time.Now().Add(time.Hour)
		if err := os.Chtimes(filepath.Join(r.dir, "endpoints.yml"), later, later); err != nil {
			t.Fatal(err)
		}
		r.settle()
		if len(r.applied) != tried {
			t.Error("a file that says the same was loaded again")
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}
