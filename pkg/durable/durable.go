// Package durable writes files that a crash or a power cut leaves whole: with the
// old content or the new one, never a part.
package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// WriteFile replaces the file at path, or makes it, with the given mode.
func WriteFile(path string, data []byte, mode os.FileMode) error {
	return Write(path, mode, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// Write is [WriteFile] for content that is made while it is written. If content
// fails, the file stays as it was.
//
// The content goes to a temporary file beside path, whose name begins with a dot,
// which is synced and renamed; then the directory is synced, so that the name is
// durable too. A crash may leave the temporary file; a later call removes it when it
// is an hour old. A symbolic link stays one: what it leads to is replaced.
func Write(path string, mode os.FileMode, content func(io.Writer) error) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already where all went well
	err = content(f)
	if err == nil {
		err = errors.Join(f.Chmod(mode), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return errors.Join(SyncDir(filepath.Dir(path)), tidy(path))
}

// stale is the age at which a temporary file belongs to nobody any more.
const stale = time.Hour

// tidy removes the temporary files beside path that crashes have left.
func tidy(path string) error {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	for _, e := range entries {
		number, ok := strings.CutPrefix(e.Name(), "."+filepath.Base(path)+".")
		if !ok || strings.Trim(number, "0123456789") != "" {
			continue
		}
		if fi, err := e.Info(); err != nil || time.Since(fi.ModTime()) < stale {
			continue // gone, or another process writes it
		}
		if err := os.Remove(filepath.Join(filepath.Dir(path), e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// SyncDir makes the names in a directory durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
