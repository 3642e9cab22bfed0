package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/words"
)

func newFlush() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "flush",
		Short:   "Make everything that was published durable now",
		Example: `  edge-bus flush`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withLog(cmd, writing, func(ctx context.Context, log source) error {
				v, err := log.Flush(ctx)
				if err != nil {
					return err
				}
				return cli.NewOutput(cmd).Print(v, func(t *cli.Table) { t.Row(fmt.Sprintf("durable up to seq %d", v.DurableSeq)) })
			})
		},
	}
	cli.AddOutputFlag(cmd)
	return cmd
}

func newGC() *cobra.Command {
	var keep string
	var gc pb.CollectGarbageRequest
	cmd := &cobra.Command{
		Use:   "gc --keep-bytes SIZE",
		Short: "Delete the oldest frames until the log is at most SIZE",
		Long: `gc deletes the oldest frames until the log holds at most --keep-bytes of them.
Frames that a consumer has not acknowledged are kept, and named; --force deletes
them too, and a sys.gap frame then tells which are gone. --dry-run only shows.`,
		Example: `  edge-bus gc --keep-bytes 512M --dry-run
  edge-bus gc --keep-bytes 512M`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			size, err := config.ParseSize(keep)
			if err != nil {
				return cli.Usagef("--keep-bytes: %w", err)
			}
			gc.KeepBytes = uint64(size)
			return withLog(cmd, writing, func(ctx context.Context, log source) error {
				var r *pb.CollectGarbageResponse
				err := cli.During(cmd, "deleting the oldest frames", func() (err error) {
					r, err = log.CollectGarbage(ctx, &gc)
					return cli.Interrupted(cmd, err, "what is deleted stays deleted: 'edge-bus stats' shows what is left, and gc goes on when it is run again")
				})
				if err != nil {
					return err
				}
				return cli.NewOutput(cmd).Print(r, func(t *cli.Table) { gcTable(t, gc.DryRun, r) })
			})
		},
	}
	cmd.Flags().StringVar(&keep, "keep-bytes", "", "how much to keep, such as 512M (required)")
	cmd.Flags().BoolVar(&gc.DryRun, "dry-run", false, "show what would be deleted")
	cmd.Flags().BoolVar(&gc.Force, "force", false, "delete unacknowledged frames too: they will never be delivered")
	if err := cmd.MarkFlagRequired("keep-bytes"); err != nil {
		panic(err) // the flag was added above
	}
	cli.AddOutputFlag(cmd)
	return cmd
}

func gcTable(t *cli.Table, dryRun bool, r *pb.CollectGarbageResponse) {
	did := "deleted"
	if dryRun {
		did = "would delete"
	}
	t.Row(fmt.Sprintf("%s %s (%s); the log then begins at seq %d and holds %s", did, words.Count(r.Frames, "frame"), cli.Bytes(r.Bytes), r.FirstSeq, cli.Bytes(r.KeptBytes)))
	who := strings.Join(r.Consumers, ", ")
	if r.Unacked > 0 {
		t.Cells(cli.Cell{Text: fmt.Sprintf("%d of them were not acknowledged by %s", r.Unacked, who), Color: cli.Red})
	}
	if r.Blocked > 0 {
		t.Cells(cli.Cell{Text: fmt.Sprintf("%s kept, because %s has not acknowledged them", words.Count(r.Blocked, "frame"), who), Color: cli.Yellow})
	}
}

func newCheck() *cobra.Command {
	var repair bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Read the whole log and verify every checksum",
		Long: `check reads the whole log and lists what is damaged; it exits 1 if anything is.
--repair, on the log of a stopped gateway, moves what is damaged to the directory
quarantine in the log's directory and says exactly which seqs are gone. The gateway
tells consumers of them with sys.gap frames.`,
		Example: `  edge-bus check
  edge-bus --wal-dir /var/lib/edge-gw/log check --repair`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withLog(cmd, access(repair), func(ctx context.Context, log source) error {
				check := log.Check
				if repair {
					if log.stopped == nil {
						return cli.Usagef("--repair needs a stopped gateway: stop it and name its log with --wal-dir")
					}
					check = log.stopped.Repair
				}
				var r *pb.CheckLogResponse
				err := cli.During(cmd, "reading the log", func() (err error) {
					r, err = check(ctx)
					return cli.Interrupted(cmd, err, "%s", interruptedCheck(repair))
				})
				if err != nil {
					return err
				}
				if err := cli.NewOutput(cmd).Print(r, func(t *cli.Table) { checkTable(t, r) }); err != nil {
					return err
				}
				if len(r.Damages) > 0 && !r.Repaired {
					return cli.Exit(cli.Failed, fmt.Errorf("the log is damaged: stop the gateway and run 'edge-bus --wal-dir DIR check --repair'"))
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&repair, "repair", false, "mend the log of a stopped gateway")
	cli.AddOutputFlag(cmd)
	return cmd
}

// interruptedCheck says what a check leaves behind when a signal ends it.
func interruptedCheck(repair bool) string {
	if repair {
		return "the repair may be half done, which takes nothing from the log: run it again before the gateway starts"
	}
	return "not all of the log was read, and nothing was changed"
}

func checkTable(t *cli.Table, r *pb.CheckLogResponse) {
	t.Row(fmt.Sprintf("epoch %s, seq %d to %d: %s in %s, %s", r.Epoch, r.FirstSeq, r.LastSeq, words.Count(r.Frames, "frame"), words.Count(r.Blocks, "block"), cli.Bytes(r.Bytes)))
	for _, g := range r.Gaps {
		who := "for all"
		if g.Consumer != "" {
			who = "for consumer " + g.Consumer
		}
		t.Row(fmt.Sprintf("known gap: seq %d to %d, %s, %s", g.FirstSeq, g.LastSeq, who, g.Reason))
	}
	for _, d := range r.Damages {
		t.Cells(cli.Cell{Text: fmt.Sprintf("damaged: seq %d to %d: %s", d.FirstSeq, d.LastSeq, d.Text), Color: cli.Red})
	}
	switch {
	case r.Repaired:
		t.Row("repaired; what was damaged is in " + r.Preserved)
	case len(r.Damages) == 0:
		t.Cells(cli.Cell{Text: "no damage", Color: cli.Green})
	}
}
