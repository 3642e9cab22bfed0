package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// writeFile puts b in place of a file whole, or not at all: a power failure leaves
// the old one.
func writeFile(path string, b []byte, mode os.FileMode) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp.Name()) // it is worth nothing
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	_, err = tmp.Write(b)
	for _, step := range []func() error{
		func() error { return tmp.Chmod(mode) },
		tmp.Sync,
	} {
		if err == nil {
			err = step()
		}
	}
	if closeErr := tmp.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	return err
}
