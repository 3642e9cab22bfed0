package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/tables"
)

func newRollback() *cobra.Command {
	var flags pushFlags
	var to string
	var knownBad bool
	cmd := &cobra.Command{
		Use:   "rollback TABLE|all --to rev=N|previous",
		Short: "Put a table, or all of them, back to what they were",
		Long: `rollback commits an earlier state again: that of revision N, or the newest one that
was different and ran (previous). A revision that a gateway refused or took back is
known not to run, and needs --known-bad. So does the rollback of one table that makes
the whole equal to such a revision. The result is linted as a whole first: drivers
can't go back to a state in which they lack today's variables.

It removes items that did not exist then; -y is enough for that.`,
		Example: `  edge-cfg rollback variables --to previous
  edge-cfg rollback all --to rev=120 -y -m "press 4 again"`,
		Args:      cobra.ExactArgs(1),
		ValidArgs: []string{"endpoints", "drivers", "variables", "settings", "groups", "gateways", "all"},
		RunE: func(cmd *cobra.Command, args []string) error {
			table := config.Table(args[0])
			if args[0] == "all" {
				table = ""
			} else if err := tables.CheckTable(table); err != nil {
				return err
			}
			var rev int64
			if to != "previous" {
				var err error
				if rev, err = revFlag("to", to); err != nil {
					return err
				}
			}
			flags.allow = "all"
			return withStore(cmd, func(ctx context.Context, s *center.Store) error {
				return rollback(ctx, cmd, s, table, rev, knownBad, &flags)
			})
		},
	}
	flags.add(cmd)
	flags.addYes(cmd)
	cmd.Flags().StringVar(&to, "to", "", "what to go back to (`rev=N|previous`)")
	cmd.Flags().BoolVar(&knownBad, "known-bad", false, "also to a revision that is known not to run")
	completeRev(cmd, "to", "previous")
	if err := cmd.MarkFlagRequired("to"); err != nil {
		panic(err) // the flag was added above
	}
	return cmd
}

func rollback(ctx context.Context, cmd *cobra.Command, s *center.Store, table config.Table, rev int64, knownBad bool, flags *pushFlags) error {
	p := cli.NewProgress(cmd, "reading what it was")
	defer p.Done()
	head, err := s.Load(ctx)
	if err != nil {
		return err
	}
	doc, old, err := s.Restore(ctx, head, table, rev)
	p.Done()
	if err != nil {
		return err
	}
	if err := checkDocument(cmd, doc); err != nil {
		return err
	}
	if !knownBad {
		rev, why, err := s.Refusal(ctx, old, doc.SHA256())
		if err != nil {
			return err
		}
		if why != "" {
			return cli.Usagef("rev %d is known not to run (%s); add --known-bad to take it all the same", rev, why)
		}
	}
	if flags.message == "" {
		what := string(table)
		if table == "" {
			what = "all"
		}
		flags.message = fmt.Sprintf("rollback of %s to rev %d", what, old.Rev)
	}
	_, err = commitDocument(ctx, cmd, s, change{head: head, doc: doc}, flags)
	return err
}
