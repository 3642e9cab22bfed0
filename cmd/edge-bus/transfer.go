package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/admin/busadmin"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/words"
)

func newExport() *cobra.Command {
	var span spanFlags
	cmd := &cobra.Command{
		Use:   "export FILE",
		Short: "Write frames to a portable file that import reads",
		Long: `export writes the durable frames of the log, or those from --from to --to, to FILE,
which must not exist; - is standard output. --from and --to are
` + placeForms + `
With times, what lies between the first and the last frame of that time goes with
them: an export has no holes.`,
		Example: `  edge-bus export night-shift.edgelog --from 'yesterday 22:00' --to 06:00
  edge-bus export part.edgelog --from 41000 --to 98000
  edge-bus --wal-dir /var/lib/edge-gw/log export - |
    ssh lab 'cat > site-7.edgelog'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := span.parse(time.Now())
			if err != nil {
				return err
			}
			return withLog(cmd, reading, func(ctx context.Context, log source) error {
				first, last, err := seqsOf(ctx, cmd, log, r)
				if err != nil {
					return err
				}
				p := cli.NewProgress(cmd, "exporting")
				defer p.Done()
				var sum *pb.ExportSummary
				write := func(w io.Writer) (err error) {
					sum, err = log.Export(ctx, first, last, p.Writer(ctx, w))
					return err
				}
				if args[0] == "-" {
					err = write(cmd.OutOrStdout())
					err = cli.Interrupted(cmd, err, "the export that was written is not whole, and import refuses it: export again")
				} else {
					err = cli.WriteNew(args[0], cli.ForGroup, write)
					err = cli.Interrupted(cmd, err, "%s was not finished and is removed: export again", args[0])
				}
				if err != nil {
					return err
				}
				cmd.PrintErrf("%s exported\n", words.Count(sum.Frames, "frame"))
				if len(sum.Missing) > 0 {
					return damaged(sum.Missing)
				}
				return nil
			})
		},
	}
	span.add(cmd.Flags())
	return cmd
}

// seqsOf finds the seqs of a range that times bound; 0: open.
func seqsOf(ctx context.Context, cmd *cobra.Command, log source, r admin.Range) (first, last uint64, err error) {
	if r.FromTime.IsZero() && r.ToTime.IsZero() {
		return r.FromSeq, r.ToSeq, nil
	}
	d, err := log.Delivery(ctx, r)
	if err != nil {
		return 0, 0, err
	}
	if d.Frames == 0 {
		return 0, 0, fmt.Errorf("no frames from %s; %s", spanText(r), logHolds(d))
	}
	if d.Expired {
		cmd.PrintErrf("only part of it is left: %s\n", logHolds(d))
	}
	return d.FirstSeq, d.LastSeq, nil
}

func newImport() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Publish the frames of an export anew, or make a log of them",
		Long: `import publishes the frames of FILE through the running gateway: as new frames,
with new seqs and the source times that they had, so that its connectors deliver
what a broken gateway could not. It asks first.

With --wal-dir DIR, which must be empty or not exist, it makes a log there that is
a copy of the exported one, epoch and seqs included, to look at it elsewhere.`,
		Example: `  edge-bus import night-shift.edgelog
  edge-bus --wal-dir ./site-7 import site-7.edgelog
  edge-bus --wal-dir ./site-7 replay --from 0`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close() //nolint:errcheck // it was only read
			sum, err := importFile(cmd, f, yes)
			if err != nil {
				return err
			}
			cmd.PrintErrf("%s imported\n", words.Count(sum.Frames, "frame"))
			return nil
		},
	}
	cli.AddYesFlag(cmd, &yes)
	return cmd
}

func importFile(cmd *cobra.Command, f *os.File, yes bool) (sum *pb.ExportSummary, err error) {
	dir, err := walDir(cmd)
	if err != nil {
		return sum, err
	}
	info, err := f.Stat()
	if err != nil {
		return sum, err
	}
	if dir != "" {
		p := cli.NewProgress(cmd, "importing")
		defer p.Done()
		if sum, err = busadmin.ImportDir(dir, p.Reader(cmd.Context(), f, info.Size())); err != nil {
			err = fmt.Errorf("%s: %w", f.Name(), err)
		}
		return sum, cli.Interrupted(cmd, err, "%s was not made: import again", dir)
	}
	err = cli.WithGateway(cmd, func(ctx context.Context, c *admin.Client) error {
		if err := cli.Confirm(cmd, yes, fmt.Sprintf("Publish the frames of %s through this gateway?", f.Name())); err != nil {
			return err
		}
		p := cli.NewProgress(cmd, "importing")
		defer p.Done()
		read := p.Reader(ctx, f, info.Size())
		if sum, err = c.Bus.Import(ctx, read); err != nil {
			err = fmt.Errorf("%s: %w", f.Name(), err)
		}
		return cli.Interrupted(cmd, err, "%s of the file were sent, and the frames in them are published; to import it again publishes them twice", read)
	})
	return sum, err
}
