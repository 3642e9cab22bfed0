package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	"github.com/edge-gateway/edge-gateway/pkg/audit"
	"github.com/edge-gateway/edge-gateway/pkg/bus"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/moment"
	"github.com/edge-gateway/edge-gateway/pkg/words"
)

func newAudit() *cobra.Command {
	var anchors []string
	var list bool
	cmd := &cobra.Command{
		Use:   "audit [FILE]",
		Short: "Verify the chain of audit records",
		Long: `audit verifies that the audit records of a gateway are all there and as they were
written: each names its number and the hash of the one before. It reads the running
gateway's log, that of a stopped one (--wal-dir), or FILE: an export, or JSON lines
as a consumer keeps them (frames, payloads or records); - is standard input.

--list lists them for people: who did what, when, and with what result.

It tells from which record to which the chain is whole, where and how it breaks,
and what this copy can't show. It exits 1 where the chain breaks. Note the last
record's N:HASH elsewhere: with --anchor, the next audit proves that the chain
still holds that record, and was not written anew.`,
		Example: `  edge-bus audit
  edge-bus audit --list
  edge-bus --wal-dir /var/lib/edge-gw/log audit -o json
  edge-bus audit night-shift.edgelog
  mosquitto_sub -t '/edge/acme/line-1/data' -C 1000 | edge-bus audit - \
    --anchor 812:5f0c…`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var marks []audit.Mark
			for _, a := range anchors {
				m, err := audit.ParseAnchor(a)
				if err != nil {
					return cli.Usagef("--anchor: %w", err)
				}
				marks = append(marks, m)
			}
			v := audit.NewVerifier(marks...)
			var told deeds
			if list {
				v.Tell(told.take)
			}
			if err := readAudit(cmd, args, v); err != nil {
				return err
			}
			if list {
				err := errors.Join(v.Told(), told.show(cmd))
				if r := v.Report(); !r.Whole() {
					cmd.PrintErrln("warning: the chain of these records is broken: 'edge-bus audit' says where")
				}
				return err
			}
			return showAudit(cmd, v.Report())
		},
	}
	cmd.Flags().StringArrayVar(&anchors, "anchor", nil, "a record that an earlier audit printed, N:HASH (repeatable)")
	cmd.Flags().BoolVar(&list, "list", false, "list who did what, when, and with what result")
	cmd.MarkFlagsMutuallyExclusive("list", "anchor")
	cli.AddOutputFlag(cmd)
	return cmd
}

// readAudit reads the records of the file or log that is asked for.
func readAudit(cmd *cobra.Command, args []string, v *audit.Verifier) error {
	const what, left = "reading the records", "not all records were read, and nothing was changed"
	if len(args) == 0 {
		return withLog(cmd, reading, func(ctx context.Context, log source) error {
			return cli.Interrupted(cmd, cli.During(cmd, what, func() error { return auditLog(ctx, log, v) }), left)
		})
	}
	in, size := cmd.InOrStdin(), int64(0)
	if args[0] != "-" {
		f, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // it was only read
		if info, err := f.Stat(); err == nil {
			size = info.Size()
		}
		in = f
	}
	p := cli.NewProgress(cmd, what)
	defer p.Done()
	if err := auditFile(p.Reader(cmd.Context(), in, size), v); err != nil {
		return cli.Interrupted(cmd, fmt.Errorf("%s: %w", args[0], err), left)
	}
	return nil
}

func auditLog(ctx context.Context, log source, v *audit.Verifier) error {
	r := admin.Range{Filter: frame.Filter{Tags: []string{audit.Tag}}}
	return log.Replay(ctx, r, func(part admin.ReplayPart) error {
		for _, b := range part.Batches {
			v.TakeBatch(b)
		}
		for _, d := range part.Damages {
			v.Unreadable(d.FirstSeq, d.LastSeq, d.Text)
		}
		return nil
	})
}

// auditFile reads an export, or lines of JSON.
func auditFile(in io.Reader, v *audit.Verifier) error {
	r := bufio.NewReader(in)
	if head, err := r.Peek(8); err == nil && bus.IsExport(head) {
		t, err := bus.ReadExport(r, func(b *frame.Batch) error {
			v.TakeBatch(b)
			return nil
		})
		for _, m := range t.Missing {
			v.Unreadable(m.First, m.Last, "damaged when the export was made")
		}
		return err
	}
	return v.ReadLines(r)
}

func showAudit(cmd *cobra.Command, r audit.Report) error {
	err := cli.NewOutput(cmd).Print(r, func(t *cli.Table) {
		t.Header("RECORDS", "TIME", "FRAMES", "CHAIN")
		t.Keep("TIME")
		for _, run := range r.Runs {
			t.Cells(cli.Cell{Text: span(run.First.N, run.Last.N)}, cli.Cell{Text: auditTime(run.First.Time) + " to " + auditTime(run.Last.Time)},
				cli.Cell{Text: span(run.First.Seq, run.Last.Seq)}, cli.Cell{Text: "whole", Color: cli.Green})
		}
		for _, b := range r.Breaks {
			t.Cells(cli.Cell{Text: fmt.Sprint(b.N)}, cli.Cell{Text: "-"}, cli.Cell{Text: fmt.Sprint(b.Seq)}, cli.Cell{Text: "broken: " + b.Text, Color: cli.Red})
		}
	})
	if err != nil {
		return err
	}
	tellAudit(cmd, &r)
	if !r.Whole() {
		return fmt.Errorf("the chain of audit records is broken in %s", words.Count(len(r.Breaks)+r.MoreBreaks, "place"))
	}
	return nil
}

// tellAudit tells a person what stands in no row.
func tellAudit(cmd *cobra.Command, r *audit.Report) {
	if r.MoreBreaks > 0 {
		cmd.PrintErrf("%s not shown\n", words.Count(r.MoreBreaks, "more break"))
	}
	if r.Repeats > 0 {
		cmd.PrintErrf("%s came again, unchanged\n", words.Count(r.Repeats, "record"))
	}
	for _, text := range r.Unknown {
		cmd.PrintErrf("unknown: %s\n", text)
	}
	if n := len(r.Runs); n > 0 {
		last := r.Runs[n-1].Last
		cmd.PrintErrf("anchor for the next audit: %d:%s\n", last.N, last.Hash)
	}
}

// span is a range of numbers, of which 0 is unknown.
func span(first, last uint64) string {
	switch {
	case first == 0 || last == 0:
		return "-"
	case first == last:
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d–%d", first, last)
}

func auditTime(t time.Time) string {
	if t.IsZero() {
		return "unknown"
	}
	return moment.Format(t)
}
