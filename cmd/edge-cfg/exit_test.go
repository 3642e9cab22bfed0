package main

import (
	"errors"
	"fmt"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/tables"
)

// TestExitCodes: scripts branch on them.
func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
	}{
		{nil, 0},
		{errors.New("anything"), 1},
		{&center.StoreError{Kind: center.ErrUnavailable, Err: errors.New("refused")}, 2},
		{&center.ConflictError{}, 3},
		{&tables.EditedError{}, 3},
		{&center.NotAppliedError{}, 4},
		{cli.Exit(exitDiffers, nil), 5},
		{new(tables.UsageError), 64},
		{cli.Usagef("no"), 64},
	} {
		if code := cli.CodeOf(c.err); code != c.code {
			t.Errorf("%T: code %d, expected %d", c.err, code, c.code)
		}
		if c.err == nil {
			continue
		}
		if code := cli.CodeOf(fmt.Errorf("while pushing: %w", c.err)); code != c.code {
			t.Errorf("%T, wrapped: code %d, expected %d", c.err, code, c.code)
		}
	}
}
