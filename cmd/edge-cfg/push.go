package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/tables"
)

func newPush() *cobra.Command {
	var flags pushFlags
	var baseRev string
	var force bool
	cmd := &cobra.Command{
		Use:   "push FILE|DIR",
		Short: "Push tables to the config center, where gateways get them",
		Long: `push replaces each table that has a file in the directory, or the one table that
the given file is named for. It lints them, shows what changes, asks, and then
changes all of it or nothing.

It doesn't overwrite what others pushed since your last pull or push: that is a
conflict, with exit code 3. The directory remembers what it was based on.

Removing items needs intent: without a terminal, -y alone is not enough.

--force pushes past lint and past other people's changes. It is for repairs: every
gateway still checks what it gets, and refuses what it can't run.`,
		Example: `  edge-cfg push ./config -m "press 4: flow meter replaced"
  edge-cfg push variables.yml --dry-run
  edge-cfg push ./config -y --allow-delete 3`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var rev int64
			if baseRev != "" {
				var err error
				if rev, err = revFlag("base", baseRev); err != nil {
					return err
				}
			}
			l, err := readTables(cmd, args[0], force)
			if err != nil {
				return err
			}
			return withStore(cmd, func(ctx context.Context, s *center.Store) error {
				return pushTables(ctx, cmd, s, l, rev, force, &flags)
			})
		},
	}
	flags.add(cmd)
	flags.addYes(cmd)
	cmd.Flags().StringVar(&flags.allow, "allow-delete", "0", "with -y: remove so many items at most (`N|all`)")
	cmd.Flags().StringVar(&baseRev, "base", "", "the tables were made from this revision (`rev=N`), whatever the directory remembers")
	cmd.Flags().BoolVar(&force, "force", false, "skip lint and the base")
	completeRev(cmd, "base")
	return cmd
}

// pushTables brings l to the store.
func pushTables(ctx context.Context, cmd *cobra.Command, s *center.Store, l *tables.Files, rev int64, force bool, flags *pushFlags) error {
	p := cli.NewProgress(cmd, "comparing with what is in force")
	defer p.Done()
	head, err := s.Load(ctx)
	broken := force && l.Whole(config.EmptyDocument()) && errors.Is(err, center.ErrDamaged)
	if err != nil && !broken {
		return err
	}
	doc := l.Onto(head.Document())
	if !force {
		if err := checkBase(ctx, s, l, rev, head, doc); err != nil {
			return err
		}
		if err := checkWhole(cmd, l, doc); err != nil {
			return err
		}
	}
	p.Done()
	c, err := commitDocument(ctx, cmd, s, change{head: head, doc: doc, force: force}, flags)
	if c.None() || flags.dryRun {
		return err
	}
	store, baseErr := s.Name(ctx)
	if baseErr == nil {
		baseErr = tables.RecordBase(l.Dir, store, c.Rev, c.Tables, l.Tables)
	}
	if baseErr != nil && err == nil {
		err = fmt.Errorf("rev %d was pushed, but: %w", c.Rev, baseErr)
	}
	return err
}

// checkBase holds the head against what the tables were made from.
func checkBase(ctx context.Context, s *center.Store, l *tables.Files, rev int64, head center.Version, doc *config.Document) error {
	if head.Commit.None() {
		return nil // there is nobody else's work in it
	}
	store, err := s.Name(ctx)
	if err != nil {
		return err
	}
	b, err := tables.LoadBase(l.Dir, store)
	if err != nil {
		return err
	}
	if rev != 0 && rev != head.Commit.Rev {
		old, err := s.LoadRev(ctx, rev)
		if err != nil {
			return err
		}
		b = &tables.Base{Rev: rev, Tables: old.Commit.Tables}
	} else if rev != 0 {
		return nil
	}
	if b == nil || undone(b, head.Commit) || !b.Overtaken(head.Document(), doc, l.Tables) {
		return nil
	}
	return &center.ConflictError{Base: center.Commit{Rev: b.Rev}, Head: head.Commit}
}

// undone reports whether head is nothing but a gateway's rollback of the commit
// that was pushed from here: nobody else's work is in it.
func undone(b *tables.Base, head center.Commit) bool {
	return head.BaseRev == b.Rev && strings.HasPrefix(head.Author.OSUser, center.GatewayAuthor)
}

// checkWhole lints the document as a whole where the files are a part of it.
func checkWhole(cmd *cobra.Command, l *tables.Files, doc *config.Document) error {
	if l.Whole(doc) {
		return nil
	}
	findings := tables.Errors(doc) // the files' warnings are told already
	l.Place(findings)
	return reportFindings(cmd, findings)
}
