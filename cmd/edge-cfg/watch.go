package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/moment"
)

// watched is an event as it is printed: of a commit, or of a gateway.
type watched struct {
	Time    time.Time        `json:"time"` // when it was seen
	Kind    center.EventKind `json:"kind"`
	Commit  *logEntry        `json:"commit,omitempty"`
	Gateway *gatewayStatus   `json:"gateway,omitempty"`
	Rollout string           `json:"rollout,omitempty"` // what is new with it
	Error   string           `json:"error,omitempty"`   // a record that can't be read
}

func newWatch() *cobra.Command {
	var local bool
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Show commits, and what becomes of them on each gateway, as it happens, until Ctrl-C",
		Long: `watch prints the commit in force and each gateway's state, and then every commit
and every change of a state as it happens.

With --local it asks the gateway on this machine instead of etcd, through its admin
socket, and prints each phase of an apply in it.`,
		Example: `  edge-cfg watch
  edge-cfg watch -o json | jq .
  edge-cfg watch --local --socket ./data/admin.sock`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if local {
				return cli.WatchConfig(cmd)
			}
			if cmd.Flags().Changed("socket") {
				return cli.Usagef("--socket goes with --local")
			}
			out := cli.NewOutput(cmd)
			return withStore(cmd, func(ctx context.Context, s *center.Store) error {
				err := s.Watch(ctx, func(e center.Event) error {
					w := watchedOf(e, time.Now())
					return out.PrintLine(w, w.String)
				})
				if ctx.Err() != nil {
					return nil
				}
				return err
			})
		},
	}
	cli.AddOutputFlag(cmd)
	cli.AddSocketFlag(cmd)
	cmd.Flags().BoolVar(&local, "local", false, "watch what the gateway on this machine does, through its admin socket")
	return cmd
}

func watchedOf(e center.Event, now time.Time) watched {
	w := watched{Time: now, Kind: e.Kind}
	if e.Err != nil {
		w.Error = e.Err.Error()
	}
	if e.Kind == center.EventCommit {
		c := logEntryOf(e.Commit)
		w.Commit = &c
		return w
	}
	if e.Kind == center.EventRollout {
		w.Rollout = e.Rollout
		return w
	}
	g := statusOf(e.Gateway)
	w.Gateway = &g
	return w
}

// String tells the event in a line.
func (w watched) String() string {
	text := moment.Clock(w.Time) + "  "
	switch {
	case w.Error != "":
		return text + "a record that can't be read: " + w.Error
	case w.Rollout != "":
		return text + w.Rollout
	case w.Commit != nil:
		return text + fmt.Sprintf("rev %d by %s: %s (%s)", w.Commit.Rev, w.Commit.Author, w.Commit.Message, changesText(w.Commit.Changes))
	case w.Kind == center.EventForgotten:
		return text + w.Gateway.Gateway + ": forgotten"
	}
	return text + w.Gateway.String()
}
