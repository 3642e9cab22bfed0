package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/center"
	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/schemas"
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
				res, err := pull(args[0], head, force)
				if err != nil {
					return err
				}
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

func pull(dir string, head center.Version, force bool) (*pulled, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("pull: %w", err)
	}
	b, err := loadBase(dir)
	if err != nil {
		return nil, err
	}
	texts := map[config.Table][]byte{}
	for _, t := range config.Tables() {
		text, err := pullTable(dir, t, head.Document(), b, force)
		if err != nil {
			return nil, err
		}
		if text != nil {
			texts[t] = text
		}
	}
	res := &pulled{Rev: head.Commit.Rev, SHA256: head.Commit.SHA256, Files: []string{}}
	for _, t := range config.Tables() {
		if text, ok := texts[t]; ok {
			path := filepath.Join(dir, t.FileName())
			if err := writeFile(path, text, fileMode(head.Document(), t)); err != nil {
				return nil, err
			}
			res.Files = append(res.Files, path)
		}
	}
	return res, recordBase(dir, head.Commit, config.Tables())
}

// pullTable returns what the file of a table is to become; nil if it says it
// already.
func pullTable(dir string, t config.Table, doc *config.Document, b *base, force bool) ([]byte, error) {
	path := filepath.Join(dir, t.FileName())
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if t == config.Settings && len(doc.Items(t)) == 0 {
			return nil, nil
		}
		return tableYAML(doc, t)
	}
	if err != nil {
		return nil, fmt.Errorf("pull: %w", err)
	}
	snap, _, findings := config.ReadFiles(path)
	readable := findings.Err() == nil
	if readable && snap.Document().TableSHA256(t) == doc.TableSHA256(t) {
		return nil, nil
	}
	if !force && (!readable || b == nil || b.Tables[t] != snap.Document().TableSHA256(t)) {
		return nil, cli.Exit(exitConflict, fmt.Errorf("conflict: %s was edited since the last pull or push; "+
			"'edge-cfg diff %s' shows how it differs, --force overwrites it", path, dir))
	}
	if readable {
		return mergeTable(path, text, t, doc)
	}
	return tableYAML(doc, t)
}

// fileMode keeps a file with literal secrets to its owner.
func fileMode(doc *config.Document, t config.Table) os.FileMode {
	if t != config.Variables {
		for _, it := range doc.Items(t) {
			tree, err := plainTree(it.JSON)
			if err != nil {
				return 0o600
			}
			for _, p := range secretPaths(t, it.ID, tree) {
				if !isReference(config.ValueAt(tree, p)) {
					return 0o600
				}
			}
		}
	}
	return 0o644
}

// schemaURL is where editors find the schema of a table.
func schemaURL(t config.Table) string { return schemas.BaseURL + string(t) + ".schema.json" }
