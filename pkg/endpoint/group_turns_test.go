package endpoint

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// poll acquires for u every interval, holds the lease for took and releases it with
// err, until ctx ends. It returns how often it was given a lease in time.
func poll(ctx context.Context, u *User, interval, took time.Duration, err error) (turns int) {
	for next := time.Now(); ctx.Err() == nil; {
		l, failed := u.Acquire(ctx)
		if failed == nil {
			time.Sleep(took) // fake
			l.Release(err)
			turns++
		}
		next = next.Add(interval)
		for next.Before(time.Now()) { // overrun
			next = next.Add(interval)
		}
		time.Sleep(time.Until(next))
	}
	return turns
}

// TestBadUsersBesideGood: however many users hang up or are silent, who is answered
// gets nearly all of its turns, and the endpoint is never down.
func TestBadUsersBesideGood(t *testing.T) {
	for _, c := range []struct {
		name  string
		took  time.Duration
		err   error
		every time.Duration // between the tries of a bad user
		least int           // turns of the good ones, of 60; before the first, each silent one has been tried
	}{
		{"hang up", 2 * time.Millisecond, io.ErrUnexpectedEOF, 300 * time.Millisecond, 60},
		{"silent", 500 * time.Millisecond, os.ErrDeadlineExceeded, 5 * time.Second, 53},
		{"silent, impatient", 500 * time.Millisecond, os.ErrDeadlineExceeded, 300 * time.Millisecond, 53},
		{"nonsense", 5 * time.Millisecond, errors.New("rejected"), 300 * time.Millisecond, 60},
	} {
		t.Run(c.name, func(t *testing.T) {
			simulate(t, func(t *testing.T, pl *plant, p *Pool) {
				pl.delay = 20 * time.Millisecond
				h := mustOpen(t, p, "line", mustParse(t, "tcp://a:1"))
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				var all sync.WaitGroup
				for range 12 {
					all.Go(func() { poll(ctx, h.User(), c.every, c.took, c.err) })
				}
				synctest.Wait() // they come first
				for range 2 {
					all.Go(func() {
						if n := poll(ctx, h.User(), time.Second, 5*time.Millisecond, nil); n < c.least {
							t.Errorf("%d turns in a minute", n)
						}
					})
				}
				for ctx.Err() == nil {
					time.Sleep(100 * time.Millisecond) // fake
					if s, _ := p.State("line"); s.Status == Down {
						t.Fatalf("down: %+v", s)
					}
				}
				all.Wait()
			})
		})
	}
}

// TestBadUsersGetTurns: a line that is busy with good users still lets a bad one
// try, so that it can heal.
func TestBadUsersGetTurns(t *testing.T) {
	simulate(t, func(t *testing.T, _ *plant, p *Pool) {
		h := mustOpen(t, p, "line", mustParse(t, "tcp://a:1"))
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() { poll(ctx, h.User(), time.Millisecond, 20*time.Millisecond, nil) })
		}
		all.Go(func() {
			if n := poll(ctx, h.User(), 100*time.Millisecond, 100*time.Millisecond, os.ErrDeadlineExceeded); n < 15 || n > 30 {
				t.Errorf("%d turns in a minute", n)
			}
		})
		all.Wait()
	})
}

// TestClosesOnEverybody: then the endpoint is down, with back-off, and whoever has
// not tried yet may.
func TestClosesOnEverybody(t *testing.T) {
	simulate(t, func(t *testing.T, pl *plant, p *Pool) {
		h := mustOpen(t, p, "line", mustParse(t, "tcp://a:1?backoff=1s"))
		a, b, c := h.User(), h.User(), h.User()
		for _, u := range []*User{a, b} {
			l, err := u.Acquire(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			l.Release(io.ErrUnexpectedEOF)
		}
		wantStatus(t, p, "line", Down)
		if _, err := a.Acquire(context.Background()); !errors.Is(err, ErrDown) {
			t.Errorf("%v", err)
		}
		l, err := c.Acquire(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		l.Release(nil)
		l, err = a.Acquire(context.Background())
		if err != nil {
			t.Fatalf("after somebody was answered: %v", err)
		}
		l.Release(ErrStale)
		if s := wantStatus(t, p, "line", Idle); s.LastError != io.ErrUnexpectedEOF.Error() {
			t.Errorf("%+v", s)
		}
		wantDials(t, pl, "a:1", "a:1", "a:1") // the last two leases shared one
	})
}
