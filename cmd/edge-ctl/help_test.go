package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/cli/clitest"
)

// TestEveryCommand: each has a short text, an example that calls it, and prints in
// every format.
func TestEveryCommand(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		if c.Short == "" || !strings.Contains(c.Example, c.CommandPath()) {
			t.Errorf("%s: short %q, example %q", c.CommandPath(), c.Short, c.Example)
		}
		if c.Runnable() && c.Flags().Lookup("output") == nil {
			t.Errorf("%s has no -o", c.CommandPath())
		}
	}
	for _, c := range newRoot().Commands() {
		walk(c)
	}
}

func TestHelpFits(t *testing.T) { clitest.HelpFits(t, newRoot) }
