package tables

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/schemas"
)

// Pull is what is to be brought to the files of a directory.
type Pull struct {
	Dir   string
	Store string           // name of the store
	Doc   *config.Document // what it has
	Label string           // what marks of conflicts call it: "rev 12"
	// Base returns a document whose table t has this hash, nil if none is kept: what the
	// edited files were made from.
	Base func(t config.Table, sha256 string) (*config.Document, error)
	// Force overwrites what was edited.
	Force bool
}

// Conflict is a place where what was edited here and what was pushed since can't both be.
type Conflict struct {
	File   string   `json:"file"`
	Line   int      `json:"line"`
	Key    string   `json:"key"`              // the item
	Fields []string `json:"fields,omitempty"` // that both changed; none: the item as a whole
	// Removed says which side removed the item that the other changed: "local" or "store".
	Removed string `json:"removed,omitempty"`
}

// String tells it in a line.
func (c Conflict) String() string {
	what := "changed on both sides"
	switch {
	case c.Removed == "local":
		what = "removed here, and changed in the store"
	case c.Removed != "":
		what = "changed here, and removed in the store"
	case len(c.Fields) > 0:
		what = strings.Join(c.Fields, ", ") + " " + what
	}
	return fmt.Sprintf("%s:%d: conflict: %s: %s", c.File, c.Line, c.Key, what)
}

// Pulled is what a pull did.
type Pulled struct {
	Files     []string   `json:"files"`               // that were written
	Conflicts []Conflict `json:"conflicts,omitempty"` // that stand in them
}

// Run brings the document to the files. A file that says the same is left alone, and of
// the others the unchanged items keep their text and comments. What was edited since the
// base was recorded is merged with it, and what conflicts is marked. Where that can't be
// done, the error is an [EditedError], or the [config.Findings] of a file that can't be
// read, or ctx's, and nothing was written.
func (p *Pull) Run(ctx context.Context) (*Pulled, error) {
	if err := os.MkdirAll(p.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("pull: %w", err)
	}
	layered, err := Layered(p.Dir)
	if err != nil {
		return nil, err
	}
	if layered && !p.Doc.Layered() {
		return nil, fmt.Errorf("%s has the tables of a fleet (groups.yml, gateways.yml), and the store has tables without groups and gateways: pull them to another directory", p.Dir)
	}
	b, err := LoadBase(p.Dir, p.Store)
	if err != nil {
		return nil, err
	}
	out := &Pulled{}
	var texts []text // all of them, before one is written
	for _, t := range config.AllTables() {
		s, err := openShelfOver(p.Doc, p.Dir, t)
		if err != nil {
			return nil, fmt.Errorf("pull: %w", err)
		}
		m, err := p.table(s, b)
		if err != nil {
			return nil, err
		}
		if m == nil {
			continue
		}
		changed, err := s.marked(m, p.Label)
		if err != nil {
			return nil, err
		}
		for _, f := range changed {
			out.Conflicts = append(out.Conflicts, f.conflicts...)
		}
		texts = append(texts, changed...)
	}
	out.Files, err = writeTexts(ctx, texts)
	return out, err
}

// table returns what the files of a table are to say; nil if they say it.
func (p *Pull) table(s *shelf, b *Base) (*merged, error) {
	t := s.table
	theirs := &merged{local: p.Doc, theirs: p.Doc}
	if len(s.files) == 0 {
		if (t == config.Settings || t.IsLayer()) && len(p.Doc.Items(t)) == 0 {
			return nil, nil
		}
		return theirs, nil
	}
	if p.Force {
		return theirs, s.force()
	}
	if findings := s.findings(); findings.Err() != nil {
		return nil, findings
	}
	local, err := s.doc()
	if err != nil {
		return nil, err
	}
	if local.SameTable(t, p.Doc) {
		return nil, nil
	}
	edited := &EditedError{Path: s.files[0].path, Dir: p.Dir, Why: "it isn't known which release it was made from"}
	if b == nil || b.Tables[t] == "" {
		return nil, edited
	}
	switch b.Tables[t] {
	case local.TableSHA256(t):
		return theirs, nil
	case p.Doc.TableSHA256(t):
		return nil, nil // nobody else changed it
	}
	base, err := p.Base(t, b.Tables[t])
	if err != nil {
		return nil, err
	}
	if base == nil {
		edited.Why = "the release that it was made from is not kept any more"
		return nil, edited
	}
	return mergeDocuments(t, base, local, p.Doc)
}

// force makes the files such that they can be overwritten: of a file with conflicts the
// store's side is taken. One that can't be read is written anew if it is the table's own.
func (s *shelf) force() error {
	for i, f := range s.files {
		if marks(f.text) != nil {
			f = parseOver(f.below, f.path, oneSide(f.text, true), s.table)
			f.resolved, s.files[i] = true, f
		}
		if !f.readable() && f.path != s.home {
			return f.findings
		}
	}
	return nil
}

// fileMode keeps a file with literal secrets to its owner.
func fileMode(doc *config.Document, t config.Table) os.FileMode {
	if t != config.Variables {
		for _, it := range doc.Items(t) {
			tree, err := it.Tree()
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
