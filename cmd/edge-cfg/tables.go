package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/lint"
)

// local is a set of tables in files.
type local struct {
	dir    string         // where they are, and their base is recorded
	paths  []string       // the files
	tables []config.Table // what is in them
	doc    *config.Document
}

// findTables looks what tables there are at path: a directory, or one table's file.
func findTables(path string) (*local, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.IsDir() {
		t, ok := config.TableOfFile(path)
		if !ok {
			return nil, fmt.Errorf("%s: a table's file is called endpoints.yml, drivers.yml, variables.yml or settings.yml", path)
		}
		return &local{dir: filepath.Dir(path), paths: []string{path}, tables: []config.Table{t}}, nil
	}
	l := &local{dir: path}
	for _, t := range config.Tables() {
		p := filepath.Join(path, t.FileName())
		if _, err := os.Stat(p); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		l.paths, l.tables = append(l.paths, p), append(l.tables, t)
	}
	if len(l.paths) == 0 {
		return nil, fmt.Errorf("%s has no table: expected endpoints.yml, drivers.yml, variables.yml or settings.yml", path)
	}
	return l, nil
}

// readTables reads and lints the tables at path. Findings go to standard error;
// errors among them are the command's. With force, only what can't be read at all
// is an error: the rest is for the gateways to refuse.
func readTables(cmd *cobra.Command, path string, force bool) (*local, error) {
	l, err := findTables(path)
	if err != nil {
		return nil, err
	}
	if force {
		return l, l.readRaw()
	}
	res := lint.Paths(l.paths...)
	if err := reportFindings(cmd, res.Findings); err != nil {
		return nil, err
	}
	l.doc = res.Snapshot.Document()
	return l, nil
}

// readRaw reads the tables as YAML, whatever is in their items.
func (l *local) readRaw() error {
	tables := map[config.Table][]config.Item{}
	for i, t := range l.tables {
		items, err := rawItems(l.paths[i], t)
		if err != nil {
			return err
		}
		tables[t] = items
	}
	var err error
	l.doc, err = config.NewDocument(tables)
	return err
}

// rawItems reads the items of a file: canonical if they are good, else as they are.
func rawItems(path string, t config.Table) ([]config.Item, error) {
	trees, err := config.RawItems(t, path)
	if err != nil {
		return nil, err
	}
	items := make([]config.Item, 0, len(trees))
	for id, tree := range trees {
		raw, err := json.Marshal(tree)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", path, id, err)
		}
		if canonical, err := t.Canonical(id, raw); err == nil {
			raw = canonical
		}
		items = append(items, config.Item{ID: id, JSON: raw})
	}
	return items, nil
}

// reportFindings prints findings for a person. Errors end the command with 1.
func reportFindings(cmd *cobra.Command, findings config.Findings) error {
	w := cmd.ErrOrStderr()
	style := lint.Style{Source: cli.IsTerminal(w), Color: cli.ColorEnabled(cmd, w)}
	if err := lint.WriteText(w, findings, style); err != nil {
		return err
	}
	if errs, _ := findings.Count(); errs > 0 {
		return fmt.Errorf("%s in the tables", count(errs, "error"))
	}
	return nil
}

// onto returns the document that head becomes with the tables of l.
func (l *local) onto(head *config.Document) *config.Document {
	for _, t := range l.tables {
		head = head.WithTable(t, l.doc)
	}
	return head
}

// whole reports whether l has all tables that refer to each other, so that its own
// lint is the document's.
func (l *local) whole() bool {
	for _, t := range []config.Table{config.Endpoints, config.Drivers, config.Variables} {
		if !slices.Contains(l.tables, t) {
			return false
		}
	}
	return true
}

// documentErrors checks a document as a gateway would, and returns what makes it
// unusable.
func documentErrors(doc *config.Document) (config.Findings, error) {
	snap, err := doc.Snapshot(nil)
	if err == nil {
		err = snap.References()
	}
	var findings config.Findings
	if err != nil && !errors.As(err, &findings) {
		return nil, err
	}
	if err == nil {
		findings = lint.Snapshot(snap, nil, lint.Checkers())
	}
	return slices.DeleteFunc(findings, func(f config.Finding) bool { return f.Severity != config.SeverityError }), nil
}

// place says where in the files of l the findings about a whole document are.
func (l *local) place(findings config.Findings) {
	_, src, _ := config.ReadFiles(l.paths...)
	for i, f := range findings {
		table, key, _ := strings.Cut(f.Key, "/")
		id, field, _ := strings.Cut(key, "/")
		if t := config.Table(table); src.Has(t) {
			findings[i] = f.At(src.Pos(t, id, strings.Split(field, ".")...))
		}
	}
}
