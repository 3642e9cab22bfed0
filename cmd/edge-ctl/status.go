package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
)

// addWatchFlags gives cmd --watch and --interval.
func addWatchFlags(cmd *cobra.Command) {
	cmd.Flags().BoolP("watch", "w", false, "show it again and again, until Ctrl-C")
	cmd.Flags().Duration("interval", time.Second, "how often, with --watch (100ms or more)")
}

// watched runs show once, or again and again with --watch.
func watched(cmd *cobra.Command, show func(context.Context, *admin.Client, *cli.Output) error) error {
	again, err := cmd.Flags().GetBool("watch")
	if err != nil {
		return err
	}
	interval, err := cmd.Flags().GetDuration("interval")
	if err != nil {
		return err
	}
	if interval < 100*time.Millisecond {
		return cli.Usagef("--interval %v: expected 100ms or more", interval)
	}
	return cli.WithGateway(cmd, func(ctx context.Context, c *admin.Client) error {
		out := cli.NewOutput(cmd)
		if !again {
			return show(ctx, c, out)
		}
		return out.Watch(ctx, interval, func(out *cli.Output) error { return show(ctx, c, out) })
	})
}

func newStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Sum up the gateway and list its problems",
		Example: `  edge-ctl status
  edge-ctl status --watch
  edge-ctl status -o json | jq '.problems[]'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return watched(cmd, func(ctx context.Context, c *admin.Client, out *cli.Output) error {
				st, err := c.Status.GetStatus(ctx, &pb.GetStatusRequest{})
				if err != nil {
					return err
				}
				return out.Print(st, func(t *cli.Table) { statusTable(t, st) })
			})
		},
	}
	addWatchFlags(cmd)
	cli.AddOutputFlag(cmd)
	return cmd
}

func statusTable(t *cli.Table, st *pb.GetStatusResponse) {
	row := func(name string, cells cli.Cell) { t.Cells(cli.Cell{Text: name, Color: cli.Faint}, cells) }
	row("gateway", text(fmt.Sprintf("%s (tenant %s, device %s)", st.Gateway, st.Tenant, st.Device)))
	row("state", stateCell(st.State))
	row("version", text(fmt.Sprintf("%s, up %s, pid %d", st.Version, since(st.Started), st.Pid)))
	if st.ConfigState != "" {
		sha := st.ConfigSha256[:min(len(st.ConfigSha256), 12)]
		row("config", text(fmt.Sprintf("%s, rev %d, %s, from %s", st.ConfigState, st.ConfigRev, sha, st.ConfigSource)))
	}
	for _, part := range []string{"endpoints", "drivers", "connectors"} {
		var states []string
		for _, p := range st.Parts {
			if p.Part == part {
				states = append(states, fmt.Sprintf("%d %s", p.Count, p.State))
			}
		}
		if len(states) > 0 {
			row(part, text(strings.Join(states, ", ")))
		}
	}
	if len(st.Problems) == 0 {
		row("problems", cli.Cell{Text: "none", Color: cli.Green})
	}
	for i, p := range st.Problems {
		name := ""
		if i == 0 {
			name = "problems"
		}
		age := ""
		if p.Since != nil {
			age = " (for " + since(p.Since) + ")"
		}
		row(name, cli.Cell{Text: fmt.Sprintf("%s %s: %s%s", p.Part, p.Name, cli.OneLine(p.Text), age), Color: cli.Red})
		if p.Hint != "" {
			row("", text("→ "+p.Hint))
		}
	}
}

func newEndpoints() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "endpoints",
		Short:   "List the endpoints and their connections",
		Example: `  edge-ctl endpoints --watch`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return watched(cmd, func(ctx context.Context, c *admin.Client, out *cli.Output) error {
				list, err := endpoints(ctx, c)
				if err != nil {
					return err
				}
				return out.Print(list, func(t *cli.Table) {
					t.Header("ENDPOINT", "URL", "STATE", "FOR", "CONNS", "IN USE", "RECONNECTS", "DRIVERS", "ERROR")
					t.Keep("ERROR")
					for _, e := range list {
						t.Cells(text(e.Id), text(e.Url), stateCell(e.State), ago(e.Since),
							cli.Cell{Text: fmt.Sprintf("%d/%d", e.Open, e.Max), Right: true}, count(e.InUse), number(e.Reconnects),
							text(strings.Join(e.Drivers, ",")), text(lastWords(e)))
					}
				})
			})
		},
	}
	addWatchFlags(cmd)
	cli.AddOutputFlag(cmd)
	return cmd
}
