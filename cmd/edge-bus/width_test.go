package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	"github.com/edge-gateway/edge-gateway/pkg/admin/admintest"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/cli/clitest"
)

// TestScreens holds what people see at 80 and 100 columns to files, and none of its
// lines to more.
func TestScreens(t *testing.T) {
	t.Setenv("TZ", "UTC")
	s, err := admintest.Serve(admin.Config{Socket: filepath.Join(t.TempDir(), "s")}, admintest.New().Backend())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Stop() }() // the test has said what there is to say
	t.Setenv("EDGE_BUS_SOCKET", s.Socket)
	for _, c := range []struct{ args, reason string }{
		{"stats", "parked: no connector reads it"}, {"replay --from 1 --to 8", "uncertain"}, {"check", "damaged: seq 5 to 6: checksum"},
	} {
		for _, width := range []int{80, 100} {
			name := fmt.Sprintf("%s.%d", strings.ReplaceAll(c.args, " ", "-"), width)
			t.Run(name, func(t *testing.T) {
				t.Setenv("EDGE_COLUMNS", fmt.Sprint(width))
				root, out := newRoot(), new(bytes.Buffer)
				root.SetArgs(strings.Fields(c.args))
				root.SetOut(out)
				root.SetErr(new(bytes.Buffer)) // errors are sentences, which a terminal wraps
				cli.Execute(t.Context(), root, "EDGE_BUS")
				clitest.Screen(t, name, width, c.reason, out.String())
			})
		}
	}
}
