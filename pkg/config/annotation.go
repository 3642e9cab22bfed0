package config

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/edge-gateway/edge-gateway/schemas"
)

// rawSchema is a JSON Schema as it is written.
type rawSchema = map[string]any

// rawSchemas returns the embedded schemas by their path in schemas.FS. They are
// compiled into the binary, so a fault in one is a programming error.
var rawSchemas = sync.OnceValue(func() map[string]rawSchema {
	docs := make(map[string]rawSchema)
	err := fs.WalkDir(schemas.FS, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".schema.json") {
			return err
		}
		b, err := fs.ReadFile(schemas.FS, name)
		if err != nil {
			return err
		}
		var doc rawSchema
		if err := json.Unmarshal(b, &doc); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		doc["$id"] = schemas.BaseURL + name // where references and locations start from
		docs[name] = doc
		return nil
	})
	if err != nil {
		panic(fmt.Sprintf("config: embedded schemas: %v", err))
	}
	return docs
})

// schemaAt is a place in a schema: what relative references start from, too.
type schemaAt struct {
	file string
	node rawSchema
}

// resolve follows a $ref.
func (s schemaAt) resolve(ref string) (schemaAt, bool) {
	file, pointer, _ := strings.Cut(ref, "#")
	if file == "" {
		file = s.file
	} else {
		file = path.Join(path.Dir(s.file), strings.TrimPrefix(file, schemas.BaseURL))
	}
	var node any = rawSchemas()[file]
	for _, step := range pointerSteps(pointer) {
		node = valueAt(node, []string{step})
	}
	m, ok := node.(rawSchema)
	return schemaAt{file, m}, ok && m != nil
}

// lookupSchema finds the schema at an absolute location, as the validator
// reports it.
func lookupSchema(location string) (schemaAt, bool) {
	return schemaAt{}.resolve(strings.TrimPrefix(location, schemas.BaseURL))
}

// pointerSteps splits a JSON pointer, which may be percent-encoded.
func pointerSteps(pointer string) []string {
	rest, ok := strings.CutPrefix(pointer, "/")
	if !ok {
		return nil
	}
	steps := strings.Split(rest, "/")
	for i, s := range steps {
		if u, err := url.PathUnescape(s); err == nil {
			s = u
		}
		steps[i] = strings.ReplaceAll(strings.ReplaceAll(s, "~1", "/"), "~0", "~")
	}
	return steps
}

// expand returns s and every schema that applies to the same value v through
// $ref, allOf and if/then/else, the most specific last.
func (s schemaAt) expand(v any) []schemaAt {
	out := []schemaAt{s}
	if ref, ok := s.node["$ref"].(string); ok {
		if to, ok := s.resolve(ref); ok {
			out = append(out, to.expand(v)...)
		}
	}
	if all, ok := s.node["allOf"].([]any); ok {
		for _, a := range all {
			if m, ok := a.(rawSchema); ok {
				out = append(out, schemaAt{s.file, m}.expand(v)...)
			}
		}
	}
	if cond, ok := s.node["if"].(rawSchema); ok {
		branch := "else"
		if condHolds(cond, v) {
			branch = "then"
		}
		if m, ok := s.node[branch].(rawSchema); ok {
			out = append(out, schemaAt{s.file, m}.expand(v)...)
		}
	}
	return out
}

// condHolds evaluates the conditions that our schemas use: required keys, and
// keys with a constant or one of a list.
func condHolds(cond rawSchema, v any) bool {
	m, ok := v.(map[string]any)
	if !ok {
		return false
	}
	if required, ok := cond["required"].([]any); ok {
		for _, r := range required {
			if _, have := m[r.(string)]; !have {
				return false
			}
		}
	}
	props, _ := cond["properties"].(rawSchema)
	for name, p := range props {
		value, have := m[name]
		p, ok := p.(rawSchema)
		if !have || !ok {
			continue
		}
		if c, ok := p["const"]; ok && c != value {
			return false
		}
		if enum, ok := p["enum"].([]any); ok && !slices.Contains(enum, value) {
			return false
		}
	}
	return true
}

// namePatterns returns the compiled patterns of names in the schemas.
var namePatterns = sync.OnceValue(func() map[string]*regexp.Regexp {
	out := make(map[string]*regexp.Regexp)
	var walk func(node any)
	walk = func(node any) {
		switch node := node.(type) {
		case rawSchema:
			patterns, _ := node["patternProperties"].(rawSchema)
			for pattern := range patterns {
				if re, err := regexp.Compile(pattern); err == nil { // else the validator panics
					out[pattern] = re
				}
			}
			for _, sub := range node {
				walk(sub)
			}
		case []any:
			for _, sub := range node {
				walk(sub)
			}
		}
	}
	for _, doc := range rawSchemas() {
		walk(doc)
	}
	return out
})

// property returns the schemas that apply to key name of a value with the
// schemas given.
func property(of []schemaAt, name string, value any) []schemaAt {
	var out []schemaAt
	add := func(file string, node any) bool {
		m, ok := node.(rawSchema)
		if ok {
			out = append(out, schemaAt{file, m}.expand(value)...)
		}
		return node != nil
	}
	for _, s := range of {
		props, _ := s.node["properties"].(rawSchema)
		known := add(s.file, props[name])
		patterns, _ := s.node["patternProperties"].(rawSchema)
		for pattern, node := range patterns {
			if re := namePatterns()[pattern]; re != nil && re.MatchString(name) {
				known = add(s.file, node) || known
			}
		}
		if !known {
			add(s.file, s.node["additionalProperties"])
		}
	}
	return out
}

// annotation returns the first value of a keyword among schemas.
func annotation(of []schemaAt, keyword string) (any, bool) {
	for _, s := range of {
		if v, ok := s.node[keyword]; ok {
			return v, true
		}
	}
	return nil, false
}

// propertyNames returns the keys that the schemas name, sorted.
func propertyNames(of []schemaAt) []string {
	names := make(map[string]bool)
	for _, s := range of {
		props, _ := s.node["properties"].(rawSchema)
		for name, node := range props {
			if node != false {
				names[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// Field is a leaf that a schema describes.
type Field struct {
	Path        []string
	Types       []string // of JSON Schema: "string", "integer", …; empty for an enum
	Enum        []string
	Default     any // nil if none
	Secret      bool
	LiteralOK   bool    // a secret that may stand there literally, such as a user name
	Hash        bool    // LiteralOK, for it is the hash of a password; it is not shown all the same
	NoReference bool    // a secret that takes no reference, such as a name that is sent in the open
	IsPath      bool    // a path, relative to the file that holds it
	IsFile      bool    // a path of a file that is there to be read
	Min, Max    any     // of a number, a duration or a size, as the schema writes it; nil: none
	MinOut      bool    // Min is the first number that is too small
	MaxOut      bool    // Max is the first number that is too large
	MaxLen      int     // of a text, in characters; 0: no bound
	LessThan    string  // the key beside it that has a greater number; "": none
	DefaultFrom string  // the key of gateway.yml whose value stands in for an empty one; "": none
	Unique      *Unique // nil: others may have the same value
	Description string
}

// Unique says that no two connectors of a kind have the same value of a field.
type Unique struct {
	With string // the key beside it that has to be the same, too
	Text string // what is wrong then, with {other} for the other connector
}

// Key returns the path joined by dots.
func (f *Field) Key() string { return strings.Join(f.Path, ".") }

// Fields lists the leaves that the schema of that file name ("gateway",
// "drivers/modbus") describes for a value: all that the schema names, and what
// the value holds under keys of its own, such as its connectors. Lists are
// leaves.
func Fields(schema string, value any) []Field {
	root := schemaAt{file: schema + ".schema.json", node: rawSchemas()[schema+".schema.json"]}
	var out []Field
	walkFields(root.expand(value), nil, value, &out)
	return out
}

func walkFields(at []schemaAt, path []string, value any, out *[]Field) {
	m, isMap := value.(map[string]any)
	if isSecret(at) { // whatever stands there, it is one secret
		m, isMap = nil, false
	}
	names := propertyNames(at)
	for name := range m {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(path) >= maxDepth {
		return
	}
	if len(names) == 0 && !isMap {
		if isObject(at) {
			return
		}
		*out = append(*out, leafField(at, path))
		return
	}
	slices.Sort(names)
	for _, name := range names {
		v := m[name]
		walkFields(property(at, name, v), append(slices.Clone(path), name), v, out)
	}
}

// isObject reports whether the schemas describe a mapping with free keys.
func isObject(at []schemaAt) bool {
	t, _ := annotation(at, "type")
	if list, ok := t.([]any); ok {
		return slices.Contains(list, any("object"))
	}
	return t == "object"
}

func leafField(at []schemaAt, path []string) Field {
	f := Field{Path: path}
	if t, ok := annotation(at, "type"); ok {
		f.Types = stringList(t)
	}
	if e, ok := annotation(at, "enum"); ok {
		f.Enum = stringList(e)
	}
	if c, ok := annotation(at, "const"); ok {
		f.Enum = stringList([]any{c})
	}
	if d, ok := annotation(at, "default"); ok {
		f.Default = normalise(d)
	}
	f.bounds(at)
	f.Secret = isSecret(at)
	literal, literalOK := annotation(at, "x-literal")
	f.LiteralOK, f.Hash = literalOK, literal == "hash"
	_, f.NoReference = annotation(at, "x-no-reference")
	what, isPath := annotation(at, "x-path")
	f.IsPath, f.IsFile = isPath, what == "file"
	f.LessThan, f.DefaultFrom = annotationText(at, "x-less-than"), annotationText(at, "x-default-from")
	if u, ok := annotation(at, "x-unique"); ok {
		m, _ := u.(rawSchema)
		f.Unique = &Unique{With: fmt.Sprint(m["with"]), Text: fmt.Sprint(m["text"])}
	}
	f.Description = annotationText(at, "description")
	return f
}

// bounds notes between what the value must lie.
func (f *Field) bounds(at []schemaAt) {
	first := func(keywords ...string) (v any, keyword string) {
		for _, k := range keywords {
			if v, ok := annotation(at, k); ok {
				return normalise(v), k
			}
		}
		return nil, ""
	}
	var keyword string
	f.Min, keyword = first(leastKeyword, "minimum", "exclusiveMinimum")
	f.MinOut = keyword == "exclusiveMinimum"
	f.Max, keyword = first(mostKeyword, "maximum", "exclusiveMaximum")
	f.MaxOut = keyword == "exclusiveMaximum"
	if n, _ := first("maxLength"); n != nil {
		f.MaxLen = int(n.(int64))
	}
}

func annotationText(at []schemaAt, keyword string) string {
	v, _ := annotation(at, keyword)
	s, _ := v.(string)
	return s
}

// stringList returns one or several strings of a schema, each once: a number and its text
// are the same to a person.
func stringList(v any) (out []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, s := range v {
			if text := scalarText(normalise(s)); !slices.Contains(out, text) {
				out = append(out, text)
			}
		}
	}
	return out
}

// normalise turns the numbers of our own schemas, which are float64, into those of
// trees. It changes v's containers in place.
func normalise(v any) any {
	return mapLeaves(v, func(leaf any) any {
		if f, ok := leaf.(float64); ok {
			return wholeNumber(f)
		}
		return leaf
	})
}

// mapLeaves puts what of makes of each leaf of a tree in its place, in place.
func mapLeaves(v any, of func(any) any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			v[k] = mapLeaves(e, of)
		}
	case []any:
		for i, e := range v {
			v[i] = mapLeaves(e, of)
		}
	default:
		return of(v)
	}
	return v
}
