package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/moment"
)

func newLog() *cobra.Command {
	log := &cobra.Command{
		Use:     "log",
		Short:   "Show or change the gateway's log level",
		Example: `  edge-ctl log level debug`,
	}
	level := &cobra.Command{
		Use:   "level [debug|info|warn|error]",
		Short: "Show the log level, or change it until the gateway restarts",
		Example: `  edge-ctl log level
  edge-ctl log level debug`,
		Args:      cobra.MaximumNArgs(1),
		ValidArgs: admin.LogLevels(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return cli.WithGateway(cmd, func(ctx context.Context, c *admin.Client) error {
				if len(args) == 1 {
					if _, err := c.Diagnostics.SetLogLevel(ctx, &pb.SetLogLevelRequest{Level: args[0]}); err != nil {
						return err
					}
				}
				now, err := c.Diagnostics.GetLogLevel(ctx, &pb.GetLogLevelRequest{})
				if err != nil {
					return err
				}
				return cli.NewOutput(cmd).Print(now, func(t *cli.Table) { t.Row(now.Level) })
			})
		},
	}
	cli.AddOutputFlag(level)
	log.AddCommand(level)
	return log
}

func newTrace() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trace ENDPOINT",
		Short: "Show the bytes that go over an endpoint's connections, until Ctrl-C",
		Long: `trace shows what the gateway sends to and receives from an endpoint, as it happens.
A slow terminal loses events, which are counted; the gateway never waits.`,
		Example: `  edge-ctl trace plc1
  edge-ctl trace plc1 -o json > trace.json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cli.Complete(envPrefix, endpointNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			out := cli.NewOutput(cmd)
			return cli.WithGateway(cmd, func(ctx context.Context, c *admin.Client) error {
				if err := tellState(ctx, cmd, c, args[0]); err != nil {
					return err
				}
				dropped := uint64(0)
				open := func(ctx context.Context) (grpc.ServerStreamingClient[pb.TraceEndpointResponse], error) {
					return c.Diagnostics.TraceEndpoint(ctx, &pb.TraceEndpointRequest{Endpoint: args[0]})
				}
				return admin.Receive(ctx, open, func(e *pb.TraceEndpointResponse) error {
					if e.Dropped > dropped {
						dropped = e.Dropped
						cmd.PrintErrf("too slow to show everything: about %s lost so far\n", cli.Bytes(dropped))
					}
					return out.PrintLine(e, func() string { return traceLine(e) })
				})
			})
		},
	}
	cli.AddOutputFlag(cmd)
	return cmd
}

// tellState says what an endpoint is doing. A trace of one that is down shows nothing,
// and the person wants to know why.
func tellState(ctx context.Context, cmd *cobra.Command, c *admin.Client, id string) error {
	e, err := endpointNamed(ctx, c, id)
	if err != nil {
		return err
	}
	cmd.PrintErrf("endpoint %s, %s, is %s\n", e.Id, e.Url, e.State)
	if e.Error != "" && e.State != "up" {
		cmd.PrintErrf("%s\n", e.Error)
	}
	return nil
}

func traceLine(e *pb.TraceEndpointResponse) string {
	arrow := map[string]string{"send": "→", "receive": "←"}[e.Event]
	if arrow == "" {
		arrow = e.Event
	}
	return strings.TrimSpace(fmt.Sprintf("%s  #%d  %s  % x  %s", moment.ClockExact(admin.Time(e.Time)), e.Connection, arrow, e.Data, e.Text))
}

func newBundle() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bundle [FILE]",
		Short: "Write a support archive: state, configuration, log, profile, without secrets",
		Long: `bundle writes a .tar.gz with the state of every part, the configuration (secrets
masked), recent log lines, metrics, and a memory profile. FILE is named for the
gateway and the time by default; - is standard output. Nothing is overwritten.`,
		Example: `  edge-ctl bundle
  edge-ctl bundle - | ssh support 'cat > case-42.tar.gz'`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return cli.WithGateway(cmd, func(ctx context.Context, c *admin.Client) error {
				file := ""
				if len(args) == 1 {
					file = args[0]
				}
				return save(ctx, cmd, c, file, ".tar.gz", func(w io.Writer) error { return c.Diagnostics.Bundle(ctx, w) })
			})
		},
	}
	cli.AddOutputFlag(cmd)
	return cmd
}

func newProfile() *cobra.Command {
	var duration time.Duration
	var file string
	cmd := &cobra.Command{
		Use:   "profile KIND",
		Short: "Write a profile of the gateway's process: cpu, heap, goroutine, …",
		Long: `profile writes what go tool pprof reads. KIND is cpu (over --duration), heap,
allocs, goroutine, block or mutex. The file is named for the gateway, the kind
and the time by default; - is standard output. Nothing is overwritten.`,
		Example: `  edge-ctl profile cpu --duration 30s
  edge-ctl profile heap --file - | go tool pprof -top -`,
		Args:      cobra.ExactArgs(1),
		ValidArgs: []string{"cpu", "heap", "allocs", "goroutine", "block", "mutex"},
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] != "cpu" && cmd.Flags().Changed("duration") {
				return cli.Usagef("--duration goes with cpu; a %s profile is of one moment", args[0])
			}
			return cli.WithGateway(cmd, func(ctx context.Context, c *admin.Client) error {
				if args[0] == "cpu" {
					cmd.PrintErrf("profiling for %v\n", duration)
				}
				return save(ctx, cmd, c, file, "-"+args[0]+".pprof", func(w io.Writer) error {
					return c.Diagnostics.Profile(ctx, args[0], duration, w)
				})
			})
		},
	}
	cmd.Flags().DurationVar(&duration, "duration", 10*time.Second, "how long to profile the processor, 1s to 1m")
	cmd.Flags().StringVar(&file, "file", "", "where to write; - is standard output")
	cli.AddOutputFlag(cmd)
	return cmd
}

// save writes what a gateway sends to a new file and prints its name. "" names the
// file for the gateway and the time, with suffix behind; "-" is standard output.
func save(ctx context.Context, cmd *cobra.Command, c *admin.Client, name, suffix string, write func(io.Writer) error) error {
	p := cli.NewProgress(cmd, "receiving")
	defer p.Done()
	measured := func(w io.Writer) error { return write(p.Writer(ctx, w)) }
	if name == "-" {
		return measured(cmd.OutOrStdout())
	}
	if name == "" {
		st, err := c.Status.GetStatus(ctx, &pb.GetStatusRequest{})
		if err != nil {
			return err
		}
		name = fmt.Sprintf("edge-gateway-%s-%s%s", st.Gateway, time.Now().Format("20060102-150405"), suffix)
	}
	if err := cli.WriteNew(name, cli.ForOwner, measured); err != nil {
		return cli.Interrupted(cmd, err, "%s was not finished and is removed", name)
	}
	p.Done()
	v := struct {
		File string `json:"file"`
	}{name}
	return cli.NewOutput(cmd).Print(v, func(t *cli.Table) { t.Row(name) })
}

func newVersion() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show the versions of edge-ctl and of the gateway",
		Long: `version shows which builds edge-ctl and the gateway are. Without a gateway it
shows its own and exits 0.`,
		Example: `  edge-ctl version -o json`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := struct {
				Client  *pb.GetVersionResponse `json:"client"`
				Gateway *pb.GetVersionResponse `json:"gateway"`
			}{Client: admin.LocalVersion()}
			err := cli.WithGateway(cmd, func(ctx context.Context, c *admin.Client) (err error) {
				v.Gateway, err = c.Status.GetVersion(ctx, &pb.GetVersionRequest{})
				return err
			})
			if err != nil {
				v.Gateway = nil
				cmd.PrintErrf("gateway: %v\n", err)
			} else if v.Gateway.Version != v.Client.Version {
				cmd.PrintErrln("The versions differ: what one of them does not know is refused or not shown.")
			}
			return cli.NewOutput(cmd).Print(v, func(t *cli.Table) {
				row := func(name string, v *pb.GetVersionResponse) {
					t.Row(name, v.Version, v.GoVersion, v.Platform, fmt.Sprintf("api v1.%d", v.ApiMinor))
				}
				row("edge-ctl", v.Client)
				if v.Gateway != nil {
					row("gateway", v.Gateway)
				}
			})
		},
	}
	cli.AddOutputFlag(cmd)
	return cmd
}
