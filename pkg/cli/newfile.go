package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// Modes of files that commands make.
const (
	ForGroup os.FileMode = 0o640 // frames and tables, which a shift shares
	ForOwner os.FileMode = 0o600 // what may tell of the machine's inside
)

// WriteNew makes the file name and fills it by write. It replaces no file that is there,
// and leaves none behind that is not whole.
func WriteNew(name string, mode os.FileMode, write func(io.Writer) error) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s exists; name another file or remove it", name)
	}
	if err != nil {
		return err
	}
	err = write(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = os.Remove(name) // the first error counts
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
