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

// EditedError says that a file would lose what a person wrote in it: what it was made
// from isn't known, so that it can't be merged.
type EditedError struct{ Path, Dir, Why string }

// Error says how to go on.
func (e *EditedError) Error() string {
	return fmt.Sprintf("conflict: %s was edited since the last pull or push, and %s; 'edge-cfg diff %s' shows how it differs, --force overwrites it", e.Path, e.Why, e.Dir)
}

// Unwrap returns the kind.
func (e *EditedError) Unwrap() error { return errkind.Outdated }

// ConflictError says that a pull left conflicts for a person to decide.
type ConflictError struct {
	Dir string
	N   int
}

// Error says how to go on.
func (e *ConflictError) Error() string {
	what := "1 conflict is"
	if e.N > 1 {
		what = fmt.Sprintf("%d conflicts are", e.N)
	}
	return fmt.Sprintf("conflict: %s marked in the files: keep one side of each, or write what both mean, and take the lines <<<<<<<, ======= and >>>>>>> out; then 'edge-cfg diff %s' and push", what, e.Dir)
}

// Unwrap returns the kind.
func (e *ConflictError) Unwrap() error { return errkind.Outdated }
