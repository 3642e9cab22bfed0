package wal

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/edge-gateway/edge-gateway/pkg/frame"
)

// readOnlyFS is a medium that can't be written, such as an SD card with its switch set.
type readOnlyFS struct {
	vfs.FS
}

var errReadOnlyFS = &os.PathError{Op: "open", Path: "card", Err: syscall.EROFS}

func (r readOnlyFS) Create(string, vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, errReadOnlyFS
}
func (r readOnlyFS) Link(string, string) error      { return errReadOnlyFS }
func (r readOnlyFS) Remove(string) error            { return errReadOnlyFS }
func (r readOnlyFS) RemoveAll(string) error         { return errReadOnlyFS }
func (r readOnlyFS) Rename(string, string) error    { return errReadOnlyFS }
func (r readOnlyFS) Lock(string) (io.Closer, error) { return nil, errReadOnlyFS }
func (r readOnlyFS) OpenReadWrite(string, vfs.DiskWriteCategory, ...vfs.OpenOption) (vfs.File, error) {
	return nil, errReadOnlyFS
}
func (r readOnlyFS) ReuseForWrite(string, string, vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, errReadOnlyFS
}
func (r readOnlyFS) MkdirAll(dir string, _ os.FileMode) error {
	if _, err := os.Stat(dir); err != nil {
		return errReadOnlyFS
	}
	return nil
}

// TestReadOnlyMedium reads everything of a log on a medium that can't be written: one
// that was closed, one whose process was killed, one without lock files, and one whose
// repair was interrupted.
func TestReadOnlyMedium(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(t *testing.T, dir string, l *Log) (card string)
	}{
		{"closed", func(t *testing.T, dir string, l *Log) string { done(t, l); return dir }},
		{"killed", func(t *testing.T, dir string, l *Log) string { // nothing is in tables yet
			card := filepath.Join(t.TempDir(), "card")
			if err := os.CopyFS(card, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			done(t, l)
			return card
		}},
		{"without locks", func(t *testing.T, dir string, l *Log) string {
			done(t, l)
			for _, lock := range []string{"LOCK", "state/LOCK", "frames/LOCK"} {
				if err := os.Remove(filepath.Join(dir, lock)); err != nil {
					t.Fatal(err)
				}
			}
			return dir
		}},
		{"repair interrupted", func(t *testing.T, dir string, l *Log) string {
			done(t, l)
			if err := os.Rename(filepath.Join(dir, "frames"), filepath.Join(dir, "frames.new")); err != nil {
				t.Fatal(err)
			}
			return dir
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "log")
			l, err := Open(dir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := l.OpenBookmark("mqtt", false); err != nil {
				t.Fatal(err)
			}
			block, err := frame.AppendBlock(nil, frame.Single(frame.Data, "plc", frame.Tag{Name: "plc.a"}, frame.Frame{Value: frame.IntValue(7)}))
			if err != nil {
				t.Fatal(err)
			}
			set := &frame.TagSet{Driver: "plc", Tags: []frame.Tag{{Name: "plc.a"}}}
			if err := l.Append([]Entry{{First: 1, Count: 1, Set: set, Block: block}}); err != nil {
				t.Fatal(err)
			}
			if _, err := l.Sync(); err != nil {
				t.Fatal(err)
			}
			epoch := l.Epoch()
			card := c.make(t, dir, l)
			before := listing(t, card)
			ro, err := OpenExisting(card, Options{FS: readOnlyFS{FS: vfs.Default}, ReadOnly: true, Tool: true})
			if err != nil {
				t.Fatal(err)
			}
			defer done(t, ro)
			if s := ro.Stats(); s.Epoch != epoch || s.Last != 1 {
				t.Errorf("stats %+v", s)
			}
			if got, err := ro.Read(1, 1, 10); err != nil || len(got) != 1 || got[0].Frames[0].Value.Int() != 7 {
				t.Errorf("read %v, %v", got, err)
			}
			if r, err := ro.Check(context.Background()); err != nil || len(r.Damaged) != 0 || r.Frames != 1 {
				t.Errorf("check %+v, %v", r, err)
			}
			if r, err := ro.Export(context.Background(), new(bytes.Buffer), 0, 0); err != nil || r.Frames != 1 {
				t.Errorf("export %+v, %v", r, err)
			}
			if names := ro.Bookmarks(); len(names) != 1 {
				t.Errorf("consumers %v", names)
			}
			if err := ro.RemoveConsumer("mqtt"); !errors.Is(err, ErrReadOnly) {
				t.Errorf("written to: %v", err)
			}
			if after := listing(t, card); !slices.Equal(before, after) {
				t.Errorf("it was written to:\nbefore %v\nafter  %v", before, after)
			}
		})
	}
}

// TestReadOnlyMountOfLiveLog: a log that somebody writes through another mount is in
// use, and one that this user may not write is readable.
func TestReadOnlyOfAnotherUser(t *testing.T) {
	card := filepath.Join(t.TempDir(), "log")
	l, err := Open(card, Options{})
	if err != nil {
		t.Fatal(err)
	}
	done(t, l)
	ro, err := OpenExisting(card, Options{FS: deniedFS{readOnlyFS{FS: vfs.Default}}, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	done(t, ro)
}

// deniedFS is a directory of another user's.
type deniedFS struct{ readOnlyFS }

func (deniedFS) Lock(name string) (io.Closer, error) {
	return nil, &os.PathError{Op: "open", Path: name, Err: syscall.EACCES}
}

// listing names every file with its size and time.
func listing(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		names = append(names, strings.Join([]string{path, fi.Mode().String(), fi.ModTime().String()}, " "))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func done(t *testing.T, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
