package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
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
				list, err := drivers(ctx, c)
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
		newDriverAction("pause", "Stop polling until 'resume' or a restart of the gateway", "paused", func(ctx context.Context, c pb.DriverServiceClient, id string) error {
			_, err := c.PauseDriver(ctx, &pb.PauseDriverRequest{Driver: id})
			return err
		}),
		newDriverAction("resume", "Go on polling", "resumed", func(ctx context.Context, c pb.DriverServiceClient, id string) error {
			_, err := c.ResumeDriver(ctx, &pb.ResumeDriverRequest{Driver: id})
			return err
		}),
		newDriverAction("restart", "Stop the driver and start it anew", "restarted", func(ctx context.Context, c pb.DriverServiceClient, id string) error {
			_, err := c.RestartDriver(ctx, &pb.RestartDriverRequest{Driver: id})
			return err
		}),
		newDriverDiag(),
	)
	return cmd
}

func driversTable(t *cli.Table, list []*pb.Driver) {
	t.Header("DRIVER", "STATE", "FOR", "POINTS", "BAD", "P50", "P99", "OVERRUNS", "LAST READ", "ENDPOINT", "PROTO", "POLLS", "ERRORS",
		"RETRIES", "ERROR")
	t.Keep("ERROR")
	for _, d := range list {
		t.Cells(text(d.Id), stateCell(d.State), ago(d.Since), count(d.Points), badCell(d), latencyCell(d.LatencyP50Ms), latencyCell(d.LatencyP99Ms),
			number(d.Overruns), ago(d.LastRead), text(d.Endpoint), text(d.Proto), number(d.Polls), number(d.Errors), number(d.Retries),
			text(lastWords(d)))
	}
}

func badCell(d *pb.Driver) cli.Cell {
	c := count(d.Bad)
	if d.Bad > 0 {
		c.Color = cli.Red
	}
	return c
}

// lastWords are the error of a driver or an endpoint, or else the last one if that was
// not long ago.
func lastWords(of interface {
	GetError() string
	GetLastError() string
	GetLastErrorAt() *timestamppb.Timestamp
}) string {
	const recent = time.Minute
	if of.GetError() != "" || of.GetLastError() == "" || time.Since(admin.Time(of.GetLastErrorAt())) > recent {
		return cli.OneLine(of.GetError())
	}
	return cli.OneLine(of.GetLastError()) + " (" + since(of.GetLastErrorAt()) + " ago)"
}

func latencyCell(ms float64) cli.Cell {
	if ms == 0 {
		return cli.Cell{Text: "-", Right: true}
	}
	return cli.Cell{Text: admin.FormatMs(ms), Right: true}
}

func newDriverAction(name, short, past string, act func(context.Context, pb.DriverServiceClient, string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:               name + " NAME",
		Short:             short,
		Example:           fmt.Sprintf("  edge-ctl drivers %s press-1", name),
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cli.Complete(envPrefix, driverNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return cli.WithGateway(cmd, func(ctx context.Context, c *admin.Client) error {
				if err := asked(cmd, "driver "+args[0], func() error { return act(ctx, c.Drivers, args[0]) }); err != nil {
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
				var r *pb.DiagnoseDriverResponse
				err := asked(cmd, "asking the driver", func() (err error) {
					r, err = c.Drivers.DiagnoseDriver(ctx, &pb.DiagnoseDriverRequest{Driver: args[0]})
					return err
				})
				if err != nil {
					return err
				}
				facts := append([]*pb.Fact{}, r.GetFacts()...)
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
