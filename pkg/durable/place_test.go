package durable

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestPlace: each way in which a path comes to lead elsewhere, and back.
func TestPlace(t *testing.T) {
	for _, c := range []struct {
		name string
		away func(dir string) error
	}{
		{"deleted", os.RemoveAll},
		{"moved", func(dir string) error { return os.Rename(dir, dir+".away") }},
		{"replaced", func(dir string) error { return errors.Join(os.Rename(dir, dir+".away"), os.Mkdir(dir, 0o700)) }},
		{"a file inside deleted", func(dir string) error { return os.Remove(filepath.Join(dir, "LOCK")) }},
		{"a link that is turned", func(dir string) error {
			return errors.Join(os.Rename(dir, dir+".away"), os.Mkdir(dir+".other", 0o700), os.Symlink(dir+".other", dir))
		}},
		{"a directory above it", func(dir string) error { return os.Rename(filepath.Dir(dir), filepath.Dir(dir)+".away") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "above", "log")
			if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "LOCK"), nil, 0o600)); err != nil {
				t.Fatal(err)
			}
			p, err := NotePlace(dir, filepath.Join(dir, "LOCK"))
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Check(); err != nil {
				t.Errorf("before: %v", err)
			}
			if err := c.away(dir); err != nil {
				t.Fatal(err)
			}
			if err := p.Check(); !errors.Is(err, ErrMoved) {
				t.Errorf("after: %v", err)
			}
			if c.name == "moved" {
				if err := os.Rename(dir+".away", dir); err != nil {
					t.Fatal(err)
				}
				if err := p.Check(); err != nil {
					t.Errorf("put back: %v", err)
				}
			}
		})
	}
}
