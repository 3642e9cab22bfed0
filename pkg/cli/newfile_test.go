package cli_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
)

// TestWriteNew: a file that is there stays, and one that failed half-way goes.
func TestWriteNew(t *testing.T) {
	name := filepath.Join(t.TempDir(), "shift.csv")
	write := func(text string, err error) func(io.Writer) error {
		return func(w io.Writer) error {
			_, werr := io.WriteString(w, text)
			return errors.Join(werr, err)
		}
	}
	broken := errors.New("the device is gone")
	if err := cli.WriteNew(name, cli.ForOwner, write("half", broken)); !errors.Is(err, broken) || !strings.Contains(err.Error(), name) {
		t.Errorf("a failure is told as %v", err)
	}
	if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a file is left: %v", err)
	}
	if err := cli.WriteNew(name, cli.ForGroup, write("whole", nil)); err != nil {
		t.Fatal(err)
	}
	if err := cli.WriteNew(name, cli.ForGroup, write("another", nil)); err == nil || !strings.Contains(err.Error(), "exists; name another file") {
		t.Errorf("a file that is there: %v", err)
	}
	if text, err := os.ReadFile(name); string(text) != "whole" {
		t.Errorf("the file holds %q, %v", text, err)
	}
}
