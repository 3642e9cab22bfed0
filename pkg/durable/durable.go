// Package durable writes files that a crash or a power cut leaves whole: with the
// old content or the new one, never a part.
package durable

import (
	"errors"
	"io"
	"os"
	"path/filepath"
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
// durable too. A crash may leave the temporary file. A symbolic link stays one: what
// it leads to is replaced.
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
	return SyncDir(filepath.Dir(path))
}

// SyncDir makes the names in a directory durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
