package clitest

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
)

// HelpFits holds the help of every command to 80 columns, and every command to a short
// text. root makes the command line anew.
func HelpFits(t *testing.T, root func() *cobra.Command) {
	t.Helper()
	var paths [][]string
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" {
			t.Errorf("%s has no short text", c.CommandPath())
		}
		paths = append(paths, strings.Fields(c.CommandPath())[1:])
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root())
	for _, path := range paths {
		cmd, out := root(), new(bytes.Buffer)
		cmd.SetArgs(append(path, "--help"))
		cmd.SetOut(out)
		cmd.SetErr(out)
		if code := cli.Execute(t.Context(), cmd, "EDGE_TEST"); code != 0 {
			t.Errorf("%s --help: exit code %d", strings.Join(path, " "), code)
		}
		for line := range strings.SplitSeq(out.String(), "\n") {
			if n := cli.Width(line); n > 80 {
				t.Errorf("%s --help: a line of %d columns: %s", strings.Join(path, " "), n, line)
			}
		}
	}
}
