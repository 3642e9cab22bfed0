//go:build unix

package feed

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestPipeInATablesPlace: a file that has become a pipe since it was looked at is not
// waited for.
func TestPipeInATablesPlace(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "variables.yml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	// A writer that says nothing: a reader would wait for ever.
	w, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	done := make(chan error, 1)
	go func() { _, err := sumOf([]string{pipe}); done <- err }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the pipe is waited for")
	}
}
