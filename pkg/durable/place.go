package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
)

// Place remembers which files and directories some paths led to, so that it can be
// told when they lead elsewhere: deleted, moved, replaced by a copy, hidden by a
// mount. A process that holds them open would not notice.
type Place struct {
	paths []string
	infos []fs.FileInfo
}

// NotePlace remembers what paths lead to. Symbolic links are followed.
func NotePlace(paths ...string) (*Place, error) {
	p := &Place{paths: slices.Clone(paths)}
	for _, path := range paths {
		fi, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		p.infos = append(p.infos, fi)
	}
	return p, nil
}

// ErrMoved says that a path leads elsewhere than it did.
var ErrMoved = errors.New("it was deleted, moved or replaced while it was in use")

// Check returns nil while every path leads where it did; else an error that wraps
// [ErrMoved]. A path that can't be looked at, for another reason than that nothing is
// there, is not taken for moved.
func (p *Place) Check() error {
	for i, path := range p.paths {
		fi, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(fi, p.infos[i]) {
			return fmt.Errorf("%s: %w", path, ErrMoved)
		}
	}
	return nil
}
