package main

import (
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/cli/clitest"
)

func TestEveryCommand(t *testing.T) {
	clitest.EveryCommand(t, newRoot, clitest.Exceptions{
		Silent: map[string]string{
			"edge-gw run": "its data is the log", "edge-gw init": "its data is files",
			"edge-gw backup": "its data is the backup",
		},
		Formats: map[string]string{"edge-gw demo": "events without end, a line each", "edge-gw config print": "a document, not a list"},
	})
}
