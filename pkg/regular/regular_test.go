package regular

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestReadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), 2048), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadFile(path, 2048); err != nil || len(got) != 2048 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := ReadFile(path, 2047); err == nil || !strings.Contains(err.Error(), "ca.pem: larger than 1 KiB") {
		t.Errorf("too large: %v", err)
	}
	if _, err := ReadFile(path+"x", 1); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}

// TestReadFileOfOtherKinds: what is no file is refused, and nothing waits.
func TestReadFileOfOtherKinds(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(pipe, link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		pipe: "named pipe", link: "named pipe", dir: "directory", "/dev/zero": "device", "/dev/tty": "",
	} {
		done := make(chan error, 1)
		go func() {
			if f, err := Open(path); err == nil && want != "" {
				t.Errorf("%s is opened", path)
				_ = f.Close() // only read
			}
			_, err := ReadFile(path, 1<<20)
			done <- err
		}()
		select {
		case err := <-done:
			if err == nil || want != "" && (!errors.Is(err, ErrNotRegular) || !strings.Contains(err.Error(), want)) {
				t.Errorf("%s: %v, want %s", path, err, want)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("%s: still reading", path)
		}
	}
}
