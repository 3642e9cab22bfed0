package clitest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
)

// Screen holds what a command shows on a terminal of width columns to a file of
// testdata/screens: no line is wider, and reason stands there whole. With
// EDGE_UPDATE=1 the file is written anew.
func Screen(t *testing.T, name string, width int, reason, got string) {
	t.Helper()
	for line := range strings.SplitSeq(got, "\n") {
		if n := cli.Width(line); n > width {
			t.Errorf("%s: a line of %d columns, of %d: %s", name, n, width, line)
		}
	}
	if !strings.Contains(strings.Join(strings.Fields(got), " "), reason) {
		t.Errorf("%s: the reason isn't there: %s\n%s", name, reason, got)
	}
	file := filepath.Join("testdata", "screens", name)
	if os.Getenv("EDGE_UPDATE") != "" {
		if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v: EDGE_UPDATE=1 writes it", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; EDGE_UPDATE=1 writes it anew):\n%s", name, diff)
	}
}
