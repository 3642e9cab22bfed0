package main

import (
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/cli/clitest"
)

func TestEveryCommand(t *testing.T) {
	const place = "a seq or a time, which nobody lists"
	const says = "it says on standard error what it did"
	frames := "frames without end: lines of JSON, or CSV"
	clitest.EveryCommand(t, newRoot, clitest.Exceptions{
		Silent: map[string]string{
			"edge-bus export": "its data is the export", "edge-bus import": says, "edge-bus parked retry": says, "edge-bus parked drop": says,
			"edge-bus consumers rm": says, "edge-bus consumers mv": says,
		},
		Formats: map[string]string{"edge-bus replay": frames, "edge-bus tail": frames},
		Typed: map[string]string{
			"edge-bus replay --from": place, "edge-bus replay --to": place, "edge-bus delivered --from": place, "edge-bus delivered --to": place,
			"edge-bus export --from": place, "edge-bus export --to": place, "edge-bus consumers mv OLD": "it is for a stopped gateway",
		},
	})
}
