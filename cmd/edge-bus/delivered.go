package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/moment"
	"github.com/edge-gateway/edge-gateway/pkg/words"
)

func newDelivered() *cobra.Command {
	var flags filterFlags
	var span spanFlags
	cmd := &cobra.Command{
		Use:   "delivered",
		Short: "Tell whether the frames of a time have reached the brokers",
		Long: `delivered counts, for each connector, which frames of --from to --to its broker has
acknowledged, which wait, and which it will not get (edge-bus check says why). It
exits with 1 if not all are delivered. --from and --to are ` + placeForms + `

What a connector's own filter leaves out counts as acknowledged.`,
		Example: `  edge-bus delivered --to 14:10
  edge-bus delivered --from 'yesterday 22:00' --to 06:00 --tag 'oven.*'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := span.parse(time.Now())
			if err != nil {
				return err
			}
			if r.Filter, err = flags.filter(); err != nil {
				return err
			}
			return withLog(cmd, reading, func(ctx context.Context, log source) error {
				var d *pb.GetDeliveryResponse
				err := cli.During(cmd, "counting", func() (err error) {
					d, err = log.Delivery(ctx, r)
					return cli.Interrupted(cmd, err, "not everything was counted, and nothing was changed")
				})
				if err != nil {
					return err
				}
				if err := cli.NewOutput(cmd).Print(d, func(t *cli.Table) { deliveryTable(t, d) }); err != nil {
					return err
				}
				if len(d.Damages) > 0 {
					return damaged(d.Damages)
				}
				return sayDelivered(cmd, r, d)
			})
		},
	}
	flags.add(cmd)
	span.add(cmd.Flags())
	cli.AddOutputFlag(cmd)
	return cmd
}

func deliveryTable(t *cli.Table, d *pb.GetDeliveryResponse) {
	t.Header("CONNECTOR", "DELIVERED", "WAITING", "MISSED", "ALL UP TO")
	for _, c := range d.Consumers {
		upTo := fmt.Sprintf("seq %d", c.AckSeq)
		if at := admin.Time(c.AckTime); !at.IsZero() {
			upTo += ", " + moment.Format(at)
		}
		missed, waiting := number(c.Missed), number(c.Waiting)
		if c.Missed > 0 {
			missed.Color = cli.Red
		}
		if c.Waiting > 0 {
			waiting.Color = cli.Yellow
		}
		t.Cells(cli.Cell{Text: c.Name}, number(c.Delivered), waiting, missed, cli.Cell{Text: upTo})
	}
}

// sayDelivered sums up for a person, and fails if something is not delivered.
func sayDelivered(cmd *cobra.Command, r admin.Range, d *pb.GetDeliveryResponse) error {
	if d.Frames == 0 {
		cmd.PrintErrf("no frames from %s; %s\n", spanText(r), logHolds(d))
	} else {
		cmd.PrintErrf("%s from %s: seq %d to %d, read from %s to %s\n", words.Count(d.Frames, "frame"), spanText(r), d.FirstSeq, d.LastSeq,
			moment.Format(admin.Time(d.FirstTime)), moment.Format(admin.Time(d.LastTime)))
	}
	if d.Expired {
		cmd.PrintErrf("%s: what was before was delivered to every connector, or is a gap that 'edge-bus check' lists\n", logHolds(d))
	}
	var waiting, missed uint64
	behind := "" // the first that waits
	for _, c := range d.Consumers {
		waiting, missed = waiting+c.Waiting, missed+c.Missed
		if behind == "" && c.Waiting > 0 {
			behind = c.Name
		}
	}
	switch {
	case len(d.Consumers) == 0:
		return errors.New("no connector reads this log")
	case missed > 0:
		return fmt.Errorf("%s missed: 'edge-bus check' says why", words.Count(missed, "frame"))
	case waiting > 0:
		return fmt.Errorf("not delivered yet: %d; 'edge-ctl why %s' says what they wait for", waiting, behind)
	}
	return nil
}

// logHolds says where the log begins.
func logHolds(d *pb.GetDeliveryResponse) string {
	if d.LogTime == nil {
		return "the log is empty"
	}
	return fmt.Sprintf("the log begins with seq %d, logged %s", d.LogSeq, moment.Format(admin.Time(d.LogTime)))
}
