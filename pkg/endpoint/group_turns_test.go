package endpoint

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
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

// rude is a unit that never answers with sense, or one of several that take turns.
type rude struct {
	took time.Duration
	err  error
}

// driveRude tries as a driver does, with a jittered pause that doubles up to limit, until
// ctx ends or, once the unit is healthy, it is answered.
func driveRude(ctx context.Context, u *User, kind rude, limit time.Duration, healthy *atomic.Bool) {
	for pause := 250 * time.Millisecond; ctx.Err() == nil; pause = min(2*pause, limit) {
		l, err := u.Acquire(ctx)
		if err != nil {
			return
		}
		if healthy.Load() {
			l.Release(nil)
			return
		}
		time.Sleep(kind.took) // fake
		l.Release(kind.err)
		time.Sleep(time.Duration(float64(pause) * (0.8 + 0.4*rand.Float64()))) // fake
	}
}

// TestRudeUnitsOnABusyLine: beside any number of units that hang up, are silent or talk
// nonsense, those that keep the line busy for four fifths of the time get nine of ten
// turns; connections are lost at a bounded rate; and a unit that becomes healthy is
// answered within its own pause and the turns of the others.
func TestRudeUnitsOnABusyLine(t *testing.T) {
	hangUp, garbage := rude{2 * time.Millisecond, io.ErrUnexpectedEOF}, rude{5 * time.Millisecond, errors.New("rejected")}
	silent := rude{500 * time.Millisecond, os.ErrDeadlineExceeded}
	const limit = 10 * time.Second
	for name, c := range map[string]struct {
		units int
		kinds []rude
		dial  time.Duration
	}{
		"12 hang up": {12, []rude{hangUp}, time.Millisecond}, "30 hang up": {30, []rude{hangUp}, time.Millisecond},
		"30 hang up, slow to connect": {30, []rude{hangUp}, 50 * time.Millisecond}, "12 garbage": {12, []rude{garbage}, 2 * time.Millisecond},
		"12 silent": {12, []rude{silent}, time.Millisecond}, "24 of each kind": {24, []rude{hangUp, garbage, silent}, 2 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, pl *plant, p *Pool) {
				pl.delay = c.dial
				h := mustOpen(t, p, "line", mustParse(t, "tcp://a:1"))
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
				defer cancel()
				var all sync.WaitGroup
				var healthy atomic.Bool
				back := make(chan time.Time, 1)
				for i := range c.units - 1 {
					all.Go(func() { driveRude(ctx, h.User(), c.kinds[i%len(c.kinds)], limit, new(atomic.Bool)) })
				}
				all.Go(func() {
					driveRude(ctx, h.User(), c.kinds[0], limit, &healthy)
					back <- time.Now()
				})
				time.Sleep(30 * time.Second) // each rude unit was tried a few times
				pl.dialed()
				window, end := context.WithTimeout(ctx, 2*time.Minute)
				defer end()
				for range 4 {
					all.Go(func() {
						u := h.User()
						if n := poll(window, u, 100*time.Millisecond, 20*time.Millisecond, nil); n < 1080 {
							t.Errorf("a good unit got %d turns of 1200", n)
						}
						poll(ctx, u, 100*time.Millisecond, 20*time.Millisecond, nil)
					})
				}
				<-window.Done()
				if n := len(pl.dialed()); n > 4*120 {
					t.Errorf("%d connections in two minutes", n)
				}
				healed := time.Now()
				healthy.Store(true)
				each := max(breakHold, 16*(c.kinds[len(c.kinds)-1].took+2*c.dial))
				if took, bound := (<-back).Sub(healed), limit+patience+time.Duration(c.units)*each; took > bound {
					t.Errorf("a unit that had become healthy was answered after %v, expected %v at most", took, bound)
				}
				cancel()
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
