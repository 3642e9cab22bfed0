package wal

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/edge-gateway/edge-gateway/pkg/durable"
)

// notePlace remembers where the log is, for CheckPlace. Other file systems than the
// operating system's have no identities.
func (l *Log) notePlace(base FS) (err error) {
	if base != vfs.Default || l.readOnly {
		return nil
	}
	l.origin, err = durable.NotePlace(l.dir, l.path("LOCK"), l.path("state"), l.path("frames"))
	return err
}

// CheckPlace returns an error that wraps [ErrMoved] if the log's directory is not
// where it was opened any more, or if the files that Pebble can't do without are gone
// from it. What is appended then goes to files without a name: nobody will find it
// again, unless the directory is put back.
func (l *Log) CheckPlace() error {
	if l.origin == nil {
		return nil
	}
	if err := l.origin.Check(); err != nil {
		return err
	}
	for _, db := range []string{"state", "frames"} {
		names, err := l.fs.List(l.path(db))
		if err != nil {
			continue // another reason than that it is gone
		}
		for _, has := range []struct{ what, prefix, suffix string }{{"manifest", "MANIFEST-", ""}, {"log file", "", ".log"}} {
			if !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, has.prefix) && strings.HasSuffix(n, has.suffix) }) {
				return fmt.Errorf("%s: its %s: %w", l.path(db), has.what, ErrMoved)
			}
		}
	}
	return nil
}

// Fail ends the log for good: it takes nothing any more, and the process must end.
func (l *Log) Fail(err error) { l.fail(err) }
