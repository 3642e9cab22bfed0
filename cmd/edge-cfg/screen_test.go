package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/cli/clitest"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/tables"
)

// screenTables are two documents that differ in all that a difference tells.
func screenTables(t *testing.T) (old, now *config.Document) {
	t.Helper()
	read := func(endpoints, drivers, variables string) *config.Document {
		dir := t.TempDir()
		for name, text := range map[string]string{"endpoints.yml": endpoints, "drivers.yml": drivers, "variables.yml": variables} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		snap, _, findings := config.ReadDir(dir)
		if err := findings.Err(); err != nil {
			t.Fatal(err)
		}
		return snap.Document()
	}
	const flow = "- {tag: plant.flow, driver_id: m1, access: R, address: {type: holding, addr: 40001}, datatype: uint16%s}\n"
	old = read("plc: {scheme: tcp, host: 10.0.0.1, port: 502}", "m1: {kind: static, endpoint_id: plc, proto: modbus, cfg: {unit_id: 1, polling: 1s}}",
		fmt.Sprintf(flow, `, scale: "value / 10"`)+"- {tag: plant.level, driver_id: m1, access: R, address: {type: holding, addr: 40002}, datatype: uint16}")
	now = read("plc: {scheme: tcp, host: 10.0.0.1, port: 502}\nplc2: {scheme: tls+tcp, host: press-hall-2.plant.example.com, port: 802, opts: {username: ann, password: hunter2}}",
		"m1: {kind: static, endpoint_id: plc, proto: modbus, cfg: {unit_id: 1, polling: 500ms}}",
		fmt.Sprintf(flow, `, unit: m3_h, scale: "value < 32768 ? value / 10 : (value - 65536) / 10 + 0.05"`)+
			"- {tag: plant.hall2.line7.oven.zone1.temperature, driver_id: m1, access: RW, address: {type: holding, addr: 40003}, datatype: int16, unit: celsius, deadband: 0.5, report: change, heartbeat: 1m}")
	return old, now
}

// TestScreens holds the tables to 80 and 100 columns: the reason is there whole.
func TestScreens(t *testing.T) { synctest.Test(t, screens) } // "3m20s" ago stays that

func screens(t *testing.T) {
	const problem = "driver press-hall-2-line-7-unit-3 did not come up within 10s: no answer from unit 3"
	const message = "Line 7: the new presses, with their ovens, and the flow meters of the cooling water"
	gateways := []gatewayStatus{{Gateway: "plant-2-line-7-gateway-a", State: "rolled_back", Rev: 412, SHA256: strings.Repeat("ab", 32),
		Since: time.Now().Add(-3*time.Hour - 20*time.Minute - 30*time.Second), Version: "v1.4.2", Host: "gw7.plant.example.com", Error: problem}}
	commits := []logEntry{{Rev: 412, SHA256: strings.Repeat("ab", 32), Time: time.Date(2026, 11, 27, 14, 3, 0, 0, time.Local), Author: "ann@laptop-17", Message: message,
		Changes: config.Changes{config.Variables: {Added: 120, Changed: 7}, config.Drivers: {Added: 3}}}}
	found := []center.Diagnosis{
		{Check: "member", Health: center.Healthy, Message: "10.0.0.1:2379 is up: version 3.7.3, without a leader"},
		{Check: "majority", Health: center.Sick, Message: "1 of 3 servers are up and 2 are needed: nothing can be pushed or read until one more is started; gateways run on"},
		{Check: "history", Health: center.Doubt, Message: "the documents of rev 7 are gone; there is no rollback to them"},
	}
	old, now := screenTables(t)
	for _, width := range []int{80, 100} {
		t.Setenv("EDGE_COLUMNS", fmt.Sprint(width))
		for name, show := range map[string]func(*cli.Table){
			"status": func(t *cli.Table) { statusTable(t, gateways) }, "log": func(t *cli.Table) { logTable(t, commits) },
		} {
			cmd, out := new(cobra.Command), new(bytes.Buffer)
			cmd.SetContext(t.Context())
			cmd.SetOut(out)
			if err := cli.NewOutput(cmd).Print(nil, show); err != nil {
				t.Fatal(err)
			}
			clitest.Screen(t, fmt.Sprintf("%s.%d", name, width), width, map[string]string{"status": problem, "log": message}[name], out.String())
		}
		for name, c := range map[string]struct {
			reason string
			show   func(*cobra.Command) error
		}{
			"diff": {`"value < 32768 ? value / 10 : (value - 65536) / 10 + 0.05"`, func(cmd *cobra.Command) error {
				return showChanges(cmd, cmd.OutOrStdout(), tables.Compare(old, now), 0)
			}},
			"show":   {"password: (secret)", func(cmd *cobra.Command) error { return printTables(cmd, now, tables.Key{}) }},
			"doctor": {found[1].Message, func(cmd *cobra.Command) error { return printDiagnoses(cmd, found) }},
		} {
			cmd, out := new(cobra.Command), new(bytes.Buffer)
			cmd.SetContext(t.Context())
			cmd.SetOut(out)
			if err := c.show(cmd); err != nil {
				t.Fatal(err)
			}
			clitest.Screen(t, fmt.Sprintf("%s.%d", name, width), width, c.reason, out.String())
		}
	}
}
