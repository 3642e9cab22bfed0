// Package regular reads the small files that a configuration names: certificates,
// keys, secrets, tables. Whoever writes a configuration may name a pipe that never
// ends or a device without an end; neither hangs a caller or fills its memory.
package regular

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// ErrNotRegular marks a path that leads to something else than a regular file.
var ErrNotRegular = errors.New("not a regular file")

// Flags open a file for reading without waiting for the other end of a pipe.
const Flags = os.O_RDONLY | syscall.O_NONBLOCK

// ReadFile reads a regular file of at most limit bytes.
func ReadFile(path string, limit int64) (content []byte, err error) {
	f, err := os.OpenFile(path, Flags, 0)
	if err != nil {
		return nil, err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	return Read(f, limit)
}

// Open opens a regular file to read.
func Open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, Flags, 0)
	if err != nil {
		return nil, err
	}
	if _, err := stat(f); err != nil {
		_ = f.Close() // only read
		return nil, err
	}
	return f, nil
}

func stat(f fs.File) (fs.FileInfo, error) {
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = &fs.PathError{Op: "read", Path: st.Name(), Err: kindError(st.Mode())}
	}
	return st, err
}

// Read reads f, which was opened with [Flags], as [ReadFile] does. The size that
// the file system tells is not believed: it may change, and some files tell none.
func Read(f fs.File, limit int64) ([]byte, error) {
	st, err := stat(f)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > limit {
		return nil, &fs.PathError{Op: "read", Path: st.Name(), Err: fmt.Errorf("larger than %s", size(limit))}
	}
	return content, nil
}

// kindError says what a path leads to instead of a regular file.
type kindError fs.FileMode

func (e kindError) Error() string {
	switch m := fs.FileMode(e); {
	case m.IsDir():
		return "is a directory"
	case m&fs.ModeNamedPipe != 0:
		return "is a named pipe; expected a regular file"
	case m&fs.ModeSocket != 0:
		return "is a socket; expected a regular file"
	}
	return "is a device; expected a regular file"
}

func (e kindError) Is(target error) bool { return target == ErrNotRegular }

func size(n int64) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}
