package tables

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/lint"
	"github.com/edge-gateway/edge-gateway/pkg/protocols"
)

// Files is a set of tables in files.
type Files struct {
	Dir    string           // where they are, and their base is recorded
	Tables []config.Table   // what is in them
	Doc    *config.Document // what they say, once they were read
	paths  map[config.Table][]string
	one    bool // of one table alone, by its file
}

// Find looks what tables there are at path: a directory, or a file of one table, which
// stands for all files of that table.
func Find(path string) (*Files, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	l := &Files{Dir: path, paths: map[config.Table][]string{}}
	wanted := config.AllTables()
	if !st.IsDir() {
		t, ok := config.TableOfFile(path)
		if !ok {
			return nil, fmt.Errorf("%s: a table's file is called %s", path, config.FileNames)
		}
		l.one = true
		l.Dir, wanted = config.RootOf(t, path), []config.Table{t}
	}
	for _, t := range wanted {
		files, err := config.TableFiles(l.Dir, t)
		if err != nil {
			return nil, err
		}
		if len(files) > 0 {
			l.paths[t], l.Tables = files, append(l.Tables, t)
		}
	}
	if len(l.paths) == 0 {
		return nil, fmt.Errorf("%s has no table: expected %s", path, config.FileNames)
	}
	return l, nil
}

// all lists the files of all tables.
func (l *Files) all() []string {
	var out []string
	for _, t := range l.Tables {
		out = append(out, l.paths[t]...)
	}
	return out
}

// Lint reads and checks the tables. If the findings have no error, l.Doc is what
// they say.
func (l *Files) Lint() config.Findings {
	res := lint.Paths(l.all()...)
	if res.Findings.Err() == nil {
		l.Doc = res.Snapshot.Document()
	}
	return res.Findings
}

// ReadRaw reads the tables as YAML, whatever is in their items: only what can't be
// read at all is an error.
func (l *Files) ReadRaw() error {
	all := map[config.Table][]config.Item{}
	for _, t := range l.Tables {
		items, err := l.rawTable(t)
		if err != nil {
			return err
		}
		all[t] = items
	}
	var err error
	l.Doc, err = config.NewDocument(all)
	return err
}

// rawTable reads the items of a table from all of its files.
func (l *Files) rawTable(t config.Table) ([]config.Item, error) {
	var out []config.Item
	owner := map[string]string{}
	for _, path := range l.paths[t] {
		items, err := rawItems(path, t)
		if err != nil {
			return nil, err
		}
		if len(l.paths[t]) == 1 {
			return items, nil
		}
		for _, it := range items {
			if first, twice := owner[it.ID]; twice {
				return nil, fmt.Errorf("%s: %s is in %s too; --force does not help", path, config.Key(t, it.ID), first)
			}
			owner[it.ID] = path
		}
		out = append(out, items...)
	}
	return out, nil
}

// rawItems reads the items of a file: canonical if they are good, else as they are.
func rawItems(path string, t config.Table) ([]config.Item, error) {
	text, err := config.ReadTable(path)
	if err != nil {
		return nil, err
	}
	if f := parseFile(path, text, t); f.readable() {
		return f.doc().Items(t), nil
	}
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

// Onto returns the document that head becomes with the tables of l.
func (l *Files) Onto(head *config.Document) *config.Document {
	for _, t := range l.Tables {
		head = head.WithTable(t, l.Doc)
	}
	return head
}

// Whole reports whether l has all tables of doc that refer to each other, so that its own
// lint is the document's.
func (l *Files) Whole(doc *config.Document) bool {
	for _, t := range config.AllTables() {
		if t != config.Settings && !slices.Contains(l.Tables, t) && (!t.IsLayer() || len(doc.Items(t)) > 0) {
			return false
		}
	}
	return true
}

// Errors checks a document as a gateway would, and returns what makes it unusable.
func Errors(doc *config.Document) config.Findings {
	isWarning := func(f config.Finding) bool { return f.Severity != config.SeverityError }
	if doc.Layered() {
		return slices.DeleteFunc(lint.Fleet(doc, nil, protocols.Builtin()), isWarning)
	}
	snap, err := doc.Snapshot(nil)
	if err == nil {
		err = snap.References()
	}
	var findings config.Findings
	if err == nil {
		findings = lint.Snapshot(snap, nil, protocols.Builtin())
	} else {
		errors.As(err, &findings) // decoding returns nothing else
	}
	return slices.DeleteFunc(findings, isWarning)
}

// Place says where in the files of l the findings about a whole document are.
func (l *Files) Place(findings config.Findings) {
	if len(findings) == 0 {
		return
	}
	_, src, _ := config.ReadFiles(l.all()...)
	src.Locate(findings)
}
