package errkind_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/errkind"
)

func TestOf(t *testing.T) {
	gone := errkind.New(errkind.NotFound, "no such thing")
	for name, c := range map[string]struct {
		err  error
		kind errkind.Kind
		exit int
	}{
		"nil":              {nil, errkind.None, 0},
		"any":              {errors.New("x"), errkind.None, 1},
		"sentinel":         {fmt.Errorf("x: %w", gone), errkind.NotFound, 1},
		"itself":           {errkind.Denied, errkind.Denied, 1},
		"canceled":         {context.Canceled, errkind.Canceled, 1},
		"deadline":         {fmt.Errorf("%w", context.DeadlineExceeded), errkind.Deadline, 1},
		"unsupported":      {errors.ErrUnsupported, errkind.Unsupported, 1},
		"the cause is old": {fmt.Errorf("%w: %w", errkind.OutcomeUnknown, context.DeadlineExceeded), errkind.OutcomeUnknown, 7},
		"not for the wire": {fmt.Errorf("%w: %w", errkind.Unreachable, errkind.Unavailable), errkind.Unavailable, 2},
		"conflict":         {errkind.New(errkind.Outdated, "x"), errkind.None, 3},
		"stopping":         {errkind.New(errkind.Stopping, "x"), errkind.Stopping, 1},
	} {
		if kind, exit := errkind.Of(c.err), errkind.ExitCode(c.err); kind != c.kind || exit != c.exit {
			t.Errorf("%s: kind %q, exit %d; want %q, %d", name, kind, exit, c.kind, c.exit)
		}
	}
	if other := errkind.New(errkind.NotFound, "no such thing"); errors.Is(other, gone) {
		t.Error("two sentinels of one kind are one")
	}
	if !errors.Is(errkind.New(errkind.Stopping, "x"), errkind.Unavailable) {
		t.Error("a gateway that stops is not available")
	}
}
