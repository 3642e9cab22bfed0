package main

import (
	"context"
	"fmt"

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
	t.Header("DRIVER", "PROTO", "ENDPOINT", "STATE", "FOR", "POINTS", "POLLS", "ERRORS", "OVERRUNS", "LAST READ", "ERROR")
	for _, d := range list {
		t.Cells(text(d.ID), text(d.Proto), text(d.Endpoint), stateCell(d.State), ago(d.Since), count(d.Points),
			number(d.Polls), number(d.Errors), number(d.Overruns), ago(d.LastRead), text(d.Error))
	}
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
