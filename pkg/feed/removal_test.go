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
		// By the flag, too, and for this once.
		r.put(endpoints("10.0.0.2", 1))
		if err := r.feed.Reload(t.Context()); err == nil {
			t.Error("a reload without the flag removed them")
		}
		if err := r.feed.ReloadAllowingDelete(t.Context()); err != nil {
			t.Error(err)
		}
		if n := len(r.feed.running.Endpoints); n != 1 {
			t.Errorf("%d endpoints", n)
		}
		r.put(endpoints("10.0.0.2", 4))
		wait()
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

// part writes a file of the table's directory; "" removes it.
func (r *rig) part(name, text string) {
	r.t.Helper()
	path := filepath.Join(r.dir, "endpoints", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		r.t.Fatal(err)
	}
	err := os.Remove(path)
	if text != "" {
		err = os.WriteFile(path, []byte(text), 0o600)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// TestSeveralFiles: the files of a table are followed together, with the guards of one: a
// half-written one is waited for, an emptied one is asked about, and an item that moves
// from one to the other never stands in both.
func TestSeveralFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.put(endpoints("10.0.0.1", 2))
		press := strings.ReplaceAll(endpoints("10.2.0.1", 20), "e", "press")
		press = strings.ReplaceAll(press, "schpressmpress", "scheme")
		r.part("press.yml", press)
		r.start()
		wait := func() { time.Sleep(10 * time.Second); synctest.Wait() }
		r.is(Applied, "10.0.0.1")
		if n := len(r.feed.running.Endpoints); n != 22 {
			t.Fatalf("%d endpoints", n)
		}

		// One file changes, appears, and is cut short while it is written.
		r.part("oven.yml", "oven: {scheme: tcp, host: 10.3.0.1}\n")
		r.settle()
		if r.feed.running.Endpoints["oven"].Host != "10.3.0.1" {
			t.Error("a new file was not read")
		}
		applied := len(r.applied)
		r.part("press.yml", press[:len(press)/2])
		time.Sleep(3 * dirPoll)
		synctest.Wait()
		if len(r.applied) != applied || r.refused != 0 {
			t.Errorf("half of a file was loaded: %v", r.applied)
		}
		r.part("press.yml", strings.ReplaceAll(press, "10.2.0.1", "10.2.0.9"))
		r.settle()
		if r.feed.running.Endpoints["press"].Host != "10.2.0.9" {
			t.Error("the whole file was not read")
		}

		// Emptied, removed: most of the table goes.
		for _, text := range []string{"{}\n", ""} {
			r.part("press.yml", text)
			wait()
			if st := r.feed.Status(); st.State != Rejected || !strings.Contains(st.Error, "20 of 23 endpoints") {
				t.Errorf("%q: %+v", text, st)
			}
			if text != "" {
				continue
			}
			r.put(endpoints("10.0.0.1", 2) + press) // they have moved
			wait()
			r.is(Applied, "10.0.0.1")
			if n := len(r.feed.running.Endpoints); n != 23 {
				t.Errorf("%d endpoints", n)
			}
		}
		r.part("again.yml", "press: {scheme: tcp, host: 10.4.0.1}\n")
		wait()
		if st := r.feed.Status(); st.State != Rejected || !strings.Contains(st.Error, "again.yml") || !strings.Contains(st.Error, "endpoints.yml:3") {
			t.Errorf("an item in two files: %+v", st)
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}
