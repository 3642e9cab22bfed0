package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
)

func newDrivers() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "drivers",
		Short: "List the drivers; pause, resume, restart or diagnose one",
		Example: `  edge-ctl drivers --watch
  edge-ctl drivers pause press-1
  edge-ctl drivers diag press-1`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return watched(cmd, func(ctx context.Context, c *admin.Client, out *cli.Output) error {
				list, err := c.Drivers.List(ctx)
				if err != nil {
					return err
				}
				return out.Print(list, func(t *cli.Table) { driversTable(t, list) })
			})
		},
	}
	addWatchFlags(cmd)
	cli.AddOutputFlag(cmd)
	cmd.AddCommand(
		newDriverAction("pause", "Stop polling until 'resume' or a restart of the gateway", "paused", admin.DriverBackend.Pause),
		newDriverAction("resume", "Go on polling", "resumed", admin.DriverBackend.Resume),
		newDriverAction("restart", "Stop the driver and start it anew", "restarted", admin.DriverBackend.Restart),
		newDriverDiag(),
	)
	return cmd
}

func driversTable(t *cli.Table, list []admin.Driver) {
	t.Header("DRIVER", "PROTO", "ENDPOINT", "STATE", "FOR", "POINTS", "BAD", "P50", "P99", "POLLS", "ERRORS", "RETRIES", "OVERRUNS",
		"LAST READ", "ERROR")
	t.Keep("ERROR")
	for _, d := range list {
		bad := count(d.Bad)
		if d.Bad > 0 {
			bad.Color = cli.Red
		}
		t.Cells(text(d.ID), text(d.Proto), text(d.Endpoint), stateCell(d.State), ago(d.Since), count(d.Points), bad,
			latencyCell(d.LatencyP50Ms), latencyCell(d.LatencyP99Ms), number(d.Polls), number(d.Errors), number(d.Retries), number(d.Overruns),
			ago(d.LastRead), text(lastWords(d)))
	}
}

// lastWords are a driver's error, or else the last one if that was not long ago.
func lastWords(d admin.Driver) string {
	const recent = time.Minute
	if d.Error != "" || d.LastError == "" || time.Since(d.LastErrorAt) > recent {
		return cli.OneLine(d.Error)
	}
	return cli.OneLine(d.LastError) + " (" + cli.Ago(d.LastErrorAt, time.Now()) + " ago)"
}

func latencyCell(ms float64) cli.Cell {
	if ms == 0 {
		return cli.Cell{Text: "-", Right: true}
	}
	return cli.Cell{Text: admin.FormatMs(ms), Right: true}
}

func newDriverAction(name, short, past string, act func(admin.DriverBackend, context.Context, string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:               name + " NAME",
		Short:             short,
		Example:           fmt.Sprintf("  edge-ctl drivers %s press-1", name),
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cli.Complete(envPrefix, driverNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return cli.WithGateway(cmd, func(ctx context.Context, c *admin.Client) error {
				if err := act(c.Drivers, ctx, args[0]); err != nil {
					return err
				}
				return done{args[0], past}.tell(cmd, "driver")
			})
		},
	}
	cli.AddOutputFlag(cmd)
	return cmd
}

func newDriverDiag() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "diag NAME",
		Short: "Ask the driver, and through it the device, for what helps to find a fault",
		Example: `  edge-ctl drivers diag press-1
  edge-ctl drivers diag press-1 -o json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cli.Complete(envPrefix, driverNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return cli.WithGateway(cmd, func(ctx context.Context, c *admin.Client) error {
				facts, err := c.Drivers.Diagnose(ctx, args[0])
				if err != nil {
					return err
				}
				return cli.NewOutput(cmd).Print(facts, func(t *cli.Table) {
					for _, f := range facts {
						t.Cells(cli.Cell{Text: f.Name, Color: cli.Faint}, text(f.Value))
					}
				})
			})
		},
	}
	cli.AddOutputFlag(cmd)
	return cmd
}
