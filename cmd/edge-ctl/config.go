package main

import (
	"context"
	"fmt"
	"math"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/moment"
	"github.com/edge-gateway/edge-gateway/pkg/words"
)

func newConfig() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show, reload or roll back the configuration that this gateway runs",
		Example: `  edge-ctl config status
  edge-ctl config history
  edge-ctl config events`,
	}
	cmd.AddCommand(newConfigStatus(), newConfigHistory(), newConfigEvents(), newConfigReload(), newConfigRollback())
	return cmd
}

func printConfigStatus(out *cli.Output, s *pb.ConfigStatus) error {
	return out.Print(s, func(t *cli.Table) {
		row := func(name string, c cli.Cell) { t.Cells(cli.Cell{Text: name, Color: cli.Faint}, c) }
		row("state", stateCell(s.State))
		row("since", text(since(s.Since)))
		row("source", text(s.Source))
		row("rev", text(fmt.Sprint(s.Rev)))
		row("sha256", text(s.Sha256))
		row("tables", text(words.Count(s.Endpoints, "endpoint")+", "+words.Count(s.Drivers, "driver")+", "+words.Count(s.Variables, "variable")))
		if s.Error != "" {
			row("error", cli.Cell{Text: cli.OneLine(s.Error), Color: cli.Red})
		}
	})
}

func newConfigStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Show which configuration runs, and whether a newer one was refused",
		Example: `  edge-ctl config status -o json`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cli.WithGateway(cmd, func(ctx context.Context, c *admin.Client) error {
				r, err := c.Config.GetConfigStatus(ctx, &pb.GetConfigStatusRequest{})
				if err != nil {
					return err
				}
				return printConfigStatus(cli.NewOutput(cmd), r.GetStatus())
			})
		},
	}
	cli.AddOutputFlag(cmd)
	return cmd
}

func newConfigHistory() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:     "history",
		Short:   "List what this gateway applied or refused, newest first",
		Example: `  edge-ctl config history --limit 5`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 {
				return cli.Usagef("--limit %d: expected 0 or more", limit)
			}
			return cli.WithGateway(cmd, func(ctx context.Context, c *admin.Client) error {
				r, err := c.Config.ListConfigHistory(ctx, &pb.ListConfigHistoryRequest{Limit: uint32(min(limit, math.MaxInt32))})
				if err != nil {
					return err
				}
				list := append([]*pb.ConfigApply{}, r.GetApplies()...)
				return cli.NewOutput(cmd).Print(list, func(t *cli.Table) {
					t.Header("REV", "SHA256", "STATE", "BEGAN", "TOOK", "IMPACT", "ERROR")
					t.Keep("IMPACT", "ERROR")
					for _, a := range list {
						problem := a.Error
						if a.FailedIn != "" {
							problem = a.FailedIn + ": " + cli.OneLine(problem)
						}
						t.Cells(number(a.Rev), text(a.Sha256[:min(len(a.Sha256), 12)]), stateCell(a.State),
							text(moment.Format(admin.Time(a.Began))), cli.Cell{Text: fmt.Sprintf("%.1f ms", a.DurationMs), Right: true},
							text(a.Impact), text(problem))
					}
				})
			})
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 0, "show the newest so many; 0: all that is remembered")
	cli.AddOutputFlag(cmd)
	return cmd
}

// revisions lists those that the gateway has applied, for completion.
func revisions(ctx context.Context, c *admin.Client) (list []string, err error) {
	r, err := c.Config.ListConfigHistory(ctx, &pb.ListConfigHistoryRequest{})
	for _, a := range r.GetApplies() {
		if a.State == "applied" && a.Rev != 0 {
			list = append(list, fmt.Sprintf("%d\t%s, %s", a.Rev, moment.Format(admin.Time(a.Began)), a.Impact))
		}
	}
	return list, err
}

func newConfigEvents() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "events",
		Short:   "Show each phase and outcome of an apply as it happens, until Ctrl-C",
		Example: `  edge-ctl config events -o json`,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cli.WatchConfig(cmd) },
	}
	cli.AddOutputFlag(cmd)
	return cmd
}

func newConfigReload() *cobra.Command {
	var req pb.ReloadConfigRequest
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Read the source again and wait until it is applied or refused",
		Long: `reload reads the source again, tries what was held back, and waits for the outcome.

Tables of a directory that lack more than half of what runs are refused, because an
emptied file is hardly ever meant. --allow-delete says that it is, this once.`,
		Example: `  edge-ctl config reload
  edge-ctl config reload --allow-delete`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cli.WithGateway(cmd, func(ctx context.Context, c *admin.Client) error {
				var r *pb.ReloadConfigResponse
				err := asked(cmd, "applying the configuration", func() (err error) {
					r, err = c.Config.ReloadConfig(ctx, &req)
					return err
				})
				if err != nil {
					return err
				}
				return settled(cmd, r.GetStatus())
			})
		},
	}
	cmd.Flags().BoolVar(&req.AllowDelete, "allow-delete", false, "let a directory's tables remove most of what runs")
	cli.AddOutputFlag(cmd)
	return cmd
}

// settled prints the status after a change; a refused one is an error.
func settled(cmd *cobra.Command, s *pb.ConfigStatus) error {
	if err := printConfigStatus(cli.NewOutput(cmd), s); err != nil {
		return err
	}
	switch s.State {
	case "rejected", "failed": // after "rolled_back", what is in force runs
		return fmt.Errorf("the configuration was not applied: %s: %s", s.State, s.Error)
	}
	return nil
}

func newConfigRollback() *cobra.Command {
	var yes bool
	var rev uint64
	cmd := &cobra.Command{
		Use:   "rollback",
		Short: "Put an earlier configuration back, on this gateway alone",
		Long: `rollback makes this gateway run an earlier configuration: the one before, or that
of --to. The tables in the config center, or in the directory, stay as they are;
'edge-cfg rollback' is for those, and for all gateways. This one stays on what was
put back, through restarts, until they change or 'edge-ctl config reload' is called.`,
		Example: `  edge-ctl config rollback
  edge-ctl config rollback --to 1234 -y`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			which := "the configuration before"
			if rev != 0 {
				which = fmt.Sprintf("revision %d", rev)
			}
			if err := cli.Confirm(cmd, yes, fmt.Sprintf("Put %s back on this gateway?", which)); err != nil {
				return err
			}
			return cli.WithGateway(cmd, func(ctx context.Context, c *admin.Client) error {
				var r *pb.RollbackConfigResponse
				err := asked(cmd, "putting "+which+" back", func() (err error) {
					r, err = c.Config.RollbackConfig(ctx, &pb.RollbackConfigRequest{ToRev: rev})
					return err
				})
				if err != nil {
					return err
				}
				return printConfigStatus(cli.NewOutput(cmd), r.GetStatus())
			})
		},
	}
	cmd.Flags().Uint64Var(&rev, "to", 0, "revision to go back to; 0: the one before")
	cli.CompleteFlag(cmd, "to", cli.CompleteEach(envPrefix, revisions))
	cli.AddYesFlag(cmd, &yes)
	cli.AddOutputFlag(cmd)
	return cmd
}
