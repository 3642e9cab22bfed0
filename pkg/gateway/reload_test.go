package gateway

import (
	"errors"
	"fmt"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/feed"
)

// TestReloadBlamesWhoIsToBlame: a store that is away is not the caller's fault, a
// configuration that can't run is.
func TestReloadBlamesWhoIsToBlame(t *testing.T) {
	for _, c := range []struct {
		err  error
		kind errkind.Kind
	}{
		{errors.New("drivers.yml:3: no such endpoint"), errkind.Invalid},
		{&center.StoreError{Kind: center.ErrUnavailable, Op: "read", Err: errors.New("refused")}, errkind.Unavailable},
		{fmt.Errorf("follow: %w", center.ErrUnavailable), errkind.Unavailable},
		{feed.ErrNoEarlier, errkind.NotFound},
	} {
		if got := errkind.Of(notApplied(c.err)); got != c.kind {
			t.Errorf("%v: %q, want %q", c.err, got, c.kind)
		}
	}
}
