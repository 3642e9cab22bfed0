package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/moment"
)

func newStats() *cobra.Command {
	var watch bool
	var interval time.Duration
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Show ring, log and consumers",
		Example: `  edge-bus stats
  edge-bus stats --watch
  edge-bus stats -o json | jq '.consumers[] | select(.lag > 1000)'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if interval < 100*time.Millisecond {
				return cli.Usagef("--interval %v: expected 100ms or more", interval)
			}
			return withLog(cmd, reading, func(ctx context.Context, log source) error {
				show := func(out *cli.Output) error {
					s, err := log.Stats(ctx)
					if err != nil {
						return err
					}
					return out.Print(s, func(t *cli.Table) { statsTable(t, s) })
				}
				if !watch {
					return show(cli.NewOutput(cmd))
				}
				if err := log.runningOnly("--watch"); err != nil {
					return err
				}
				return cli.NewOutput(cmd).Watch(ctx, interval, show)
			})
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "show it again and again, until Ctrl-C")
	cmd.Flags().DurationVar(&interval, "interval", time.Second, "how often, with --watch (100ms or more)")
	cli.AddOutputFlag(cmd)
	return cmd
}

func statsTable(t *cli.Table, s *pb.GetBusStatsResponse) {
	row := func(name, format string, args ...any) {
		t.Cells(cli.Cell{Text: name, Color: cli.Faint}, cli.Cell{Text: fmt.Sprintf(format, args...)})
	}
	held := uint64(0)
	if s.LastSeq >= s.FirstSeq {
		held = s.LastSeq - s.FirstSeq + 1
	}
	row("epoch", "%s", s.Epoch)
	row("frames", "%d to %d (%s held)", s.FirstSeq, s.LastSeq, cli.Count(held))
	if held > 0 {
		row("times", "%s to %s", moment.Format(admin.Time(s.FirstTime)), moment.Format(admin.Time(s.LastTime)))
	}
	row("durable", "up to %d (%d behind)", s.DurableSeq, s.LastSeq-min(s.DurableSeq, s.LastSeq))
	if s.RingSize > 0 {
		row("ring", "%d of %d frames used", s.RingUsed, s.RingSize)
	}
	limit := ""
	if s.WalMaxBytes > 0 {
		limit = " of " + cli.Bytes(s.WalMaxBytes)
	}
	row("log", "%s%s, %s on disk, %s left there", cli.Bytes(s.WalBytes), limit, cli.Bytes(s.DiskBytes), cli.Bytes(s.FreeBytes))
	switch {
	case s.DiskFull:
		t.Cells(cli.Cell{Text: "pressure", Color: cli.Faint}, cli.Cell{Text: "the disk is full: publishing waits", Color: cli.Red})
	case s.Paused:
		t.Cells(cli.Cell{Text: "pressure", Color: cli.Faint}, cli.Cell{Text: "drivers are paused until there is room", Color: cli.Red})
	}
	if s.NoTail != "" {
		t.Cells(cli.Cell{Text: "kill -9", Color: cli.Faint}, cli.Cell{Text: "takes what is not synced yet: " + s.NoTail, Color: cli.Yellow})
	}
	for _, c := range s.Consumers {
		state, color := "", cli.Plain
		if c.Parked {
			state, color = ", parked: no connector reads it", cli.Yellow
		}
		t.Cells(cli.Cell{Text: "consumer", Color: cli.Faint},
			cli.Cell{Text: fmt.Sprintf("%s: acknowledged up to %d%s, lag %d%s", c.Name, c.AckSeq, loggedAt(c), c.Lag, state), Color: color})
	}
}

// loggedAt says when the last frame that c has acknowledged was logged, if the log
// still holds it.
func loggedAt(c *pb.BusConsumer) string {
	if at := admin.Time(c.AckTime); !at.IsZero() {
		return " of " + moment.Format(at)
	}
	return ""
}

func newConsumers() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "consumers",
		Short: "List the consumers and their places in the log; forget or rename one",
		Example: `  edge-bus consumers
  edge-bus consumers rm old-broker`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withLog(cmd, reading, func(ctx context.Context, log source) error {
				s, err := log.Stats(ctx)
				if err != nil {
					return err
				}
				return cli.NewOutput(cmd).Print(append([]*pb.BusConsumer{}, s.Consumers...), func(t *cli.Table) {
					t.Header("CONSUMER", "ACKNOWLEDGED", "LAG", "STATE", "FOR", "LOGGED")
					for _, c := range s.Consumers {
						state := cli.Cell{Text: "active", Color: cli.Green}
						if c.Parked {
							state = cli.Cell{Text: "parked", Color: cli.Yellow}
						}
						t.Cells(cli.Cell{Text: c.Name}, number(c.AckSeq), number(c.Lag), state, cli.Cell{Text: cli.Ago(admin.Time(c.ParkedSince), time.Now()), Right: true},
							cli.Cell{Text: moment.Format(admin.Time(c.AckTime))})
					}
				})
			})
		},
	}
	cli.AddOutputFlag(cmd)
	cmd.AddCommand(newConsumersRm(), newConsumersMv())
	return cmd
}

func newConsumersMv() *cobra.Command {
	return &cobra.Command{
		Use:   "mv OLD NEW",
		Short: "Give a consumer the name that its connector has now",
		Long: `mv moves the place in the log, what is in flight and the session of a consumer whose
connector was renamed, so that nothing is sent again or left out. It works on the log of
a stopped gateway; rename_from in the connector's settings does the same at a start.`,
		Example: `  edge-bus --wal-dir /var/lib/edge-gw/log consumers mv mqtt cloud`,
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withLog(cmd, writing, func(ctx context.Context, log source) error {
				if log.stopped == nil {
					return cli.Usagef("consumers mv is for a stopped gateway: stop it and give --wal-dir DIR, or set rename_from: %s in connectors.%s and restart", args[0], args[1])
				}
				if err := log.stopped.MoveConsumer(ctx, args[0], args[1]); err != nil {
					return err
				}
				cmd.PrintErrf("consumer %s is now %s\n", args[0], args[1])
				return nil
			})
		},
	}
}

func newConsumersRm() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "rm NAME",
		Short: "Forget a consumer whose connector is not configured any more",
		Long: `rm gives up the place in the log of a consumer that no connector reads for. The
frames that only it still needed can then be deleted. It asks first.`,
		Example:           `  edge-bus consumers rm old-broker`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cli.First(consumerNames((*pb.BusConsumer).GetParked)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withLog(cmd, writing, func(ctx context.Context, log source) error {
				s, err := log.Stats(ctx)
				if err != nil {
					return err
				}
				if !slices.ContainsFunc(s.Consumers, func(c *pb.BusConsumer) bool { return c.Name == args[0] }) {
					return fmt.Errorf("consumer %q: %w; 'edge-bus consumers' lists all", args[0], errkind.NotFound)
				}
				return cli.Confirmed(cmd, yes, fmt.Sprintf("Forget consumer %s and its place in the log?", args[0]),
					func() error { return log.RemoveConsumer(ctx, args[0]) }, fmt.Sprintf("consumer %s forgotten", args[0]))
			})
		},
	}
	cli.AddYesFlag(cmd, &yes)
	return cmd
}

func number(n uint64) cli.Cell { return cli.Cell{Text: fmt.Sprint(n), Right: true} }
