package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/admin/busadmin"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	numbers "github.com/edge-gateway/edge-gateway/pkg/number"
	"github.com/edge-gateway/edge-gateway/pkg/words"
)

type replayFlags struct {
	filterFlags
	span                  spanFlags
	speed, target, config string
}

func newReplay() *cobra.Command {
	var flags replayFlags
	cmd := &cobra.Command{
		Use:   "replay --from N|TIME",
		Short: "Read frames from the log again: to the terminal, a file, or a connector",
		Long: `replay reads frames from the log, in order, and leaves every consumer's place alone.
--from and --to are ` + placeForms + `
--from 0 is the oldest frame.

--target stdout (the default) or a FILE that does not exist yet takes the frames in
the format of -o; a FILE's default is json, or csv where its name ends so. --target
mqtt, the name of a connector, sends them through it again: on a topic of their
own, TOPIC/replay/ID, marked with the replay's id. With the gateway stopped,
--config names its gateway.yml, which says where the log is and how the connector
reaches its broker; it is connected to as CLIENT_ID-replay-….`,
		Example: `  edge-bus replay --from 0 -o json
  edge-bus replay --from -15m --tag 'plant.*' -o csv
  edge-bus replay --from 'yesterday 22:00' --to 06:00 --target shift.csv
  edge-bus replay --from 41000 --to 42000 --target mqtt --speed 1x
  edge-bus replay --from -8h --target mqtt --config /etc/edge-gw/gateway.yml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, speed, err := flags.parse(time.Now())
			if err != nil {
				return err
			}
			at := place{dir: defaultWAL}
			if flags.config != "" {
				out, err := readOutlets(flags.config, slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)))
				if err != nil {
					return err
				}
				at = out.place()
			}
			return withLogAt(cmd, reading, at, func(ctx context.Context, log source) error {
				return replay(ctx, cmd, log, r, speed, flags.target)
			})
		},
	}
	flags.add(cmd)
	flags.span.add(cmd.Flags())
	cmd.Flags().StringVar(&flags.speed, "speed", "max", "max, or 1x for as they came (any factor: 10x)")
	cmd.Flags().StringVar(&flags.target, "target", "stdout", "stdout, mqtt (or connector:NAME), or a file")
	cmd.Flags().StringVar(&flags.config, "config", "", "gateway.yml of the gateway, for a replay to a connector while it is stopped")
	for _, err := range []error{cmd.MarkFlagRequired("from"), cmd.MarkFlagFilename("config", "yml", "yaml")} {
		if err != nil {
			panic(err) // the flags were added above
		}
	}
	cli.CompleteFlag(cmd, "target", consumerNames(func(c *pb.BusConsumer) bool { return !c.Parked }))
	cli.AddOutputFlag(cmd, cli.FormatTable, cli.FormatJSON, formatCSV)
	return cmd
}

func (f *replayFlags) parse(now time.Time) (r admin.Range, speed float64, err error) {
	if r, err = f.span.parse(now); err != nil {
		return r, 0, err
	}
	if r.Filter, err = f.filter(); err != nil {
		return r, 0, err
	}
	speed, err = parseSpeed(f.speed)
	return r, speed, err
}

// parseSpeed returns 0 for max.
func parseSpeed(s string) (float64, error) {
	if s == "max" {
		return 0, nil
	}
	f, err := numbers.Float(strings.TrimSuffix(s, "x"))
	if err != nil || !(f > 0 && f <= 1e6) || !strings.HasSuffix(s, "x") {
		return 0, cli.Usagef("--speed %s: expected max, 1x or another factor such as 10x", s)
	}
	return f, nil
}

func replay(ctx context.Context, cmd *cobra.Command, log source, r admin.Range, speed float64, target string) error {
	out := cli.NewOutput(cmd)
	known := connectors(ctx, log)
	switch {
	case slices.Contains(known, target):
		target = "connector:" + target
	case target == "mqtt" && len(known) == 1: // the only one, whatever its name
		target = "connector:" + known[0]
	}
	p := newProgress(cmd, target)
	defer p.line.Done()
	switch name, isConnector := strings.CutPrefix(target, "connector:"); {
	case target == "stdout":
		if err := replayTo(ctx, log, r, speed, newFrameWriter(out.Writer(), out.Format, out.Width()), p); err != nil || p.sent > 0 {
			return p.interrupted(cmd, err, target)
		}
		return sayEmpty(ctx, cmd, log)
	case isConnector && log.stopped != nil && log.outlets == nil, target == "mqtt" && log.stopped != nil && log.outlets == nil:
		return cli.Usagef("--target %s: the gateway is stopped: name its gateway.yml with --config", target)
	case isConnector:
		return p.interrupted(cmd, replayConnector(ctx, out, log, r, speed, name, p), name)
	case target == "mqtt":
		return cli.Usagef("--target mqtt: no connector has this name: expected one of %s", strings.Join(known, ", "))
	}
	if !strings.ContainsAny(target, "./\\") {
		return cli.Usagef("--target %s: expected stdout, a connector (%s), or a file with a dot or a slash in its name such as %s.json",
			target, strings.Join(known, ", "), target)
	}
	format := out.Format
	if !cmd.Flags().Changed("output") {
		format = cli.FormatJSON
		if strings.EqualFold(filepath.Ext(target), ".csv") {
			format = formatCSV
		}
	}
	var stopped error
	err := cli.WriteNew(target, cli.ForGroup, func(w io.Writer) error {
		err := replayTo(ctx, log, r, speed, newFrameWriter(w, format, 0), p)
		if cmd.Context().Err() != nil && p.sent > 0 { // its lines are whole: they stay
			stopped, err = err, nil
		}
		return err
	})
	if err != nil || stopped != nil {
		return p.interrupted(cmd, cmp.Or(stopped, err), target)
	}
	cmd.PrintErrf("%s written to %s\n", words.Count(p.sent, "frame"), target)
	if p.sent > 0 {
		return nil
	}
	return sayEmpty(ctx, cmd, log)
}

// connectors names the active consumers of a running gateway's log, which are its
// connectors, or those in the configuration of a stopped one; nil if they cannot be
// learned, which the replay itself will tell.
func connectors(ctx context.Context, log source) []string {
	if log.stopped != nil {
		return log.outlets.names()
	}
	s, err := log.Stats(ctx)
	if err != nil {
		return nil
	}
	var names []string
	for _, c := range s.Consumers {
		if !c.Parked {
			names = append(names, c.Name)
		}
	}
	return names
}

// sayEmpty tells a person that nothing was selected, and what the log holds.
func sayEmpty(ctx context.Context, cmd *cobra.Command, log source) error {
	s, err := log.Stats(ctx)
	if err != nil {
		return err
	}
	flag := func(name string) string { return cmd.Flag(name).Value.String() }
	to := flag("to")
	if to == "" {
		to = "now"
	}
	cmd.PrintErrf("no frames from %s to %s that were asked for; %s\n", flag("from"), to, heldText(s))
	return nil
}

// replayTo writes the frames of r, at their pace.
func replayTo(ctx context.Context, log source, r admin.Range, speed float64, w *frameWriter, p *progress) error {
	if err := w.begin(); err != nil {
		return err
	}
	pace := busadmin.NewPacer(speed)
	var damages []*pb.LogDamage
	err := log.Replay(ctx, r, func(part admin.ReplayPart) error {
		for _, b := range part.Batches {
			if err := pace.Hold(ctx, b.Frames[0].TS, w.flush); err != nil {
				return err
			}
			if err := w.write(b); err != nil {
				return err
			}
			p.frames(len(b.Frames), b.LastSeq(), part.LastSeq)
		}
		damages = append(damages, part.Damages...)
		return nil
	})
	if ferr := w.flush(); err == nil {
		err = ferr
	}
	if err == nil && len(damages) > 0 {
		err = damaged(damages)
	}
	return err
}

func damaged(list []*pb.LogDamage) error {
	text := "frames that cannot be read were left out:"
	for _, d := range list {
		text += fmt.Sprintf(" %d to %d (%s);", d.FirstSeq, d.LastSeq, d.Text)
	}
	return errors.New(strings.TrimSuffix(text, ";"))
}

func replayConnector(ctx context.Context, out *cli.Output, log source, r admin.Range, speed float64, name string, p *progress) error {
	last := new(pb.ReplayToResponse)
	err := log.ReplayTo(ctx, r, name, speed, func(rp *pb.ReplayToResponse) error {
		last = rp
		p.set(rp.Frames, rp.Seq, rp.LastSeq)
		return nil
	})
	p.line.Done()
	if err != nil {
		return err
	}
	return out.Print(last, func(t *cli.Table) {
		t.Row(fmt.Sprintf("replay %s: %s sent to %s", last.GetReplay(), words.Count(last.GetFrames(), "frame"), last.GetTopic()))
	})
}
