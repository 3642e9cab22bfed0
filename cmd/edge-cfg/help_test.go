package main

import (
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/cli/clitest"
)

func TestEveryCommand(t *testing.T) {
	const says = "it says on standard error what it did"
	const document = "a document of tables, not a list"
	clitest.EveryCommand(t, newRoot, clitest.Exceptions{
		Silent: map[string]string{
			"edge-cfg context add": says, "edge-cfg context use": says, "edge-cfg retry": says, "edge-cfg forget": says,
			"edge-cfg rollout wait": "its data is lines of what happens",
			"edge-cfg enroll":       "its data is commands for a shell", "edge-cfg revoke": "its data is commands for a shell",
		},
		Formats: map[string]string{"edge-cfg show": document, "edge-cfg get": document, "edge-cfg export": document},
		Typed: map[string]string{
			"edge-cfg import --driver": "of tables that nobody may have pushed yet", "edge-cfg gen --driver": "as for import",
			"edge-cfg gen --tag": "a template",
		},
	})
}
