package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/cli/clitest"
	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// TestScreens holds the tables to 80 and 100 columns: the reason is there whole.
func TestScreens(t *testing.T) {
	const problem = "driver press-hall-2-line-7-unit-3 did not come up within 10s: no answer from unit 3"
	const message = "Line 7: the new presses, with their ovens, and the flow meters of the cooling water"
	gateways := []gatewayStatus{{Gateway: "plant-2-line-7-gateway-a", State: "rolled_back", Rev: 412, SHA256: strings.Repeat("ab", 32),
		Since: time.Now().Add(-200*time.Second - 400*time.Millisecond), Version: "v1.4.2", Host: "gw7.plant.example.com", Error: problem}}
	commits := []logEntry{{Rev: 412, SHA256: strings.Repeat("ab", 32), Time: time.Date(2026, 11, 27, 14, 3, 0, 0, time.Local), Author: "ann@laptop-17", Message: message,
		Changes: config.Changes{config.Variables: {Added: 120, Changed: 7}, config.Drivers: {Added: 3}}}}
	for _, width := range []int{80, 100} {
		t.Setenv("EDGE_COLUMNS", fmt.Sprint(width))
		for name, show := range map[string]func(*cli.Table){
			"status": func(t *cli.Table) { statusTable(t, gateways) }, "log": func(t *cli.Table) { logTable(t, commits) },
		} {
			cmd, out := new(cobra.Command), new(bytes.Buffer)
			cmd.SetOut(out)
			if err := cli.NewOutput(cmd).Print(nil, show); err != nil {
				t.Fatal(err)
			}
			clitest.Screen(t, fmt.Sprintf("%s.%d", name, width), width, map[string]string{"status": problem, "log": message}[name], out.String())
		}
	}
}
