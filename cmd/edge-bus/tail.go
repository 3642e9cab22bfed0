package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/admin"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/frame"
	"github.com/edge-gateway/edge-gateway/pkg/words"
)

// filterFlags are the flags that select frames.
type filterFlags struct {
	tags, drivers, qualities []string
	commands                 bool
}

func (f *filterFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&f.tags, "tag", nil, "only tags that match this glob (repeatable)")
	cmd.Flags().StringSliceVar(&f.drivers, "driver", nil, "only frames of this driver (repeatable)")
	cmd.Flags().StringSliceVar(&f.qualities, "quality", nil, "only good, uncertain or bad frames (repeatable)")
	cmd.Flags().BoolVar(&f.commands, "commands", false, "commands to devices too, not only data")
	cli.CompleteFlag(cmd, "tag", cli.CompleteEach(envPrefix, tagNames))
	cli.CompleteFlag(cmd, "driver", cli.CompleteEach(envPrefix, driverNames))
	cli.CompleteFlag(cmd, "quality", cobra.FixedCompletions([]string{"good", "uncertain", "bad"}, cobra.ShellCompDirectiveNoFileComp))
}

func (f *filterFlags) filter() (frame.Filter, error) {
	out := frame.Filter{Tags: f.tags, Drivers: f.drivers}
	if !f.commands {
		out.Kinds = []frame.Kind{frame.Data}
	}
	for _, name := range f.qualities {
		q, err := frame.ParseQuality(name)
		if err != nil {
			return out, cli.Usagef("--quality: %w", err)
		}
		out.Qualities = append(out.Qualities, q)
	}
	if _, err := out.Compile(); err != nil {
		return out, cli.Usagef("--tag: %w", err)
	}
	return out, nil
}

func newTail() *cobra.Command {
	var flags filterFlags
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Show frames as they become durable, until Ctrl-C",
		Long: `tail shows frames of a running gateway as they become durable. A slow terminal
loses frames, which are counted; the gateway never waits. Use replay if
nothing may be left out.`,
		Example: `  edge-bus tail --tag 'plant.*'
  edge-bus tail --quality bad -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := flags.filter()
			if err != nil {
				return err
			}
			return withLog(cmd, reading, func(ctx context.Context, log source) error {
				if err := log.runningOnly("tail"); err != nil {
					return err
				}
				out := cli.NewOutput(cmd)
				w := newFrameWriter(out.Writer(), out.Format, out.Width())
				if err := w.begin(); err != nil {
					return err
				}
				dropped := uint64(0)
				return log.Tail(ctx, filter, func(p admin.TailPart) error {
					if p.Dropped > dropped {
						dropped = p.Dropped
						cmd.PrintErrf("too slow to show everything: %s lost so far\n", words.Count(dropped, "frame"))
					}
					for _, b := range p.Batches {
						if err := w.write(b); err != nil {
							return err
						}
					}
					return w.flush()
				})
			})
		},
	}
	flags.add(cmd)
	cli.AddOutputFlag(cmd, cli.FormatTable, cli.FormatJSON, formatCSV)
	return cmd
}
