package driver_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/edge-gateway/edge-gateway/pkg/driver"
)

// Ask implements driver.Asker: a stub probes over its connection, and does nothing else.
func (d diagnoser) Ask(_ context.Context, ability string, _ driver.Args, _ func(driver.Event) error) (driver.Report, error) {
	if ability != driver.AbilityProbe {
		return driver.Report{}, fmt.Errorf("%s: %w", ability, errors.ErrUnsupported)
	}
	return driver.Report{Hints: []string{d.cfg.ID}}, nil
}

// A device is asked over the connection of a driver that runs there, if there is one.
func TestAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, &stubFactory{diag: true})
		r.mustStart("a", "1")
		r.mustStart("b", "1")
		r.expectState("a", driver.Running)
		r.expectState("b", driver.Running)
		ask := func(endpoint, proto, ability, want string) {
			t.Helper()
			got, err := r.Ask(ctx, endpoint, proto, ability, driver.Args{}, nil)
			if want == "" && !errors.Is(err, errors.ErrUnsupported) || want != "" && (err != nil || got.Hints[0] != want) {
				t.Errorf("%+v, %v; want %q", got, err, want)
			}
		}
		ask("e", "stub", driver.AbilityProbe, "a")
		ask("e", "stub", driver.AbilityScan, "")
		ask("e", "other", driver.AbilityProbe, "")
		ask("f", "stub", driver.AbilityProbe, "")
		if err := r.Pause(ctx, "a"); err != nil {
			t.Error(err)
		}
		ask("e", "stub", driver.AbilityProbe, "b")
		if err := r.Pause(ctx, "b"); err != nil {
			t.Error(err)
		}
		ask("e", "stub", driver.AbilityProbe, "")
		r.close()
	})
}
