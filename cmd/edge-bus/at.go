package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	pb "github.com/edge-gateway/edge-gateway/pkg/admin/adminpb"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/moment"
)

// valueThen is the value that a tag had at a time.
type valueThen struct {
	Seq     uint64          `json:"seq"`
	Tag     string          `json:"tag"`
	Driver  string          `json:"driver"`
	Value   json.RawMessage `json:"value"` // as in a payload
	Unit    string          `json:"unit,omitempty"`
	Quality string          `json:"quality"`
	Time    time.Time       `json:"time"`   // when the source had it
	AgeMs   int64           `json:"age_ms"` // at the time that was asked for

	text string // the value
}

func newAt() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "at TAG... TIME",
		Short: "Show the values that tags had at a time",
		Long: `at shows the last value of each TAG that was read at TIME or before, with its
quality and with how old it was then. TAG may be a glob. TIME is a time such as
14:03, 'yesterday 14:03', '2026-11-27 14:03', 2026-11-27T14:03:00Z or -15m.

A tag that reports only changes may have had its value for a long time: at looks
back as far as the log goes. It doesn't know what the log no longer holds.`,
		Example: `  edge-bus at oven.zone1 14:03
  edge-bus at oven.zone1 -15m
  edge-bus at 'oven.*' press.force 'yesterday 22:00'`,
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: cli.CompleteEach(envPrefix, tagNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			n := len(args) - 1
			at, err := moment.Parse(args[n], time.Now())
			if err != nil {
				return cli.Usagef("TIME: %w", err)
			}
			if _, err := (frame.Filter{Tags: args[:n]}).Compile(); err != nil {
				return cli.Usagef("%w", err)
			}
			return withLog(cmd, reading, func(ctx context.Context, log source) error {
				return showAt(ctx, cmd, log, args[:n], at)
			})
		},
	}
	cli.AddOutputFlag(cmd)
	return cmd
}

func showAt(ctx context.Context, cmd *cobra.Command, log source, tags []string, at time.Time) error {
	var found map[string]valueThen
	var damages []*pb.LogDamage
	err := cli.During(cmd, "looking back", func() (err error) {
		found, damages, err = lastValues(ctx, log, tags, at)
		return cli.Interrupted(cmd, err, "it did not look back far enough, and nothing was changed")
	})
	if err != nil {
		return err
	}
	out := make([]valueThen, 0, len(found))
	for _, v := range found {
		v.AgeMs = at.Sub(v.Time).Milliseconds()
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b valueThen) int { return cmp.Compare(a.Tag, b.Tag) })
	err = cli.NewOutput(cmd).Print(out, func(t *cli.Table) {
		if len(out) == 0 {
			return
		}
		t.Header("TAG", "VALUE", "UNIT", "QUALITY", "READ", "AGE")
		for _, v := range out {
			t.Cells(cli.Cell{Text: v.Tag}, cli.Cell{Text: v.text, Right: true}, cli.Cell{Text: v.Unit},
				qualityCell(v.Quality), cli.Cell{Text: moment.FormatExact(v.Time)}, cli.Cell{Text: cli.Span(time.Duration(v.AgeMs) * time.Millisecond), Right: true})
		}
	})
	if err != nil {
		return err
	}
	if len(damages) > 0 {
		return damaged(damages)
	}
	return sayUnknown(ctx, log, tags, out, at)
}

func qualityCell(q string) cli.Cell {
	switch q {
	case frame.Good.String():
		return cli.Cell{Text: q, Color: cli.Green}
	case frame.Bad.String():
		return cli.Cell{Text: q, Color: cli.Red}
	}
	return cli.Cell{Text: q, Color: cli.Yellow}
}

// lastValues returns the last value of each tag at or before at. It looks back in
// steps that grow, and stops where every tag that is asked for by name is found.
func lastValues(ctx context.Context, log source, tags []string, at time.Time) (map[string]valueThen, []*pb.LogDamage, error) {
	found := map[string]valueThen{}
	globs := slices.ContainsFunc(tags, isGlob)
	var damages []*pb.LogDamage
	to := at.Add(1) // at itself included
	for _, back := range []time.Duration{time.Minute, 15 * time.Minute, 4 * time.Hour, 48 * time.Hour, 0} {
		r := admin.Range{ToTime: to, Filter: frame.Filter{Tags: tags, Kinds: []frame.Kind{frame.Data}}}
		if globs {
			back = 0
		}
		if back > 0 {
			r.FromTime = at.Add(-back)
		}
		got := map[string]valueThen{}
		err := log.Replay(ctx, r, func(part admin.ReplayPart) error {
			for _, b := range part.Batches {
				keepLast(got, b)
			}
			damages = append(damages, part.Damages...)
			return nil
		})
		if err != nil {
			return nil, nil, err
		}
		for tag, v := range got {
			if _, later := found[tag]; !later {
				found[tag] = v
			}
		}
		if to = r.FromTime; back == 0 || len(found) == len(tags) {
			break
		}
	}
	return found, damages, nil
}

func isGlob(tag string) bool { return strings.ContainsAny(tag, `*?[\`) }

// keepLast notes the frames of b that are the newest of their tags so far.
func keepLast(got map[string]valueThen, b *frame.Batch) {
	for i := range b.Frames {
		f, tag := &b.Frames[i], b.Tag(i)
		if old, ok := got[tag.Name]; ok && old.Time.After(f.Time()) {
			continue
		}
		got[tag.Name] = valueThen{
			Seq: b.FirstSeq + uint64(i), Tag: tag.Name, Driver: b.Set.Driver, Unit: tag.Unit, Quality: f.Quality.String(), Time: f.Time(),
			Value: f.Value.AppendJSON(nil), text: f.Value.String(),
		}
	}
}

// sayUnknown is the error that names the tags without a value.
func sayUnknown(ctx context.Context, log source, tags []string, out []valueThen, at time.Time) error {
	var missing []string
	for _, tag := range tags {
		has := slices.ContainsFunc(out, func(v valueThen) bool {
			ok, _ := path.Match(tag, v.Tag) // the filter has checked it
			return ok
		})
		if !has {
			missing = append(missing, tag)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	s, err := log.Stats(ctx)
	if err != nil {
		return err
	}
	return fmt.Errorf("%s: no value up to %s; %s", strings.Join(missing, ", "), moment.Format(at), heldText(s))
}
