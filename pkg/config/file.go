package config

import (
	"errors"
	"slices"
)

// File is a YAML file that is no table, such as gateway.yml: a mapping, with the
// places of its keys.
type File struct {
	Name string
	Tree map[string]any // never nil; numbers are int64 or float64
	// Warnings are what other readers of YAML take for something else.
	Warnings Findings
	doc      *document
}

// ReadFile reads a YAML file as a mapping. The schema of that name ("gateway") says
// what is text and what a number; the values themselves are not held to it yet, see
// [Check]. Its error is a [Findings].
func ReadFile(schema, path string) (*File, error) {
	src, err := ReadTable(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	return ParseFile(schema, path, src)
}

// ParseFile is [ReadFile] for contents that are at hand.
func ParseFile(schema, name string, src []byte) (*File, error) {
	doc, findings := parseTable("", name, src)
	if err := findings.Err(); err != nil {
		return nil, err
	}
	f := &File{Name: name, Tree: map[string]any{}, doc: doc}
	var types typer
	doc.tree = types.typed(namedSchema(schema+".schema.json"), doc.tree)
	for _, v := range types.old {
		f.Warnings = append(f.Warnings, v.warning("", v.path).At(doc.pos(v.path, v.onKey)))
	}
	var wrong Findings
	for _, v := range types.violations {
		wrong = append(wrong, v.finding("", v.path).At(doc.pos(v.path, v.onKey)))
	}
	if err := wrong.Err(); err != nil {
		return nil, err
	}
	if doc.tree == nil {
		return f, nil
	}
	m, ok := doc.tree.(map[string]any)
	if !ok {
		return nil, Finding{Severity: SeverityError, Rule: "type", Message: "expected a mapping, got " + describe(doc.tree)}.
			At(doc.pos(nil, false)).asError()
	}
	f.Tree = m
	return f, nil
}

// Has reports whether the file itself has something at path.
func (f *File) Has(path []string) bool {
	n := f.doc.root
	for _, step := range path {
		if _, n = child(n, step); n == nil {
			return false
		}
	}
	return n != nil
}

// Pos returns the place of the value at path, or of what is nearest to it.
func (f *File) Pos(path []string) Pos { return f.doc.pos(path, false) }

// KeyPos returns the place of the key at path.
func (f *File) KeyPos(path []string) Pos { return f.doc.pos(path, true) }

// Keys returns the keys of the mapping at path in the order of the file.
func (f *File) Keys(path ...string) []string {
	n := f.doc.root
	for _, step := range path {
		_, n = child(n, step)
	}
	var keys []string
	for i := 0; n != nil && i+1 < len(n.Content); i += 2 {
		keys = append(keys, n.Content[i].Value)
	}
	return keys
}

// Check holds a tree to the schema of that name ("gateway") and to the rules for
// secrets. pos tells where a path stands, or, with onKey, its key.
func Check(schema string, tree map[string]any, pos func(path []string, onKey bool) Pos) Findings {
	var out Findings
	for _, v := range checkSchema(schema+".schema.json", tree) {
		out = append(out, v.finding("", v.path).At(pos(v.path, v.onKey)))
	}
	out = append(out, secretFindings(schema, "", tree, pos)...)
	out.Sort()
	return out
}

// unreadable is the finding for a file that cannot be read.
func unreadable(path string, err error) Findings {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner // the path is in the finding already
	}
	return Findings{{File: path, Severity: SeverityError, Rule: "no-file", Message: "cannot be read: " + err.Error()}}
}

// ValueAt returns the value at path in a tree, nil if there is none.
func ValueAt(tree map[string]any, path []string) any { return valueAt(tree, path) }

// SetAt puts a value at path, making the mappings on the way. It returns false
// if something else than a mapping is in the way.
func SetAt(tree map[string]any, path []string, value any) bool {
	for _, step := range path[:len(path)-1] {
		next, have := tree[step]
		if !have || next == nil {
			next = map[string]any{}
			tree[step] = next
		}
		m, ok := next.(map[string]any)
		if !ok {
			return false
		}
		tree = m
	}
	tree[path[len(path)-1]] = value
	return true
}

// CloneTree returns a deep copy of a tree of plain values.
func CloneTree(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[k] = CloneTree(e)
		}
		return m
	case []any:
		list := slices.Clone(v)
		for i, e := range list {
			list[i] = CloneTree(e)
		}
		return list
	}
	return v
}
