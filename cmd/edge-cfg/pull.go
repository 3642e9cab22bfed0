package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/tables"
)

// pulled is the result of pull.
type pulled struct {
	Rev    int64    `json:"rev"`
	SHA256 string   `json:"sha256"`
	Files  []string `json:"files"` // that were written
}

func newPull() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "pull DIR",
		Short: "Bring the tables in force to files, to edit them there",
		Long: `pull writes the tables to DIR. A file that says the same already is left alone, and
of the others the unchanged items keep their text and comments. What was edited in
DIR since the last pull or push is not overwritten; --force does.

The files have secrets that stand in the tables literally, and only their owner may
read them then.`,
		Example: `  edge-cfg pull ./config`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withStore(cmd, func(ctx context.Context, s *center.Store) error {
				head, err := s.Load(ctx)
				if err != nil {
					return err
				}
				if head.Commit.None() {
					return fmt.Errorf("nothing was ever pushed to this config center")
				}
				store, err := s.Name(ctx)
				if err != nil {
					return err
				}
				files, err := tables.Pull(args[0], store, head.Document(), force)
				if err != nil {
					return err
				}
				if err := tables.RecordBase(args[0], store, head.Commit.Rev, head.Commit.Tables, config.Tables()); err != nil {
					return err
				}
				res := pulled{Rev: head.Commit.Rev, SHA256: head.Commit.SHA256, Files: files}
				return cli.NewOutput(cmd).Print(res, func(t *cli.Table) {
					t.Row(fmt.Sprintf("rev %d, %s written", res.Rev, count(len(res.Files), "file")))
				})
			})
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "overwrite what was edited here")
	cli.AddOutputFlag(cmd)
	return cmd
}
