package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/errkind"
	"github.com/edge-gateway/edge-gateway/pkg/moment"
	"github.com/edge-gateway/edge-gateway/pkg/words"
)

func newRollout() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rollout",
		Short: "Follow and steer a push in waves",
		Long: `A push with --wave reaches the gateways of a fleet wave by wave, and halts by itself
when too many find it bad: all of them return then. Nothing has to stay open for that.
These commands show where it stands, and act on it.`,
		Example: `  edge-cfg push fleet/ --wave ring=pilot --wave 100% --bake 15m
  edge-cfg rollout status
  edge-cfg rollout wait`,
	}
	cmd.AddCommand(newRolloutStatus(), newRolloutWait(),
		newAct("pause", "Let no further gateway cross", nil, center.ActPause, ""),
		newAct("resume", "Let a rollout that is paused go on; with --forgive, a halted one", []string{"forgive", "clear the bad votes"}, center.ActResume, center.ActForgive),
		newAct("promote", "Open the next wave, whatever the votes are; beyond the last one, it is done", []string{"all", "open all waves"}, center.ActPromote, center.ActAll),
		newAct("abort", "Let all gateways return, and commit what they return to anew", nil, center.ActAbort, ""))
	return cmd
}

func newRolloutStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use: "status", Short: "Show where the rollout stands", Args: cobra.NoArgs,
		Example: `  edge-cfg rollout status
  edge-cfg rollout status -o json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd, func(ctx context.Context, s *center.Store) error {
				r, err := s.Rollout(ctx)
				if err != nil {
					return err
				}
				return printRollout(cmd, r)
			})
		},
	}
	cli.AddOutputFlag(cmd)
	return cmd
}

func printRollout(cmd *cobra.Command, r *center.Rollout) error {
	out := cli.NewOutput(cmd)
	if out.Format == cli.FormatTable {
		fmt.Fprintln(out.Writer(), r.Text())
		for _, b := range r.BadBy {
			fmt.Fprintln(out.Writer(), cli.Printable("bad: "+b.Gateway+": "+cli.OneLine(b.Reason)))
		}
		if more := r.Bad - len(r.BadBy); more > 0 {
			fmt.Fprintf(out.Writer(), "bad: %d more\n", more)
		}
		for _, a := range r.Acts {
			fmt.Fprintln(out.Writer(), cli.Printable(fmt.Sprintf("%s  %s by %s %s", moment.Format(a.Time), a.What, a.Author, cli.OneLine(a.Reason))))
		}
	}
	return out.Print(r, func(t *cli.Table) { wavesTable(t, r) })
}

// wavesTable shows the gates.
func wavesTable(t *cli.Table, r *center.Rollout) {
	t.Header("WAVE", "GATEWAYS", "MEMBERS", "COUNTED", "OPENS AT OK", "HALTS AT BAD")
	for i, w := range r.Waves {
		opens := "at once"
		switch {
		case i > 0 && r.Manual:
			opens = "by hand"
		case i > 0:
			opens = fmt.Sprint(r.Waves[i-1].Need)
		}
		right := func(v any) cli.Cell { return cli.Cell{Text: fmt.Sprint(v), Right: true} }
		t.Cells(right(i+1), cli.Cell{Text: w.Spec}, right(w.Members), right(w.Counted), right(opens), right(w.MaxBad+1))
	}
}

func newRolloutWait() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "wait", Short: "Wait until the rollout is done (exit code 0) or halted (6)", Args: cobra.NoArgs,
		Long: `wait tells each wave that opens and each bad vote. It ends with exit code 0 when the
rollout is done, with 6 when it is halted, and with 4 when neither is so in time.`,
		Example: `  edge-cfg rollout wait --timeout 8h`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd, func(ctx context.Context, s *center.Store) error {
				ctx, cancel := context.WithTimeout(ctx, timeout)
				defer cancel()
				return waitRollout(ctx, cmd, s)
			})
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", time.Hour, "wait no longer than this")
	return cmd
}

// waitEvery is how often a wait looks.
const waitEvery = time.Second

func waitRollout(ctx context.Context, cmd *cobra.Command, s *center.Store) error {
	told := ""
	bad := map[string]bool{}
	id := ""
	for {
		r, err := s.Rollout(ctx)
		if err == nil && id != "" && r.ID != id {
			return fmt.Errorf("%w: another rollout has followed; 'edge-cfg log' tells what became of this one", errkind.Outdated)
		}
		if err == nil {
			id = r.ID
			for _, b := range r.BadBy {
				if !bad[b.Gateway] {
					bad[b.Gateway] = true
					tell(cmd, "bad: "+b.Gateway+": "+cli.OneLine(b.Reason))
				}
			}
			if text := r.Text(); text != told {
				told = text
				tell(cmd, text)
			}
			switch r.State {
			case "done":
				return nil
			case "halted":
				why := words.Count(r.Bad, "vote") + " bad"
				if r.Expired {
					why += ", and its deadline is over"
				}
				return cli.Exit(exitHalted, fmt.Errorf("halted: %s; all gateways return to release %d", why, r.From))
			}
		} else if !errors.Is(err, center.ErrUnavailable) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: the rollout is neither done nor halted; it goes on", errkind.NotApplied)
		case <-time.After(waitEvery):
		}
	}
}

func tell(cmd *cobra.Command, text string) {
	fmt.Fprintln(cmd.OutOrStdout(), cli.Printable(moment.Clock(time.Now())+"  "+text))
}

// newAct makes the command of an act; flag is the name and the text of what makes it more.
func newAct(use, short string, flag []string, act, more string) *cobra.Command {
	var message string
	var also bool
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		Example: "  edge-cfg rollout " + use + ` -m "why"`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			what := act
			if also {
				what = more
			}
			return withStore(cmd, func(ctx context.Context, s *center.Store) error {
				who := author(cmd)
				r, err := s.ActOnRollout(ctx, what, who.String(), message)
				if err != nil {
					return err
				}
				if what == center.ActAbort {
					if err := commitBack(ctx, cmd, s, r, who); err != nil {
						return fmt.Errorf("the rollout is aborted and all gateways return, but what they return to is not committed anew: %w", err)
					}
				}
				return printRollout(cmd, r)
			})
		},
	}
	cmd.Flags().StringVarP(&message, "message", "m", "", "why, for the record")
	if flag != nil {
		cmd.Flags().BoolVar(&also, flag[0], false, flag[1])
	}
	cli.AddOutputFlag(cmd)
	return cmd
}

// commitBack makes what everybody returns to the tables in force. It changes no gateway.
func commitBack(ctx context.Context, cmd *cobra.Command, s *center.Store, r *center.Rollout, who center.Author) error {
	head, err := s.Load(ctx)
	if err != nil {
		return err
	}
	doc, err := s.AbortTo(ctx, r)
	if err != nil {
		return err
	}
	if doc == nil || head.Commit.Rev != r.Rev {
		fmt.Fprintln(cmd.ErrOrStderr(), "the tables in force stay those of the rollout, which no gateway runs: push others")
		return nil
	}
	c, err := s.Push(ctx, head, doc, center.PushOptions{Author: who, Message: fmt.Sprintf("abort of release %d: release %d again", r.Release, r.From)})
	if err == nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "rev %d has the tables of release %d again\n", c.Rev, r.From)
	}
	return err
}
