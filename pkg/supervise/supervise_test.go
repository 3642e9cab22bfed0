package supervise_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/supervise"
)

func TestContain(t *testing.T) {
	err := supervise.Contain(func() error { panic("boom") })
	if err == nil || err.Error() != "panic: boom" || len(supervise.Stack(err)) != 2 {
		t.Errorf("%v, %v", err, supervise.Stack(err))
	}
	if plain := errors.New("x"); !errors.Is(supervise.Contain(func() error { return plain }), plain) || supervise.Stack(plain) != nil {
		t.Error("an error is not left alone")
	}
}

func TestDelay(t *testing.T) {
	for _, c := range []struct {
		base, longest time.Duration
		failures      int
		want          time.Duration // at most; at least the half
	}{
		{time.Second, time.Minute, 0, time.Second}, {time.Second, time.Minute, 1, time.Second}, {time.Second, time.Minute, 4, 8 * time.Second},
		{time.Second, time.Minute, 7, time.Minute}, {time.Second, time.Minute, math.MaxInt, time.Minute}, {time.Minute, time.Second, 1, time.Second},
		{time.Hour, math.MaxInt64, 60, math.MaxInt64}, {0, 0, 1, 0},
	} {
		for range 100 {
			if got := supervise.Delay(c.base, c.longest, c.failures); got > c.want || got < c.want/2 {
				t.Fatalf("%+v: %v", c, got)
			}
		}
	}
}

// TestLoop: pauses grow with each failure and begin anew after a part ran for long; the
// part's own failure to be renewed counts too; nothing goes on once the context ends.
func TestLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		lasts := []time.Duration{0, 0, 3 * time.Minute, 0}
		runs, renews := 0, 0
		var pauses []time.Duration
		var stopped error
		gone := errors.New("gone")
		l := supervise.Loop{
			Run: func(ctx context.Context) error {
				if runs++; runs > len(lasts) {
					cancel()
					return gone
				}
				time.Sleep(lasts[runs-1])
				return nil
			},
			Failed: func(_ error, pause time.Duration) { pauses = append(pauses, pause) },
			Renew: func() error {
				if renews++; renews == 1 {
					return gone
				}
				return nil
			},
			Stopped: func(err error) { stopped = err },
		}
		l.Do(ctx)
		want := []time.Duration{1, 2, 4, 1, 2} // the second is the failure to renew, the fourth after a long run
		if runs != 5 || !errors.Is(stopped, gone) || len(pauses) != len(want) {
			t.Fatalf("%d runs, stopped with %v, pauses %v", runs, stopped, pauses)
		}
		for i, p := range pauses {
			if most := want[i] * time.Second; p > most || p < most/2 {
				t.Errorf("pause %d is %v, want up to %v", i, p, most)
			}
		}
	})
}
