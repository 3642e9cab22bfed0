//go:build !linux

package dyn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/edge-gateway/edge-gateway/pkg/driver/plugin"
)

// locate implements what file_linux.go does.
func locate(_, path, _ string) (*file, error) {
	if err := checkPath(path); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("%w: drivers of kind dyn run on Linux only: %w", ErrNotInstalled, errors.ErrUnsupported)
}

// start implements what start_linux.go does.
func start(context.Context, *file, string, Limits, *slog.Logger) (plugin.Session, error) {
	return nil, fmt.Errorf("drivers of kind dyn run on Linux only: %w", errors.ErrUnsupported)
}

// CheckDir says why no driver would be run from a directory.
func CheckDir(string) error {
	return fmt.Errorf("drivers of kind dyn run on Linux only: %w", errors.ErrUnsupported)
}
