package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/words"
)

func newParked() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "parked",
		Short: "List, send or drop messages that a broker refused",
		Long: `A connector with on_refused: park puts a message aside that the broker refuses
again and again, and goes on without it. Its frames stay in the log, whatever gc
deletes, until the message is sent again or dropped.`,
		Example: `  edge-bus parked list
  edge-bus parked retry mqtt/7
  edge-bus parked drop mqtt/7`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newParkedList(), newParkedRetry(), newParkedDrop())
	return cmd
}

func newParkedList() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the parked messages, and why they were refused",
		Example: `  edge-bus parked list`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withLog(cmd, reading, func(ctx context.Context, log source) error {
				list, err := log.Parked(ctx)
				if err != nil {
					return err
				}
				return cli.NewOutput(cmd).Print(append([]*pb.ParkedMessage{}, list...), func(t *cli.Table) {
					t.Header("MESSAGE", "FRAMES", "FROM", "TO", "TOPIC", "AGO", "REASON")
					t.Keep("TOPIC", "REASON")
					for _, p := range list {
						reason := p.Reason
						if p.Retry {
							reason = "waits to be sent again; it was refused: " + reason
						}
						t.Cells(cli.Cell{Text: parkedName(p)}, number(p.Frames), number(p.FirstSeq), number(p.LastSeq), cli.Cell{Text: p.Topic},
							cli.Cell{Text: cli.Ago(admin.Time(p.Time), time.Now()), Right: true}, cli.Cell{Text: reason})
					}
				})
			})
		},
	}
	cli.AddOutputFlag(cmd)
	return cmd
}

func parkedName(p *pb.ParkedMessage) string { return fmt.Sprintf("%s/%d", p.Consumer, p.Id) }

func newParkedRetry() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "retry CONSUMER/ID… | --all",
		Short: "Send parked messages again, with the current configuration",
		Long: `retry sends messages again, on the topic and in the form that the connector is
configured for now. A stopped gateway sends them when it starts.`,
		Example:           `  edge-bus parked retry mqtt/7`,
		ValidArgsFunction: completeParked(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return eachParked(cmd, args, all, func(ctx context.Context, log source, p *pb.ParkedMessage) error {
				if err := log.RetryParked(ctx, p.Consumer, p.Id); err != nil {
					return err
				}
				cmd.PrintErrf("%s is sent again\n", parkedName(p))
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all that were put aside")
	return cmd
}

func newParkedDrop() *cobra.Command {
	var all, yes bool
	cmd := &cobra.Command{
		Use:   "drop CONSUMER/ID… | --all",
		Short: "Give up parked messages for good",
		Long: `drop gives messages up for good: their frames are never delivered by this connector,
and can be deleted from the log. It asks first.`,
		Example:           `  edge-bus parked drop mqtt/7`,
		ValidArgsFunction: completeParked(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return eachParked(cmd, args, all, func(ctx context.Context, log source, p *pb.ParkedMessage) error {
				what := fmt.Sprintf("Give up %s, %s from %d to %d on %s?", parkedName(p), words.Count(p.Frames, "frame"), p.FirstSeq, p.LastSeq, p.Topic)
				drop := func() error { return log.DropParked(ctx, p.Consumer, p.Id) }
				return cli.Confirmed(cmd, yes, what, drop, parkedName(p)+" dropped")
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all that were put aside")
	cli.AddYesFlag(cmd, &yes)
	return cmd
}

func completeParked() cobra.CompletionFunc {
	return cli.CompleteEach(envPrefix, func(ctx context.Context, c *admin.Client) ([]string, error) {
		list, err := c.Bus.Parked(ctx)
		var names []string
		for _, p := range list {
			names = append(names, parkedName(p))
		}
		return names, err
	})
}

// eachParked does something with each message that args name.
func eachParked(cmd *cobra.Command, args []string, all bool, do func(context.Context, source, *pb.ParkedMessage) error) error {
	if all == (len(args) > 0) {
		return cli.Usagef("expected messages, such as mqtt/7, or --all; 'edge-bus parked list' shows what there is")
	}
	for _, arg := range args {
		if _, id, ok := strings.Cut(arg, "/"); !ok || !isNumber(id) {
			return cli.Usagef("%q: expected CONSUMER/ID, such as mqtt/7", arg)
		}
	}
	return withLog(cmd, writing, func(ctx context.Context, log source) error {
		list, err := log.Parked(ctx)
		if err != nil {
			return err
		}
		byName := map[string]*pb.ParkedMessage{}
		for _, p := range list {
			byName[parkedName(p)] = p
			if all {
				args = append(args, parkedName(p))
			}
		}
		var errs []error
		for _, arg := range args {
			p, ok := byName[arg]
			if !ok {
				errs = append(errs, fmt.Errorf("parked message %s: %w; 'edge-bus parked list' shows what there is", arg, errkind.NotFound))
				continue
			}
			errs = append(errs, do(ctx, log, p))
		}
		return errors.Join(errs...)
	})
}

func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 64)
	return err == nil
}
