package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/moment"
	"github.com/edge-gateway/edge-gateway/pkg/tables"
)

// logEntry is a commit as it is listed.
type logEntry struct {
	Rev     int64          `json:"rev"`
	SHA256  string         `json:"sha256"`
	Author  string         `json:"author"`
	Message string         `json:"message"`
	Time    time.Time      `json:"time"`
	Release uint64         `json:"release"`
	BaseRev int64          `json:"base_rev"`
	Changes config.Changes `json:"changes"`
	// Signature is what the commit carries; whether it is good is for gateways to say.
	Signature *center.Signature `json:"signature,omitempty"`
	// Rollout is what became of the rollout in waves that it began.
	Rollout string `json:"rollout,omitempty"`
}

func logEntryOf(c center.Commit) logEntry {
	return logEntry{Rev: c.Rev, SHA256: c.SHA256, Author: c.Author.String(), Message: c.Message, Time: c.Time,
		Release: c.Release, BaseRev: c.BaseRev, Changes: c.Changes, Signature: c.Signature}
}

func newLog() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "log",
		Short: "List who changed what, when and why; the newest first",
		Example: `  edge-cfg log
  edge-cfg log --limit 10 -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 {
				return cli.Usagef("--limit %d: expected 0 or more", limit)
			}
			return withStore(cmd, func(ctx context.Context, s *center.Store) error {
				commits, err := s.Log(ctx, limit)
				if err != nil {
					return err
				}
				list := make([]logEntry, len(commits))
				for i, c := range commits {
					list[i] = logEntryOf(c)
					if list[i].Rollout, err = s.RolloutState(ctx, c); err != nil {
						return err
					}
				}
				return cli.NewOutput(cmd).Print(list, func(t *cli.Table) { logTable(t, list) })
			})
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 0, "show the newest so many; 0: all there were")
	cli.AddOutputFlag(cmd)
	return cmd
}

// text is the message, with what became of a rollout.
func (e logEntry) text() string {
	if e.Rollout == "" {
		return e.Message
	}
	return "[rollout " + e.Rollout + "] " + e.Message
}

func logTable(t *cli.Table, list []logEntry) {
	t.Header("REV", "SHA256", "TIME", "AUTHOR", "CHANGES", "MESSAGE")
	t.Keep("MESSAGE", "CHANGES")
	for _, e := range list {
		t.Cells(cli.Cell{Text: fmt.Sprint(e.Rev), Color: cli.Yellow, Right: true}, cli.Cell{Text: e.SHA256[:min(len(e.SHA256), 12)], Color: cli.Faint},
			cli.Cell{Text: moment.Format(e.Time)}, cli.Cell{Text: e.Author}, cli.Cell{Text: changesText(e.Changes)}, cli.Cell{Text: e.text()})
	}
}

// changesText counts changes in a line: "drivers Δ1, variables +20 -1".
func changesText(c config.Changes) string {
	text := ""
	for _, t := range config.AllTables() {
		n, ok := c[t]
		if !ok {
			continue
		}
		if text != "" {
			text += ", "
		}
		text += string(t) + " " + tables.CountsText(n)
	}
	return text
}
