package dyn

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// DefaultDir is where drivers are installed if gateway.yml doesn't say otherwise.
const DefaultDir = "/usr/lib/edge-gw/drivers"

var (
	// ErrNotInstalled means that there is no such file.
	ErrNotInstalled = errors.New("is not installed")
	// ErrRefused means that a file is there and must not be run.
	ErrRefused = errors.New("is not run")
)

// identity tells whether two opened files are the same, unchanged.
type identity struct {
	dev, ino      uint64
	size, changed int64
}

// file is a driver's executable, opened and found to be trustworthy.
type file struct {
	*os.File
	path   string // for people
	id     identity
	script bool // its interpreter opens it again
}

// checkPath says why path can't be one of an installed driver, wherever that is looked up.
func checkPath(path string) error {
	switch {
	case strings.ContainsAny(path, "\x00\\"):
		return config.FieldErrorf("path", "%q: expected a name of a file, without \\", path)
	case filepath.IsAbs(path):
		return config.FieldErrorf("path", "%s: expected a path that is relative to drivers_dir of the gateway, which is where drivers are installed", path)
	case !filepath.IsLocal(path) || filepath.Clean(path) != path || path == ".":
		return config.FieldErrorf("path", "%s: expected a path that stays below drivers_dir of the gateway, without . and ..", path)
	}
	return nil
}

// checkSum compares the file's contents with the sha256 that the table has; "" is none.
func (f *file) checkSum(want string) error {
	if want == "" {
		return nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, f.id.size)); err != nil {
		return fmt.Errorf("read %s: %w", f.path, err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return config.FieldErrorf("sha256", "%s %v: its sha256 is %s, the table has %s; install the version that is meant, or change the table", f.path, ErrRefused, got, want)
	}
	return nil
}

// interpreter returns the interpreter that the first line of a script names, "" if f is none.
func (f *file) interpreter() (string, error) {
	head := make([]byte, 256)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read %s: %w", f.path, err)
	}
	line, script := bytes.CutPrefix(head[:n], []byte("#!"))
	if !script {
		return "", nil
	}
	line, _, whole := bytes.Cut(line, []byte("\n"))
	fields := strings.Fields(string(line))
	switch {
	case !whole || len(fields) == 0:
		return "", fmt.Errorf("%w: its first line names no interpreter", ErrRefused)
	case !filepath.IsAbs(fields[0]):
		return "", fmt.Errorf("%w: its interpreter %s is not an absolute path", ErrRefused, fields[0])
	case filepath.Base(fields[0]) == "env":
		return "", fmt.Errorf("%w: env looks its interpreter up; name the interpreter itself, such as #!/usr/bin/python3", ErrRefused)
	}
	return fields[0], nil
}

// missing reports whether an error is that there is no such file or directory.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
