package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/regular"
)

// A birth mark is a file that holds the time at which the file system says that it was
// made. No copy of it has the same: so a directory that was copied, restored from an
// archive, or put back from a copy can be told from the one that it was copied from. A
// disk that was put back as a whole, below the file system, can't.

// Born reports whether the birth mark at path was made there: not, if it came with a
// copy. Where there is none, or the file system keeps no such times, it is true.
func Born(path string) (bool, error) {
	content, err := regular.ReadFile(path, 4<<10)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return true, err
	}
	noted, perr := strconv.ParseInt(strings.TrimSpace(string(content)), 10, 64)
	made, ok, err := birthTime(path)
	if perr != nil || !ok || err != nil { // nothing is known
		return true, err
	}
	// File systems that keep local time (FAT) move by whole quarters of an hour.
	return time.Duration(made-noted)%(15*time.Minute) == 0, nil
}

// MarkBirth makes a birth mark at path, in the place of one that is there. Where the
// file system keeps no such times it makes none.
func MarkBirth(path string) (err error) {
	fresh := path + ".new" // a rename is no copy
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	made, ok, err := birthTime(fresh)
	if err == nil && ok {
		_, err = fmt.Fprintln(f, made)
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil || !ok {
		return errors.Join(err, os.Remove(fresh))
	}
	return errors.Join(os.Rename(fresh, path), SyncDir(filepath.Dir(path)))
}
