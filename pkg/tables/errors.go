package tables

import (
	"fmt"

	"github.com/edge-gateway/edge-gateway/pkg/errkind"
)

// UsageError says that what a person asked for can't be meant.
type UsageError struct{ text string }

// Error returns the text.
func (e *UsageError) Error() string { return e.text }

// Unwrap returns the kind.
func (e *UsageError) Unwrap() error { return errkind.Usage }

func usagef(format string, args ...any) error { return &UsageError{fmt.Sprintf(format, args...)} }

// EditedError says that a file would lose what a person wrote in it.
type EditedError struct{ Path, Dir string }

// Error says how to go on.
func (e *EditedError) Error() string {
	return fmt.Sprintf("conflict: %s was edited since the last pull or push; 'edge-cfg diff %s' shows how it differs, --force overwrites it", e.Path, e.Dir)
}

// Unwrap returns the kind.
func (e *EditedError) Unwrap() error { return errkind.Outdated }
