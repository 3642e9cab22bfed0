package durable

import (
	"os"
	"path/filepath"
	"testing"
)

func TestBirth(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "birth")
	born := func(path string, want bool) {
		t.Helper()
		got, err := Born(path)
		if err != nil || got != want {
			t.Errorf("%s: %t, %v; want %t", path, got, err, want)
		}
	}
	born(path, true) // there is none
	if err := MarkBirth(path); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := birthTime(path); err != nil || !ok {
		t.Skipf("this file system does not say when files were made: %v", err)
	}
	born(path, true)
	moved := filepath.Join(dir, "moved")
	if err := os.Rename(path, moved); err != nil {
		t.Fatal(err)
	}
	born(moved, true) // a rename is no copy
	other := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(other, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(other, "moved")
	born(copied, false)
	if err := MarkBirth(copied); err != nil {
		t.Fatal(err)
	}
	born(copied, true)
	if _, err := os.Stat(copied + ".new"); err == nil {
		t.Error("something is left beside it")
	}
	if err := os.WriteFile(moved, []byte("x"), 0o600); err != nil { // no mark
		t.Fatal(err)
	}
	born(moved, true)
}
