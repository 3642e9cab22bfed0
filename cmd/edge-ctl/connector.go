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
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/words"
)

func newConnector() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "connector [NAME stats|test|reconnect|pause|resume]",
		Short: "List the connectors, or show and steer one",
		Long: `connector alone lists the connectors. With a NAME:

  stats      what it has delivered, and how fast
  test       dial its peer once more, step by step, while the connection goes on
  reconnect  drop the connection and make a new one, for example after a change
             of certificates
  pause      stop delivery; frames stay in the log
  resume     go on`,
		Example: `  edge-ctl connector
  edge-ctl connector mqtt stats
  edge-ctl connector mqtt stats --watch
  edge-ctl connector mqtt reconnect`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 0 && len(args) != 2 {
				return fmt.Errorf("expected NAME and one of stats, test, reconnect, pause, resume")
			}
			return nil
		},
		ValidArgsFunction: completeConnector,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return watched(cmd, listConnectors)
			}
			return connectorAction(cmd, args[0], args[1])
		},
	}
	addWatchFlags(cmd)
	cli.AddOutputFlag(cmd)
	return cmd
}

func completeConnector(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 1 {
		return []string{"stats", "test", "reconnect", "pause", "resume"}, cobra.ShellCompDirectiveNoFileComp
	}
	return cli.Complete(envPrefix, connectorNames)(cmd, args, part)
}

func listConnectors(ctx context.Context, c *admin.Client, out *cli.Output) error {
	list, err := connectors(ctx, c)
	if err != nil {
		return err
	}
	return out.Print(list, func(t *cli.Table) {
		t.Header("CONNECTOR", "KIND", "STATE", "FOR", "NEXT", "PEER", "LAG", "INFLIGHT", "OUT", "FRAMES", "RTT", "ERROR")
		t.Keep("ERROR")
		for _, k := range list {
			t.Cells(text(k.Name), text(k.Kind), stateCell(k.State), ago(k.Since), next(k), text(k.Peer), number(k.Lag), count(k.Inflight),
				cli.Cell{Text: cli.Bytes(k.OutBytes), Right: true}, number(k.OutFrames),
				cli.Cell{Text: fmt.Sprintf("%.1f ms", k.RttAvgMs), Right: true}, text(k.Error))
		}
	})
}

// next says when a connector tries to connect again.
func next(k *pb.Connector) cli.Cell { return cli.Cell{Text: until(k), Right: true} }

func until(k *pb.Connector) string {
	if k.NextAttempt == nil {
		return "-"
	}
	return cli.Span(time.Until(k.NextAttempt.AsTime()).Round(time.Second))
}

func connectorAction(cmd *cobra.Command, name, action string) error {
	told := func(act func(context.Context, *admin.Client) error, past string) error {
		return cli.WithGateway(cmd, func(ctx context.Context, c *admin.Client) error {
			if err := asked(cmd, "connector "+name, func() error { return act(ctx, c) }); err != nil {
				return err
			}
			return done{name, past}.tell(cmd, "connector")
		})
	}
	switch action {
	case "stats":
		return watched(cmd, func(ctx context.Context, c *admin.Client, out *cli.Output) error {
			return connectorStats(ctx, c, out, name)
		})
	case "test":
		return cli.WithGateway(cmd, func(ctx context.Context, c *admin.Client) error { return testConnector(ctx, cmd, c, name) })
	case "reconnect":
		return told(func(ctx context.Context, c *admin.Client) error {
			_, err := c.Connectors.ReconnectConnector(ctx, &pb.ReconnectConnectorRequest{Connector: name})
			return err
		}, "reconnecting")
	case "pause":
		return told(func(ctx context.Context, c *admin.Client) error {
			_, err := c.Connectors.PauseConnector(ctx, &pb.PauseConnectorRequest{Connector: name})
			return err
		}, "paused")
	case "resume":
		return told(func(ctx context.Context, c *admin.Client) error {
			_, err := c.Connectors.ResumeConnector(ctx, &pb.ResumeConnectorRequest{Connector: name})
			return err
		}, "resumed")
	}
	return cli.Usagef("%q: expected stats, test, reconnect, pause or resume", action)
}

func connectorStats(ctx context.Context, c *admin.Client, out *cli.Output, name string) error {
	list, err := connectors(ctx, c)
	if err != nil {
		return err
	}
	for _, k := range list {
		if k.Name == name {
			return out.Print(k, func(t *cli.Table) { statsTable(t, k) })
		}
	}
	return fmt.Errorf("connector %q: %w; 'edge-ctl connector' lists all", name, errkind.NotFound)
}

func statsTable(t *cli.Table, k *pb.Connector) {
	row := func(name, value string) { t.Row(fmt.Sprintf("%-14s: %s", name, value)) }
	row("out_bytes", cli.Bytes(k.OutBytes))
	row("batch_frames", fmt.Sprintf("p50=%.0f p95=%.0f", k.BatchFramesP50, k.BatchFramesP95))
	row("inflight", fmt.Sprint(k.Inflight))
	row("rtt_ms", fmt.Sprintf("avg %.1f p95 %.1f", k.RttAvgMs, k.RttP95Ms))
	row("state", fmt.Sprintf("%s for %s", k.State, since(k.Since)))
	if k.NextAttempt != nil {
		row("next attempt", "in "+until(k))
	}
	row("peer", k.Peer)
	row("lag", fmt.Sprintf("%s (acknowledged up to %d)", words.Count(k.Lag, "frame"), k.AckSeq))
	row("out_messages", fmt.Sprintf("%d with %s, %d sent again, %d refused", k.OutMessages, words.Count(k.OutFrames, "frame"), k.Resent, k.Refused))
	row("reconnects", fmt.Sprint(k.Reconnects))
	if k.Error != "" {
		row("error", k.Error)
	}
}

func testConnector(ctx context.Context, cmd *cobra.Command, c *admin.Client, name string) error {
	var r *pb.TestConnectorResponse
	err := asked(cmd, "testing connector "+name, func() (err error) {
		r, err = c.Connectors.TestConnector(ctx, &pb.TestConnectorRequest{Connector: name})
		return err
	})
	if err != nil {
		return err
	}
	steps := append([]*pb.TestStep{}, r.GetSteps()...)
	err = cli.NewOutput(cmd).Print(steps, func(t *cli.Table) {
		t.Header("STEP", "RESULT", "TIME", "FOUND")
		t.Keep("FOUND")
		for _, s := range steps {
			result := cli.Cell{Text: "ok", Color: cli.Green}
			if !s.Ok {
				result = cli.Cell{Text: "failed", Color: cli.Red}
			}
			t.Cells(text(s.Name), result, cli.Cell{Text: fmt.Sprintf("%.1f ms", s.Ms), Right: true}, text(s.Text))
		}
	})
	for _, s := range steps {
		if err == nil && !s.Ok {
			return cli.Exit(cli.Failed, fmt.Errorf("connector %s: %s failed: %s", name, s.Name, s.Text))
		}
	}
	return err
}

func newBus() *cobra.Command {
	bus := &cobra.Command{
		Use:     "bus",
		Short:   "Change a setting of the bus until the gateway restarts",
		Example: `  edge-ctl bus set wal_flush_ms 20`,
	}
	set := &cobra.Command{
		Use:   "set KEY VALUE",
		Short: "Change a setting of the bus until the gateway restarts",
		Long: `set changes one of the settings under bus: in gateway.yml while the gateway runs.
It overrides all other settings, those of the config center too, until the gateway
ends or 'edge-ctl bus set KEY null' removes it. 'edge-ctl status' shows it. For good,
use 'edge-cfg set bus.KEY VALUE'.`,
		Example: `  edge-ctl bus set wal_flush_ms 20
  edge-ctl bus set wal_max_bytes 8G`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: cli.First(cli.Completing(envPrefix, busKeys)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return cli.WithGateway(cmd, func(ctx context.Context, c *admin.Client) error {
				ch, err := c.Bus.Set(ctx, args[0], args[1])
				if err != nil {
					return err
				}
				return cli.NewOutput(cmd).Print(ch, func(t *cli.Table) {
					t.Row(fmt.Sprintf("bus.%s: %s → %s, until the gateway restarts", args[0], ch.OldValue, ch.NewValue))
				})
			})
		},
	}
	cli.AddOutputFlag(set)
	bus.AddCommand(set)
	return bus
}

// busKeys lists the settings of the bus, for completion.
func busKeys(context.Context, *cobra.Command) (keys []string, err error) {
	for _, f := range config.ItemFields(config.Settings, "bus", nil) {
		keys = append(keys, strings.Join(f.Path, "."))
	}
	return keys, nil
}
