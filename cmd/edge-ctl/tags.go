package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/moment"
	"github.com/edge-gateway/edge-gateway/pkg/words"
)

func newTags() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tags [GLOB]",
		Short: "List tags with their last values, or watch them",
		Long: `tags lists the tags whose name matches GLOB (all without one) with their last
values. With --watch, changed values are shown as they come: in place on a
terminal, one line each otherwise.`,
		Example: `  edge-ctl tags
  edge-ctl tags 'plant.*' --watch
  edge-ctl tags --watch -o json | jq -c '{tag, value}'`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: cli.Complete(envPrefix, tagNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			glob := ""
			if len(args) > 0 {
				glob = args[0]
			}
			if again, err := cmd.Flags().GetBool("watch"); err != nil || again && !cli.NewOutput(cmd).Interactive() {
				return followTags(cmd, glob)
			}
			return watched(cmd, func(ctx context.Context, c *admin.Client, out *cli.Output) error {
				list, err := c.Tags.List(ctx, glob)
				if err != nil {
					return err
				}
				if len(list) == 0 && glob != "" {
					cmd.PrintErrf("no tag matches %s; 'edge-ctl tags' lists all\n", glob)
				}
				return out.Print(list, func(t *cli.Table) { tagsTable(t, list) })
			})
		},
	}
	addWatchFlags(cmd)
	cli.AddOutputFlag(cmd)
	return cmd
}

func tagsTable(t *cli.Table, list []*pb.Tag) {
	t.Header("TAG", "VALUE", "UNIT", "QUALITY", "AGE", "DRIVER", "REASON", "ACCESS", "TYPE", "ADDRESS", "FRAMES")
	t.Keep("REASON")
	for _, g := range list {
		t.Cells(text(g.Name), cli.Cell{Text: g.Value.Frame().String(), Right: true}, text(g.Unit), qualityCell(g.Known, g.Quality.Frame()), age(g.TsNs),
			text(g.Driver), text(cli.OneLine(g.Reason)), text(g.Access), text(g.Datatype), text(g.Address), number(g.Frames))
	}
}

func qualityCell(known bool, q frame.Quality) cli.Cell {
	switch {
	case !known:
		return cli.Cell{Text: "-", Color: cli.Faint}
	case q == frame.Good:
		return cli.Cell{Text: q.String(), Color: cli.Green}
	case q == frame.Uncertain:
		return cli.Cell{Text: q.String(), Color: cli.Yellow}
	}
	return cli.Cell{Text: q.String(), Color: cli.Red}
}

func age(ns int64) cli.Cell {
	if ns == 0 {
		return cli.Cell{Text: "-", Right: true}
	}
	return cli.Cell{Text: cli.Ago(time.Unix(0, ns), time.Now()), Right: true}
}

// followTags prints a line for each changed tag.
func followTags(cmd *cobra.Command, glob string) error {
	interval, err := cmd.Flags().GetDuration("interval")
	if err != nil {
		return err
	}
	out := cli.NewOutput(cmd)
	return cli.WithGateway(cmd, func(ctx context.Context, c *admin.Client) error {
		skipped := uint64(0)
		open := func(ctx context.Context) (grpc.ServerStreamingClient[pb.WatchTagsResponse], error) {
			return c.Tags.WatchTags(ctx, &pb.WatchTagsRequest{Glob: glob, Interval: durationpb.New(interval)})
		}
		return admin.Receive(ctx, open, func(ch *pb.WatchTagsResponse) error {
			for _, t := range ch.Tags {
				if err := out.PrintLine(t, func() string { return tagLine(t) }); err != nil {
					return err
				}
			}
			if ch.Skipped > skipped {
				skipped = ch.Skipped
				cmd.PrintErrf("too slow to show every value: %s skipped so far\n", words.Count(skipped, "update"))
			}
			return nil
		})
	})
}

func tagLine(t *pb.Tag) string { return valueLine(t.Name, t.Value, t.Unit, t.Quality, t.TsNs) }

func valueLine(name string, v *pb.Value, unit string, q pb.Quality, ts int64) string {
	line := name + " = " + v.Frame().String()
	if unit != "" {
		line += " " + unit
	}
	if ts == 0 {
		return line + "  (no value yet)"
	}
	return line + "  " + q.Frame().String() + "  " + moment.Clock(time.Unix(0, ts))
}

func newRead() *cobra.Command {
	var live, raw bool
	cmd := &cobra.Command{
		Use:   "read TAG",
		Short: "Show a tag's last value, or read it from the device now",
		Example: `  edge-ctl read plant.flow            # the last value that was polled
  edge-ctl read plant.flow --live     # ask the device now
  edge-ctl read plant.flow --raw      # and show its bytes`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cli.Complete(envPrefix, tagNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return cli.WithGateway(cmd, func(ctx context.Context, c *admin.Client) error {
				if live || raw {
					return readLive(ctx, cmd, c, args[0], raw)
				}
				t, err := oneTag(ctx, c, args[0])
				if err != nil {
					return err
				}
				return cli.NewOutput(cmd).Print(t, func(tb *cli.Table) {
					tb.Row(tagLine(t))
					if t.Reason != "" {
						tb.Row("  " + cli.OneLine(t.Reason))
						tb.Row("  → " + t.Hint)
					}
				})
			})
		},
	}
	cmd.Flags().BoolVar(&live, "live", false, "read it from the device now")
	cmd.Flags().BoolVar(&raw, "raw", false, "show the device's bytes (implies --live)")
	cli.AddOutputFlag(cmd)
	return cmd
}

// oneTag returns the tag of that name.
func oneTag(ctx context.Context, c *admin.Client, name string) (*pb.Tag, error) {
	list, err := c.Tags.List(ctx, "")
	if err != nil {
		return nil, err
	}
	for _, t := range list {
		if t.Name == name {
			return t, nil
		}
	}
	return nil, fmt.Errorf("tag %q: %w; 'edge-ctl tags' lists all", name, errkind.NotFound)
}

func readLive(ctx context.Context, cmd *cobra.Command, c *admin.Client, tag string, raw bool) error {
	var r *pb.ReadTagResponse
	err := asked(cmd, "asking the device", func() (err error) {
		r, err = c.Tags.ReadTag(ctx, &pb.ReadTagRequest{Tag: tag})
		return err
	})
	if err != nil {
		return err
	}
	return cli.NewOutput(cmd).Print(r, func(t *cli.Table) {
		line := valueLine(tag, r.Value, "", r.Quality, r.TsNs)
		if raw {
			line += "  raw " + hex.EncodeToString(r.Raw)
		}
		t.Row(line)
	})
}

func newWrite() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "write TAG VALUE",
		Short: "Write a value, in engineering units, to a device",
		Long: `write writes VALUE to TAG's device and shows what the device holds afterwards. The
gateway converts VALUE to the tag's type and refuses what does not fit. It asks
first; -y says yes.

A write is sent once. If its answer is lost and the device can't be read back, the
outcome is unknown: the command says so and ends with exit code 7. Look at the
machine before you write again.`,
		Example: `  edge-ctl write plant.setpoint 42.5
  edge-ctl write plant.pump_on true -y
  edge-ctl write plant.offset -3`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: cli.Complete(envPrefix, tagNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return cli.WithGateway(cmd, func(ctx context.Context, c *admin.Client) error {
				t, err := oneTag(ctx, c, args[0])
				if err != nil {
					return err
				}
				question := fmt.Sprintf("Write %s to %s (%s of driver %s, now %s)?", args[1], t.Name, t.Address, t.Driver, t.Value.Frame())
				if err := cli.Confirm(cmd, yes, question); err != nil {
					return err
				}
				var res *pb.WriteTagResponse
				err = cli.During(cmd, "writing", func() (err error) {
					res, err = c.Tags.WriteTag(ctx, &pb.WriteTagRequest{Tag: args[0], Value: pb.ValueOf(frame.StringValue(args[1]))})
					return err
				})
				v := written{Tag: t.Name, Value: args[1], Result: "ok", WriteTagResponse: res}
				if errors.Is(err, errkind.OutcomeUnknown) {
					v.Result, v.WriteTagResponse = "unknown", &pb.WriteTagResponse{Note: err.Error()}
					// A person reads the error.
					return errors.Join(cli.NewOutput(cmd).Print(v, func(*cli.Table) {}), err)
				}
				if err != nil {
					return err
				}
				return cli.NewOutput(cmd).Print(v, func(tb *cli.Table) { tb.Row(v.line(t.Unit)) })
			})
		},
	}
	cli.AddYesFlag(cmd, &yes)
	cli.AddOutputFlag(cmd)
	return cmd
}

// written is what write prints: what was asked and what came of it.
type written struct {
	Tag   string
	Value string // as it was asked for
	// Result is ok, or unknown: nobody can tell whether it was executed.
	Result string
	*pb.WriteTagResponse
}

// MarshalJSON puts the tag and the value before the fields of the result.
func (w written) MarshalJSON() ([]byte, error) {
	head, err := json.Marshal(struct {
		Tag    string `json:"tag"`
		Value  string `json:"value"`
		Result string `json:"result"`
	}{w.Tag, w.Value, w.Result})
	if err != nil {
		return nil, err
	}
	result, err := json.Marshal(w.WriteTagResponse)
	if err != nil {
		return nil, err
	}
	return append(append(head[:len(head)-1], ','), result[1:]...), nil
}

// line says it to a person. The device may hold another number than was asked for,
// because its own has fewer digits.
func (w written) line(unit string) string {
	line := w.outcome(unit)
	if w.Note != "" {
		line += "; " + w.Note
	}
	return line
}

func (w written) outcome(unit string) string {
	if w.ReadBack.Frame().IsNone() {
		return w.Tag + ": written; the device's value was not read back"
	}
	held := strings.TrimSpace(w.ReadBack.Frame().String() + " " + unit)
	asked, err1 := strconv.ParseFloat(w.Value, 64)
	holds, err2 := strconv.ParseFloat(w.ReadBack.Frame().String(), 64)
	if err1 == nil && err2 == nil && asked != holds {
		return fmt.Sprintf("%s: written; asked %s, the device holds %s", w.Tag, w.Value, held)
	}
	return fmt.Sprintf("%s: written; the device holds %s", w.Tag, held)
}
