package apply

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// slowPlant verifies for as long as it is told to.
type slowPlant struct{ verify time.Duration }

func (p slowPlant) Prepare(context.Context, *config.Snapshot, *config.Snapshot) (Change, error) {
	return p, nil
}
func (p slowPlant) Needs() Needs                   { return Needs{} }
func (p slowPlant) Impact() string                 { return "" }
func (p slowPlant) Drain(context.Context) error    { return nil }
func (p slowPlant) Restart(context.Context) error  { return nil }
func (p slowPlant) Reload(context.Context) error   { return nil }
func (p slowPlant) Commit(context.Context) error   { return nil }
func (p slowPlant) Rollback(context.Context) error { return nil }
func (p slowPlant) Verify(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(p.verify):
		return nil
	}
}

// TestNewerEndsABadVerify: with something newer waiting, a verify has a second; one that
// is nearly done is let finish, and without anything newer it has all its time.
func TestNewerEndsABadVerify(t *testing.T) {
	for _, tt := range []struct {
		name   string
		verify time.Duration
		newer  uint64 // comes after 100 ms
		want   Outcome
		took   time.Duration // at most
	}{
		{"bad", time.Hour, 9, RolledBack, 1100 * time.Millisecond},
		{"nearly done", 800 * time.Millisecond, 9, Applied, 900 * time.Millisecond},
		{"itself", 5 * time.Second, 7, Applied, 6 * time.Second},
		{"nothing newer", time.Hour, 0, RolledBack, 31 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				metrics, err := NewMetrics(prometheus.NewRegistry())
				if err != nil {
					t.Fatal(err)
				}
				r := NewRunner(RunnerConfig{Plant: slowPlant{tt.verify}, Timeouts: Timeouts{Phase: time.Second, Verify: 30 * time.Second},
					Log: slog.New(slog.DiscardHandler), Metrics: metrics})
				r.Newer(6) // of an apply before
				time.AfterFunc(100*time.Millisecond, func() { r.Newer(tt.newer) })
				began := time.Now()
				res := r.Apply(t.Context(), &config.Snapshot{Rev: 7, Author: "ann", Message: "why"}, false)
				if res.Author != "ann" || res.Message != "why" {
					t.Errorf("the release is by %q: %q", res.Author, res.Message)
				}
				if took := time.Since(began); res.Outcome != tt.want || took > tt.took {
					t.Errorf("%s after %s (%v), expected %s within %s", res.Outcome, took, res.Err, tt.want, tt.took)
				}
				if tt.name == "bad" && !errors.Is(res.Err, errNewer) {
					t.Errorf("the reason is %v", res.Err)
				}
			})
		})
	}
}
