package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/regular"
)

// Table names one of the groups of items that make up a [Snapshot].
type Table string

// The tables, and the settings, which are kept like one.
const (
	Endpoints Table = "endpoints"
	Drivers   Table = "drivers"
	Variables Table = "variables"
	Settings  Table = "settings"
)

// Tables lists all tables in the order that documents have them in.
func Tables() []Table { return []Table{Endpoints, Drivers, Variables, Settings} }

// FileName is the table's file in a directory: "drivers.yml".
func (t Table) FileName() string { return string(t) + ".yml" }

// TableOfFile returns the table that a file is named for.
func TableOfFile(path string) (Table, bool) {
	for _, t := range Tables() {
		if filepath.Base(path) == t.FileName() {
			return t, true
		}
	}
	return "", false
}

// LoadDir reads the tables in dir: endpoints.yml, drivers.yml, variables.yml and,
// if there is one, settings.yml. Whatever is wrong is told at once: the error is
// a [Findings]. A snapshot that is returned is complete and refers to nothing
// that it lacks. Its Rev is 0.
func LoadDir(dir string) (*Snapshot, error) {
	snap, src, findings := ReadDir(dir)
	for _, t := range []Table{Endpoints, Drivers, Variables} {
		if !src.Has(t) {
			findings = append(findings, missingTable(dir, t))
		}
	}
	findings.Sort()
	if err := findings.Err(); err != nil {
		return nil, err
	}
	return snap, nil
}

func missingTable(dir string, t Table) Finding {
	f := Finding{File: filepath.Join(dir, t.FileName()), Severity: SeverityError, Rule: "no-file",
		Message: "there is no such file; a gateway needs endpoints.yml, drivers.yml and variables.yml"}
	if _, err := os.Stat(filepath.Join(dir, string(t)+".yaml")); err == nil {
		f.Message = "there is no such file, but a " + string(t) + ".yaml; rename it"
	}
	return f
}

// ReadDir reads the tables that dir has files for, keeping what is good of what
// is wrong, so that other checks can go on from there. The Source tells where an
// item stands. A variable is checked against the drivers only if there is a
// drivers table, and so on.
func ReadDir(dir string) (*Snapshot, *Source, Findings) {
	var paths []string
	for _, t := range Tables() {
		path := filepath.Join(dir, t.FileName())
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			paths = append(paths, path)
		}
	}
	return ReadFiles(paths...)
}

// ReadFiles is [ReadDir] for single files, each named for its table.
func ReadFiles(paths ...string) (*Snapshot, *Source, Findings) {
	r := newReader()
	for _, path := range paths {
		t, ok := TableOfFile(path)
		switch {
		case !ok:
			r.add(Finding{File: path, Severity: SeverityError, Rule: "no-table",
				Message: "a table's file is called endpoints.yml, drivers.yml, variables.yml or settings.yml"})
		case r.src.Has(t):
			r.add(Finding{File: path, Severity: SeverityError, Rule: "duplicate",
				Message: "the table " + string(t) + " was given already, by " + r.src.docs[t].name})
		default:
			r.file(t, path)
		}
	}
	return r.finish()
}

// reader gathers tables and what is wrong with them.
type reader struct {
	src       *Source
	endpoints map[string]Endpoint
	drivers   map[string]Driver
	variables []Variable
	settings  map[string]map[string]any
	findings  Findings
}

func newReader() *reader {
	return &reader{
		src:       &Source{docs: make(map[Table]*document)},
		endpoints: make(map[string]Endpoint),
		drivers:   make(map[string]Driver),
		settings:  make(map[string]map[string]any),
	}
}

func (r *reader) add(fs ...Finding) { r.findings = append(r.findings, fs...) }

// file reads one table from a file.
func (r *reader) file(t Table, path string) {
	src, err := readBounded(path)
	if err != nil {
		r.src.docs[t] = &document{name: path, broken: true}
		r.add(unreadable(path, err)...)
		return
	}
	r.table(t, path, src)
}

func readBounded(path string) ([]byte, error) {
	return regular.ReadFile(path, maxFileBytes)
}

// table decodes one table from YAML.
func (r *reader) table(t Table, name string, src []byte) {
	doc, findings := parseTable(t, name, src)
	r.src.docs[t] = doc
	r.add(findings...)
	if doc.broken {
		return
	}
	if t == Variables {
		r.readVariables(doc)
		return
	}
	bad := make(map[string]bool)
	violations := r.typed(t, doc)
	violations = append(violations, checkSchema(string(t)+".schema.json", doc.tree)...)
	for _, v := range violations {
		if len(v.path) > 0 && v.rule != unknownKey {
			bad[v.path[0]] = true // what it means can't be told
		}
		r.add(v.finding(t, v.path).At(doc.pos(v.path, v.onKey)))
	}
	dropUnknown(doc.tree, violations)
	items, _ := doc.tree.(map[string]any)
	for id, tree := range items {
		m, ok := tree.(map[string]any)
		if bad[id] || !ok {
			continue
		}
		switch t {
		case Endpoints:
			r.endpoints[id] = decodeEndpoint(m)
		case Drivers:
			r.drivers[id] = decodeDriver(m)
		case Settings:
			r.settings[id] = m
		}
	}
	r.add(secretFindings(string(t), t, doc.tree, doc.pos)...)
}

// typed gives the scalars of a table their types.
func (r *reader) typed(t Table, doc *document) []violation {
	var types typer
	doc.tree = types.typed(namedSchema(string(t)+".schema.json"), doc.tree)
	for _, v := range types.old {
		r.add(v.warning(t, v.path).At(doc.pos(v.path, v.onKey)))
	}
	return types.violations
}

// warnOld tells what YAML 1.1 reads differently in a variable.
func (r *reader) warnOld(doc *document, i int, tree any, tag string) {
	var types typer
	types.typed(namedSchema(itemSchema), tree)
	for _, v := range types.old {
		r.add(v.warning(Variables, append([]string{tag}, v.path...)).At(doc.itemPos(i, v.path, v.onKey)))
	}
}

// readVariables decodes the variables one by one.
func (r *reader) readVariables(doc *document) {
	items, ok := doc.tree.([]any)
	if !ok && doc.tree != nil {
		r.add(Finding{Severity: SeverityError, Rule: "type", Key: "variables",
			Message: "expected a list of variables (\"- tag: …\"), got " + describe(doc.tree)}.At(doc.pos(nil, false)))
		return
	}
	r.variables = make([]Variable, 0, len(items))
	doc.index = make(map[string]int, len(items))
	for i, tree := range items {
		v, refused := decodeVariable(tree)
		items[i] = nil // it is in v now; 100,000 trees are worth giving back early
		if hasOld(tree) {
			r.warnOld(doc, i, CloneTree(tree), itemName(tree, i))
		}
		if refused != nil {
			var violations []violation
			tree, violations = variableViolations(tree, refused)
			for _, x := range violations {
				r.add(x.finding(Variables, append([]string{itemName(tree, i)}, x.path...)).At(doc.itemPos(i, x.path, x.onKey)))
			}
			dropUnknown(tree, violations)
			if v, refused = decodeVariable(tree); refused != nil {
				if m, ok := tree.(map[string]any); ok {
					if tag, ok := m["tag"].(string); ok {
						doc.declare(tag, i)
					}
				}
				continue
			}
		}
		if first, seen := doc.index[v.Tag]; seen {
			r.add(Finding{Severity: SeverityError, Rule: "duplicate", Key: keyOf(Variables, []string{v.Tag}),
				Message: fmt.Sprintf("tag %s is taken already; first at line %d", v.Tag, doc.itemPos(first, []string{"tag"}, false).Line)}.
				At(doc.itemPos(i, []string{"tag"}, false)))
			continue
		}
		doc.declare(v.Tag, i)
		r.variables = append(r.variables, v)
	}
	doc.tree = nil
}

// dropUnknown removes the unknown keys from an item, so that the rest of it can
// be checked too.
func dropUnknown(tree any, violations []violation) {
	for _, x := range violations {
		if x.rule != unknownKey || len(x.path) == 0 {
			continue
		}
		if m, ok := valueAt(tree, x.path[:len(x.path)-1]).(map[string]any); ok {
			delete(m, last(x.path))
		}
	}
}

// itemName names a variable in a key: by its tag where it has one.
func itemName(tree any, i int) string {
	if m, ok := tree.(map[string]any); ok {
		if tag, ok := textOf(m["tag"]); ok && tag != "" {
			return tag
		}
	}
	return fmt.Sprintf("[%d]", i)
}

// finish checks what crosses tables and returns the result.
func (r *reader) finish() (*Snapshot, *Source, Findings) {
	snap := NewSnapshot(r.endpoints, r.drivers, r.variables, r.settings)
	for _, f := range referenceFindings(snap, r.src) {
		r.add(f)
	}
	r.findings.Sort()
	return snap, r.src, r.findings
}

// NewSnapshot makes a snapshot of its items, which it keeps: it sorts the
// variables and computes the hash. Nil maps are as good as empty ones.
func NewSnapshot(endpoints map[string]Endpoint, drivers map[string]Driver, variables []Variable, settings map[string]map[string]any) *Snapshot {
	s := &Snapshot{Endpoints: endpoints, Drivers: drivers, Variables: variables, Settings: settings}
	byTag := func(a, b Variable) int { return cmp.Compare(a.Tag, b.Tag) }
	if !slices.IsSortedFunc(s.Variables, byTag) {
		slices.SortFunc(s.Variables, byTag)
	}
	s.SHA256 = s.hash()
	return s
}

// Variable finds a variable by its tag; nil if there is none.
func (s *Snapshot) Variable(tag string) *Variable {
	i, ok := slices.BinarySearchFunc(s.Variables, tag, func(v Variable, tag string) int { return cmp.Compare(v.Tag, tag) })
	if !ok {
		return nil
	}
	return &s.Variables[i]
}

// DriverVariables groups the variables by driver, each group sorted by tag.
func (s *Snapshot) DriverVariables() map[string][]Variable {
	groups := make(map[string][]Variable, len(s.Drivers))
	for _, v := range s.Variables {
		groups[v.DriverID] = append(groups[v.DriverID], v)
	}
	return groups
}

// referenceFindings tells which items name others that don't exist. With a
// source, tables that weren't read are not missed.
func referenceFindings(s *Snapshot, src *Source) Findings {
	var out Findings
	hints := make(map[string]string) // thousands of variables may name one driver wrongly
	report := func(t Table, id, field, target string, of Table, known []string) {
		hint, ok := hints[field+target]
		if !ok {
			hint = didYouMean(target, known)
			if hint == "" && len(known) == 0 {
				hint = "; " + of.FileName() + " is empty"
			}
			hints[field+target] = hint
		}
		f := Finding{Severity: SeverityError, Rule: "reference", Key: keyOf(t, []string{id, field}),
			Message: fmt.Sprintf("%s: there is no %s %s%s", field, strings.TrimSuffix(string(of), "s"), target, hint)}
		out = append(out, f.At(src.Pos(t, id, field)))
	}
	if src == nil || src.Has(Endpoints) {
		known := src.ids(Endpoints, maps.Keys(s.Endpoints))
		for id, d := range s.Drivers {
			if _, ok := s.Endpoints[d.EndpointID]; !ok && !src.declares(Endpoints, d.EndpointID) {
				report(Drivers, id, "endpoint_id", d.EndpointID, Endpoints, known)
			}
		}
	}
	if src == nil || src.Has(Drivers) {
		known := src.ids(Drivers, maps.Keys(s.Drivers))
		for i := range s.Variables {
			v := &s.Variables[i]
			if _, ok := s.Drivers[v.DriverID]; !ok && !src.declares(Drivers, v.DriverID) {
				report(Variables, v.Tag, "driver_id", v.DriverID, Drivers, known)
			}
		}
	}
	return out
}
