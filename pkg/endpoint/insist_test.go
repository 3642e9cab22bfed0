package endpoint

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"
)

// TestInsist: who asks for a person dials at once while the others back off, is told
// what this dial met, and leaves the others' back-off as it is.
func TestInsist(t *testing.T) {
	simulate(t, func(t *testing.T, pl *plant, p *Pool) {
		h := mustOpen(t, p, "line", mustParse(t, "tcp://a:1"))
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		driver, person := h.User(), h.User()
		person.Insist()
		pl.set("a:1", errors.New("no route to host"))
		for range 8 { // until the back-off is long
			if _, err := driver.Acquire(ctx); err == nil {
				t.Fatal("a connection to nowhere")
			}
			if s, _ := p.State("line"); time.Until(s.NextDial) < 5*time.Second {
				time.Sleep(time.Until(s.NextDial)) // fake
			}
		}
		before, _ := p.State("line")
		pl.set("a:1", errors.New("connection refused"))
		for range 3 {
			_, err := person.Acquire(ctx)
			down, ok := errors.AsType[*DownError](err)
			if !ok || down.Err.Error() != "connection refused" {
				t.Fatalf("asked now: %v; want what this dial met", err)
			}
		}
		if s, _ := p.State("line"); !s.NextDial.Equal(before.NextDial) {
			t.Errorf("the next dial of the others is at %s, and was at %s", s.NextDial, before.NextDial)
		}
		if _, err := driver.Acquire(ctx); err == nil {
			t.Error("the driver doesn't back off any more")
		}
		pl.set("a:1", nil)
		l, err := person.Acquire(ctx)
		if err != nil {
			t.Fatalf("the device is back: %v", err)
		}
		l.Release(nil)
		if l, err = driver.Acquire(ctx); err != nil {
			t.Fatalf("the driver has the connection that the person made: %v", err)
		}
		l.Release(nil)
	})
}

// TestInsistBlamesNobody: what a person asked in vain is not the endpoint's last error, and
// a device that hangs up on it every time is not down for that.
func TestInsistBlamesNobody(t *testing.T) {
	simulate(t, func(t *testing.T, _ *plant, p *Pool) {
		h := mustOpen(t, p, "line", mustParse(t, "tcp://a:1"))
		ask := func(u *User, outcome error) {
			t.Helper()
			l, err := u.Acquire(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			l.Release(outcome)
		}
		person := h.User()
		person.Insist()
		for range 5 { // alone at the endpoint
			ask(person, io.ErrUnexpectedEOF)
		}
		if s := wantStatus(t, p, "line", Idle); s.LastError != "" {
			t.Errorf("a person's question left %q", s.LastError)
		}
		ask(h.User(), errRefused)
		ask(person, io.ErrUnexpectedEOF)
		if s := wantStatus(t, p, "line", Idle); s.LastError != errRefused.Error() {
			t.Errorf("last error %q, want the driver's", s.LastError)
		}
	})
}

// TestDownErrorStaysTrue: the text is kept as the reason of tags. What is other after
// the next dial is told by the State.
func TestDownErrorStaysTrue(t *testing.T) {
	since := time.Date(2026, 11, 27, 14, 3, 0, 0, time.UTC)
	first := &DownError{ID: "line", Since: since, Failures: 1, Retry: since.Add(time.Second), Err: errRefused}
	later := &DownError{ID: "line", Since: since, Failures: 900, Retry: since.Add(time.Hour), Err: errRefused}
	if first.Error() != later.Error() {
		t.Errorf("%q is told after the first dial, and %q an hour later", first, later)
	}
}
