package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
)

const envPrefix = "EDGE_CTL"

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "edge-ctl",
		Short: "Show and steer a running edge gateway",
		Long: `edge-ctl shows what a running gateway does, reads and writes tags, and helps to
find faults. It talks to the gateway's admin socket; probe, scan and sim need no
gateway.

Flags are also read from the environment: --socket from EDGE_CTL_SOCKET.
Exit codes: 0 success, 1 failed, 2 gateway unreachable, 64 wrong usage.`,
		Example: `  edge-ctl status
  edge-ctl why press.temp
  edge-ctl tags 'plant.*' --watch
  edge-ctl write plant.setpoint 42.5
  edge-ctl connector mqtt stats
  edge-ctl --socket ./data/admin.sock top`,
	}
	cli.AddColorFlag(root)
	cli.AddSocketFlag(root)
	root.AddCommand(
		newStatus(), newWhy(), newEndpoints(), newDrivers(), newTags(), newRead(), newWrite(), newConnector(), newBus(),
		newConfig(), newLog(), newTrace(), newTop(), newBundle(), newProfile(), newProbe(), newScan(), newSim(),
		newVersion(),
	)
	return root
}

// done is what a command prints that changed something and has no more to say.
type done struct {
	Name string `json:"name"` // of the driver or connector
	Done string `json:"done"` // "paused"
}

// tell says it to people beside the output, to programs on it.
func (d done) tell(cmd *cobra.Command, what string) error {
	out := cli.NewOutput(cmd)
	if out.Format == cli.FormatTable {
		cmd.PrintErrf("%s %s %s\n", what, d.Name, d.Done)
		return nil
	}
	return out.Print(d, nil)
}

// stateCell shows a state in the colour that it deserves.
func stateCell(state string) cli.Cell {
	color := cli.Plain
	switch state {
	case "running", "up", "applied":
		color = cli.Green
	case "fault", "down", "failed", "rejected", "rolled_back":
		color = cli.Red
	case "paused", "starting", "connecting", "pinned", "applying", "stopping":
		color = cli.Yellow
	}
	return cli.Cell{Text: state, Color: color}
}

func number(n uint64) cli.Cell { return cli.Cell{Text: fmt.Sprint(n), Right: true} }

func count(n int) cli.Cell { return cli.Cell{Text: fmt.Sprint(n), Right: true} }

func text(s string) cli.Cell { return cli.Cell{Text: s} }

func ago(t time.Time) cli.Cell { return cli.Cell{Text: cli.Ago(t, time.Now()), Right: true} }

// driverNames and the others list names for completion.
func driverNames(ctx context.Context, c *admin.Client) ([]string, error) {
	list, err := c.Drivers.List(ctx)
	return names(list, func(d admin.Driver) string { return d.ID }), err
}

func endpointNames(ctx context.Context, c *admin.Client) ([]string, error) {
	list, err := c.Endpoints.List(ctx)
	return names(list, func(e admin.Endpoint) string { return e.ID }), err
}

func connectorNames(ctx context.Context, c *admin.Client) ([]string, error) {
	list, err := c.Connectors.List(ctx)
	return names(list, func(c admin.Connector) string { return c.Name }), err
}

func tagNames(ctx context.Context, c *admin.Client) ([]string, error) {
	list, err := c.Tags.List(ctx, "")
	return names(list, func(t admin.Tag) string { return t.Name }), err
}

func names[T any](list []T, name func(T) string) []string {
	out := make([]string, len(list))
	for i, t := range list {
		out[i] = name(t)
	}
	return out
}
