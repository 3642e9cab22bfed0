package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/regular"
)

// LoadDir reads the tables in dir: endpoints.yml, drivers.yml, variables.yml and,
// if there is one, settings.yml. Whatever is wrong is told at once: the error is
// a [Findings]. A snapshot that is returned is complete and refers to nothing
// that it lacks. Its Rev is 0.
func LoadDir(dir string) (*Snapshot, error) {
	snap, src, findings := ReadDir(dir)
	if src.Layered() {
		findings = append(findings, layeredFinding.At(Pos{File: dir}))
	}
	findings = append(findings, Missing(dir, src)...)
	findings.Sort()
	if err := findings.Err(); err != nil {
		return nil, err
	}
	return snap, nil
}

// Missing tells which tables that a gateway needs src, which was read from dir, hasn't got.
func Missing(dir string, src *Source) Findings {
	var out Findings
	for _, t := range []Table{Endpoints, Drivers, Variables} {
		if !src.Has(t) {
			out = append(out, missingTable(dir, t))
		}
	}
	return out
}

func missingTable(dir string, t Table) Finding {
	f := Finding{File: filepath.Join(dir, t.FileName()), Severity: SeverityError, Rule: "no-file",
		Message: "there is no such file; a gateway needs endpoints.yml, drivers.yml and variables.yml"}
	if _, err := os.Stat(filepath.Join(dir, string(t)+".yaml")); err == nil {
		f.Message = "there is no such file, but a " + string(t) + ".yaml; rename it"
	}
	return f
}

// Unread lists what is in dir under a name that somebody may take for a table's, and that
// nothing reads: "variables2.yml", "drivers.yaml", "settings/", "variables/press.yaml".
func Unread(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // reading the tables tells
	}
	var names []string
	for _, e := range entries {
		name := e.Name()
		if t := Table(name); e.IsDir() && t.Index() >= 0 && t.Splits() {
			names = append(names, unreadInside(dir, t)...)
			continue
		}
		if isTableFile(name) || isCopy(name) || e.IsDir() && !hasYAML(filepath.Join(dir, name)) || !e.IsDir() && !isYAML(name) {
			continue
		}
		for _, t := range AllTables() {
			word := t.Singular()
			if t == Gateways {
				word = string(t) // gateway.yml is something else
			}
			if rest, ok := strings.CutPrefix(strings.ToLower(name), word); ok && !isLetter(strings.TrimPrefix(rest, "s")) {
				names = append(names, name)
			}
		}
	}
	return names
}

// unreadInside lists what [TableFiles] passes over in a table's directory.
func unreadInside(dir string, t Table) []string {
	entries, err := os.ReadDir(filepath.Join(dir, string(t)))
	if err != nil {
		return nil // reading the tables tells
	}
	var names []string
	for _, e := range entries {
		name := e.Name()
		inner := e.IsDir() && hasYAML(filepath.Join(dir, string(t), name))
		if inner || isYAML(name) && !isPart(t, name) && !isCopy(name) {
			names = append(names, string(t)+"/"+name)
		}
	}
	return names
}

// isCopy reports whether a name is one that editors and people give to what is not read.
func isCopy(name string) bool {
	return name[0] == '.' || strings.HasSuffix(name, "~") || strings.HasSuffix(name, ".bak") || strings.HasSuffix(name, ".orig")
}

func isYAML(name string) bool {
	return slices.Contains([]string{".yml", ".yaml", ".json"}, strings.ToLower(filepath.Ext(name)))
}

// hasYAML reports whether a directory holds what may be tables.
func hasYAML(dir string) bool {
	inside, err := filepath.Glob(filepath.Join(dir, "*.y*ml"))
	return err == nil && len(inside) > 0
}

// isLetter reports whether a name goes on with a letter: it is another word then.
func isLetter(rest string) bool { return rest != "" && rest[0] >= 'a' && rest[0] <= 'z' }

// ReadDir reads the tables that dir has files for, keeping what is good of what
// is wrong, so that other checks can go on from there. The Source tells where an
// item stands. A variable is checked against the drivers only if there is a
// drivers table, and so on.
func ReadDir(dir string) (*Snapshot, *Source, Findings) {
	var paths []string
	var unread Findings
	for _, t := range AllTables() {
		files, err := TableFiles(dir, t)
		if err != nil {
			unread = append(unread, unreadable(filepath.Join(dir, string(t)), err)...)
		}
		paths = append(paths, files...)
	}
	snap, src, findings := ReadFiles(paths...)
	findings = append(findings, unread...)
	findings.Sort()
	return snap, src, findings
}

// ReadFiles is [ReadDir] for single files, each named for its table: see
// [TableOfFile]. Files of one table must be of one directory.
func ReadFiles(paths ...string) (*Snapshot, *Source, Findings) {
	r := newReader()
	roots := map[Table]string{}
	for _, path := range paths {
		t, ok := TableOfFile(path)
		if !ok {
			r.add(Finding{File: path, Severity: SeverityError, Rule: "no-table", Message: "a table's file is called " + FileNames})
			continue
		}
		root := RootOf(t, path)
		if r.src.Has(t) && root != roots[t] || slices.ContainsFunc(r.src.docs[t], func(d *document) bool { return d.name == path }) {
			r.add(Finding{File: path, Severity: SeverityError, Rule: "duplicate",
				Message: "the table " + string(t) + " was given already, by " + r.src.docs[t][0].name})
			continue
		}
		roots[t] = root
		r.file(t, path)
	}
	return r.finish()
}

// ReadText is [ReadFiles] for the text of one table's only file, which is called name in
// findings.
func ReadText(t Table, name string, text []byte) (*Snapshot, *Source, Findings) {
	return ReadTextOver(nil, t, name, text)
}

// ReadTextOver is [ReadText] for a layer: below is a document with the tables and groups that
// it changes, which say what type a scalar is of. Without one, that is as it is written.
func ReadTextOver(below *Document, t Table, name string, text []byte) (*Snapshot, *Source, Findings) {
	r := newReader()
	r.below = below
	r.table(t, name, text)
	return r.finish()
}

// reader gathers tables and what is wrong with them.
type reader struct {
	src      *Source
	snap     Snapshot                       // of what is good
	layers   []layerItem                    // to be typed when all tables are read
	below    *Document                      // what a layer that is read alone is over, or nil
	owners   map[Table]map[string]*document // of items, where a table has several files: those before the last
	findings Findings
}

func newReader() *reader {
	return &reader{
		src: &Source{docs: make(map[Table][]*document)},
		snap: Snapshot{Endpoints: make(map[string]Endpoint), Drivers: make(map[string]Driver), Settings: make(map[string]map[string]any),
			groups: make(map[string]map[string]any), gateways: make(map[string]map[string]any)},
		owners: make(map[Table]map[string]*document),
	}
}

func (r *reader) add(fs ...Finding) { r.findings = append(r.findings, fs...) }

// file reads one table's file.
func (r *reader) file(t Table, path string) {
	src, err := ReadTable(path)
	if err != nil {
		r.next(t, &document{name: path, broken: true})
		r.add(unreadable(path, err)...)
		return
	}
	r.table(t, path, src)
}

// next adds a file of a table.
func (r *reader) next(t Table, doc *document) {
	if docs := r.src.docs[t]; len(docs) > 0 {
		if r.owners[t] == nil {
			r.owners[t] = make(map[string]*document)
		}
		before := docs[len(docs)-1]
		for id := range before.ids() {
			if r.owners[t][id] == nil {
				r.owners[t][id] = before
			}
		}
	}
	r.src.docs[t] = append(r.src.docs[t], doc)
}

// taken is the finding for an item at a place that an earlier file has.
func (r *reader) taken(t Table, id string, at Pos) Finding {
	return Taken(t, id, at, r.owners[t][id].posOf(t, id, idPath(t)...))
}

// idPath is where in an item its id stands; nil: before it.
func idPath(t Table) []string {
	if field := t.IDField(); field != "" {
		return []string{field}
	}
	return nil
}

// Taken is the finding for an item that has the id of an earlier one.
func Taken(t Table, id string, at, first Pos) Finding {
	what, where := t.Singular(), fmt.Sprintf("line %d", first.Line)
	if t == Variables {
		what = "tag"
	}
	if first.File != at.File {
		where = fmt.Sprintf("%s:%d", first.File, first.Line)
	}
	return Finding{Severity: SeverityError, Rule: "duplicate", Key: keyOf(t, []string{id}),
		Message: fmt.Sprintf("%s %s is taken already; first at %s", what, id, where)}.At(at)
}

// ReadTable reads a table's file as it stands.
func ReadTable(path string) ([]byte, error) {
	return regular.ReadFile(path, maxFileBytes)
}

// table decodes one table from YAML.
func (r *reader) table(t Table, name string, src []byte) {
	doc, findings := parseTable(t, name, src)
	r.next(t, doc)
	r.add(findings...)
	if doc.broken {
		return
	}
	t.rows().readFile(r, doc)
}

// readFile implements [rows].
func (m mapRows[V]) readFile(r *reader, doc *document) {
	bad := make(map[string]bool)
	violations := r.typed(m.table, doc)
	violations = append(violations, checkSchema(m.table.Schema(), doc.tree)...)
	for _, v := range violations {
		if len(v.path) > 0 && v.rule != unknownKey {
			bad[v.path[0]] = true // what it means can't be told
		}
		r.add(v.finding(m.table, v.path).At(doc.pos(v.path, v.onKey)))
	}
	dropUnknown(doc.tree, violations)
	items, _ := doc.tree.(map[string]any)
	for id, tree := range items {
		if r.owners[m.table][id] != nil {
			r.add(r.taken(m.table, id, doc.pos([]string{id}, true)))
			continue
		}
		if item, ok := tree.(map[string]any); ok && !bad[id] {
			(*m.of(&r.snap))[id] = m.fromTree(item)
		}
	}
	r.add(secretFindings(string(m.table), m.table, doc.tree, doc.pos)...)
}

// typed gives the scalars of a table their types.
func (r *reader) typed(t Table, doc *document) []violation {
	var types typer
	doc.tree = types.typed(namedSchema(t.Schema()), doc.tree)
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

// readFile implements [rows]: it decodes the variables one by one.
func (variableRows) readFile(r *reader, doc *document) {
	items, ok := doc.tree.([]any)
	if !ok && doc.tree != nil {
		r.add(Finding{Severity: SeverityError, Rule: "type", Key: "variables",
			Message: "expected a list of variables (\"- tag: …\"), got " + describe(doc.tree)}.At(doc.pos(nil, false)))
		return
	}
	r.snap.Variables = slices.Grow(r.snap.Variables, len(items))
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
			r.add(Taken(Variables, v.Tag, doc.itemPos(i, []string{"tag"}, false), doc.itemPos(first, []string{"tag"}, false)))
			continue
		}
		doc.declare(v.Tag, i)
		if r.owners[Variables][v.Tag] != nil {
			r.add(r.taken(Variables, v.Tag, doc.itemPos(i, []string{"tag"}, false)))
			continue
		}
		r.snap.Variables = append(r.snap.Variables, v)
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
	r.typeLayers()
	whole := r.snap
	snap := newSnapshot(&whole)
	if !r.src.Layered() { // else only what is rendered must be whole
		r.add(referenceFindings(snap, r.src)...)
	}
	r.findings.Sort()
	return snap, r.src, r.findings
}
