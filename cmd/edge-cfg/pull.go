package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/tables"
	"github.com/edge-gateway/edge-gateway/pkg/words"
)

// pulled is the result of pull.
type pulled struct {
	Rev    int64  `json:"rev"`
	SHA256 string `json:"sha256"`
	*tables.Pulled
}

func newPull() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "pull DIR",
		Short: "Write the tables in force to files, to edit them there",
		Long: `pull writes the tables to the files of DIR. It leaves a file alone that says the same
already; in the others, unchanged items keep their text and comments. An item
stays in the file that holds it (variables/press.yml); new ones go to variables.yml.

What was edited in DIR since the last pull or push is merged with what others pushed
since, item by item and field by field. Where both changed the same, the item stands
there twice, between the marks <<<<<<<, ======= and >>>>>>>, the exit code is 3, and
lint, diff and push refuse the directory until a person has decided. --force takes
what is in force instead of what was edited.

Literal secrets in the tables are written to the files too; only their owner may read
them then.`,
		Example: `  edge-cfg pull ./config`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withStore(cmd, func(ctx context.Context, s *center.Store) error {
				return cli.Interrupted(cmd, pull(ctx, cmd, s, args[0], force), "no file was changed")
			})
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "overwrite what was edited here")
	cli.AddOutputFlag(cmd)
	return cmd
}

// tablesOf lists the tables that a document is about.
func tablesOf(doc *config.Document) []config.Table {
	if doc.Layered() {
		return config.AllTables()
	}
	return config.Tables()
}

func pull(ctx context.Context, cmd *cobra.Command, s *center.Store, dir string, force bool) error {
	progress := cli.NewProgress(cmd, "bringing the tables to "+dir)
	defer progress.Done()
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
	p := tables.Pull{Dir: dir, Store: store, Doc: head.Document(), Label: fmt.Sprintf("rev %d", head.Commit.Rev), Force: force}
	p.Base = func(t config.Table, sha string) (*config.Document, error) { return s.WithTable(ctx, t, sha) }
	done, err := p.Run(ctx)
	progress.Done()
	if findings := (config.Findings)(nil); errors.As(err, &findings) {
		return reportFindings(cmd, findings)
	}
	if err != nil {
		return err
	}
	if err := tables.RecordBase(dir, store, head.Commit.Rev, head.Commit.Tables, tablesOf(head.Document())); err != nil {
		return err
	}
	res := pulled{Rev: head.Commit.Rev, SHA256: head.Commit.SHA256, Pulled: done}
	if err := cli.NewOutput(cmd).Print(res, func(t *cli.Table) {
		t.Row(fmt.Sprintf("rev %d, %s written", res.Rev, words.Count(len(res.Files), "file")))
	}); err != nil || len(done.Conflicts) == 0 {
		return err
	}
	for _, c := range done.Conflicts {
		fmt.Fprintln(cmd.ErrOrStderr(), cli.Printable(c.String()))
	}
	return &tables.ConflictError{Dir: dir, N: len(done.Conflicts)}
}
