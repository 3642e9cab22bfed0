package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Table names one of the groups of items that make up a [Document].
type Table string

// The tables, and the settings, which are kept like one.
const (
	Endpoints Table = "endpoints"
	Drivers   Table = "drivers"
	Variables Table = "variables"
	Settings  Table = "settings"
)

// The layers of a fleet's tables: what groups of gateways, and single ones, have
// differently. A document with layers is not for a gateway to run: package overlay
// renders from it what each of them runs.
const (
	Groups   Table = "groups"
	Gateways Table = "gateways"
)

const tableCount = 6

// Tables lists the tables that a gateway runs, in the order that documents have them in.
func Tables() []Table { return []Table{Endpoints, Drivers, Variables, Settings} }

// AllTables lists [Tables] and the layers above them, from the bottom to the top.
func AllTables() []Table { return append(Tables(), Groups, Gateways) }

// Index returns the table's place in [AllTables]; -1 for what is no table.
func (t Table) Index() int { return slices.Index(AllTables(), t) }

// IsLayer reports whether the table's items change those of the tables below it.
func (t Table) IsLayer() bool { return t == Groups || t == Gateways }

// FileName is the table's file in a directory: "drivers.yml".
func (t Table) FileName() string { return string(t) + ".yml" }

// Schema is the name of the table's schema.
func (t Table) Schema() string { return string(t) + ".schema.json" }

// Singular is what one item is called: "driver".
func (t Table) Singular() string { return strings.TrimSuffix(string(t), "s") }

// IDField is the field of an item that repeats its id; "" where items have none.
// In a file such a table is a list; any other is a mapping of ids to items.
func (t Table) IDField() string {
	if t == Variables {
		return "tag"
	}
	return ""
}

// Canonical checks an item against its schema and returns its canonical form. The
// error is a [Findings].
func (t Table) Canonical(id string, raw []byte) ([]byte, error) {
	form, findings := t.rows().canonical(id, raw)
	return form, findings.Err()
}

// Check is [Table.Canonical] that tells warnings too. Without a canonical form, one of the
// findings is an error.
func (t Table) Check(id string, raw []byte) ([]byte, Findings) { return t.rows().canonical(id, raw) }

// Splits reports whether the table may have several files: those in the directory of its
// name.
func (t Table) Splits() bool { return t != Settings }

// FileNames says to people what the files of tables are called.
const FileNames = "endpoints.yml, drivers.yml, variables.yml or settings.yml"

// PartNames says where more of their files may be.
const PartNames = "more of the first three are in directories of these names (variables/press.yml)"

// TableOfFile returns the table that a file is named for: by its own name (drivers.yml)
// or by its directory's (drivers/press.yml).
func TableOfFile(path string) (Table, bool) {
	for _, t := range AllTables() {
		if filepath.Base(path) == t.FileName() {
			return t, true
		}
	}
	full, err := filepath.Abs(path)
	if err != nil {
		return "", false
	}
	t := Table(filepath.Base(filepath.Dir(full)))
	return t, t.Index() >= 0 && isPart(t, filepath.Base(path))
}

// isTableFile reports whether a name alone says that a file is a table's.
func isTableFile(name string) bool {
	return slices.ContainsFunc(AllTables(), func(t Table) bool { return t.FileName() == name })
}

// isPart reports whether a file of that name in the directory of t is a part of it.
func isPart(t Table, name string) bool {
	return t.Splits() && name[0] != '.' && filepath.Ext(name) == ".yml" && !isTableFile(name)
}

// RootOf returns the directory whose table a file of t is, or is a part of.
func RootOf(t Table, path string) string {
	dir := filepath.Dir(path)
	if filepath.Base(path) != t.FileName() {
		dir = filepath.Join(dir, "..")
	}
	return dir
}

// IsTablePath reports whether a table of a directory may be, or be a part of, the file of
// that name in it: "drivers.yml", "drivers/press.yml".
func IsTablePath(name string) bool {
	dir, part, inside := strings.Cut(name, "/")
	if !inside {
		return isTableFile(name)
	}
	t := Table(dir)
	return t.Index() >= 0 && part != "" && !strings.ContainsAny(part, `/\`) && isPart(t, part)
}

// TableFiles lists the files of a table in dir, in the order in which they are read:
// variables.yml, then variables/*.yml by their names.
func TableFiles(dir string, t Table) ([]string, error) {
	var paths []string
	if path := filepath.Join(dir, t.FileName()); !errors.Is(statError(path), fs.ErrNotExist) {
		paths = append(paths, path) // what else is wrong with it is told when it is read
	}
	inside := filepath.Join(dir, string(t))
	entries, err := os.ReadDir(inside)
	if info, statErr := os.Stat(inside); statErr == nil && !info.IsDir() || errors.Is(err, fs.ErrNotExist) {
		return paths, nil
	}
	for _, e := range entries {
		if isTableFile(e.Name()) && t.Splits() && err == nil {
			err = fmt.Errorf("%s has the name of a table's own file, which is not in a directory of its own: rename it", filepath.Join(inside, e.Name()))
		}
		if isPart(t, e.Name()) {
			paths = append(paths, filepath.Join(inside, e.Name()))
		}
	}
	return paths, err
}

func statError(path string) error {
	_, err := os.Stat(path)
	return err
}

// rows is what a table knows of its items in a [Snapshot].
type rows interface {
	// len returns the number of items.
	len(s *Snapshot) int
	// forms yields ids, sorted, and what appends an item's canonical form.
	forms(s *Snapshot) iter.Seq2[string, func([]byte) []byte]
	// form returns the canonical form of one item, nil if there is none.
	form(s *Snapshot, id string) []byte
	// canonical decodes an item strictly and returns its canonical form, nil where a
	// finding is an error.
	canonical(id string, raw []byte) ([]byte, Findings)
	// readFile reads the table's file.
	readFile(r *reader, doc *document)
	// readTree reads the table from an object of items by id.
	readTree(r *reader, tree any)
	// decode fills in the decoder's snapshot from its document.
	decode(d *decoder)
}

// rows returns the one description of a table's items.
func (t Table) rows() rows {
	switch t {
	case Endpoints:
		return mapRows[Endpoint]{
			t, func(s *Snapshot) *map[string]Endpoint { return &s.Endpoints }, decodeEndpoint,
			func(e Endpoint, b []byte) []byte { return e.appendCanonical(b) },
		}
	case Drivers:
		return mapRows[Driver]{
			t, func(s *Snapshot) *map[string]Driver { return &s.Drivers }, decodeDriver,
			func(d Driver, b []byte) []byte { return d.appendCanonical(b) },
		}
	case Settings:
		return mapRows[map[string]any]{
			t, func(s *Snapshot) *map[string]map[string]any { return &s.Settings },
			func(m map[string]any) map[string]any { return m },
			func(m map[string]any, b []byte) []byte { return appendValue(b, m) },
		}
	case Variables:
		return variableRows{}
	case Groups, Gateways:
		return layerRows{mapRows[map[string]any]{
			t, func(s *Snapshot) *map[string]map[string]any { return s.layer(t) },
			func(m map[string]any) map[string]any { return m },
			func(m map[string]any, b []byte) []byte { return appendValue(b, m) },
		}}
	}
	panic("config: there is no table " + string(t)) // callers check names that others gave
}

// mapRows are the items of a table that a snapshot has as a map.
type mapRows[V any] struct {
	table     Table
	of        func(*Snapshot) *map[string]V
	fromTree  func(map[string]any) V
	canonForm func(V, []byte) []byte
}

func (r mapRows[V]) len(s *Snapshot) int { return len(*r.of(s)) }

func (r mapRows[V]) forms(s *Snapshot) iter.Seq2[string, func([]byte) []byte] {
	return func(yield func(string, func([]byte) []byte) bool) {
		m := *r.of(s)
		for _, id := range slices.Sorted(maps.Keys(m)) {
			if !yield(id, func(b []byte) []byte { return r.canonForm(m[id], b) }) {
				return
			}
		}
	}
}

func (r mapRows[V]) form(s *Snapshot, id string) []byte {
	v, ok := (*r.of(s))[id]
	if !ok {
		return nil
	}
	return r.canonForm(v, nil)
}

func (r mapRows[V]) item(id string, raw []byte) (V, error) {
	m, err := decodeItem(r.table, id, raw)
	if err != nil {
		var none V
		return none, err
	}
	return r.fromTree(m), nil
}

func (r mapRows[V]) canonical(id string, raw []byte) ([]byte, Findings) {
	m, findings := checkItem(r.table, id, raw)
	if findings.Err() != nil {
		return nil, findings
	}
	return r.canonForm(r.fromTree(m), nil), findings
}

func (r mapRows[V]) decode(d *decoder) {
	items := d.doc.Items(r.table)
	out, prev := make(map[string]V, len(items)), *r.of(d.prev)
	for _, it := range items {
		if was, ok := prev[it.ID]; ok {
			if raw, ok := d.prevDoc.Get(r.table, it.ID); ok && sameBytes(raw, it.JSON) {
				out[it.ID] = was
				continue
			}
		}
		v, err := r.item(it.ID, it.JSON)
		if err != nil {
			d.fail(err)
			continue
		}
		out[it.ID] = v
	}
	*r.of(d.snap) = out
}

// variableRows are the variables, of which a snapshot has a sorted list.
type variableRows struct{}

func (variableRows) len(s *Snapshot) int { return len(s.Variables) }

func (variableRows) forms(s *Snapshot) iter.Seq2[string, func([]byte) []byte] {
	return func(yield func(string, func([]byte) []byte) bool) {
		for i := range s.Variables {
			if !yield(s.Variables[i].Tag, s.Variables[i].appendCanonical) {
				return
			}
		}
	}
}

func (variableRows) form(s *Snapshot, id string) []byte {
	v := s.Variable(id)
	if v == nil {
		return nil
	}
	return v.appendCanonical(nil)
}

func (variableRows) canonical(id string, raw []byte) ([]byte, Findings) {
	v, findings := checkVariable(id, raw)
	if findings != nil {
		return nil, findings
	}
	return v.appendCanonical(nil), nil
}

func (variableRows) decode(d *decoder) { d.variables() }

func byTag(a, b Variable) int { return cmp.Compare(a.Tag, b.Tag) }
