package config

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v5"

	"github.com/edge-gateway/edge-gateway/pkg/number"
	"github.com/edge-gateway/edge-gateway/schemas"
)

// compiledSchemas returns the validators by file name ("drivers.schema.json",
// and "variables.schema.json#/definitions/variable" for one item).
var compiledSchemas = sync.OnceValue(func() map[string]*jsonschema.Schema {
	c := jsonschema.NewCompiler()
	c.Draft = jsonschema.Draft7
	c.RegisterExtension("bounds", nil, boundsCompiler{})
	names := []string{itemSchema}
	for name, doc := range rawSchemas() {
		b, err := json.Marshal(doc)
		if err == nil {
			err = c.AddResource(schemas.BaseURL+name, bytes.NewReader(b))
		}
		if err != nil {
			panic(fmt.Sprintf("config: embedded schema %s: %v", name, err))
		}
		names = append(names, name)
	}
	out := make(map[string]*jsonschema.Schema, len(names))
	for _, name := range names {
		s, err := c.Compile(schemas.BaseURL + name)
		if err != nil {
			panic(fmt.Sprintf("config: embedded schema %s: %v", name, err))
		}
		out[name] = s
	}
	return out
})

// itemSchema checks one variable.
const itemSchema = "variables.schema.json#/definitions/variable"

// unknownKey is the rule for keys that don't belong where they stand.
const unknownKey = "unknown-key"

// violation is one thing that a schema has against a value.
type violation struct {
	path    []string // of the value, or of the key with onKey
	onKey   bool
	rule    string
	msg     string
	missing string // the key that path lacks; instead of msg
	secret  bool   // a secret may stand there
}

// checkSchema validates tree and explains what is wrong. Violations come sorted
// by path.
func checkSchema(name string, tree any) []violation {
	s := compiledSchemas()[name]
	if s == nil {
		panic("config: no schema " + name)
	}
	err := s.Validate(tree)
	if err == nil {
		return nil
	}
	var ve *jsonschema.ValidationError
	if !errors.As(err, &ve) {
		return []violation{{rule: "schema", msg: err.Error()}}
	}
	var out []violation
	c := collector{root: namedSchema(name), tree: tree, out: &out}
	c.collect(ve)
	slices.SortStableFunc(out, func(a, b violation) int {
		if c := slices.Compare(a.path, b.path); c != 0 {
			return c
		}
		return cmp.Or(strings.Compare(a.msg, b.msg), strings.Compare(a.missing, b.missing))
	})
	return slices.CompactFunc(out, func(a, b violation) bool {
		return slices.Equal(a.path, b.path) && a.msg == b.msg && a.missing == b.missing
	})
}

// collector turns the leaves of the validator's error into violations.
type collector struct {
	root schemaAt
	tree any
	out  *[]violation
}

func (c *collector) collect(ve *jsonschema.ValidationError) {
	keyword := ve.AbsoluteKeywordLocation[strings.LastIndexByte(ve.AbsoluteKeywordLocation, '/')+1:]
	alternatives := keyword == "anyOf" || keyword == "oneOf"
	if len(ve.Causes) > 0 && !alternatives {
		for _, cause := range ve.Causes {
			c.collect(cause)
		}
		return
	}
	path := pointerSteps(ve.InstanceLocation)
	location := strings.TrimSuffix(ve.AbsoluteKeywordLocation, "/"+keyword)
	if ve.Message == "not allowed" {
		keyword = "" // the schema at this place is just false
	}
	at := []schemaAt{}
	if s, ok := lookupSchema(location); ok {
		at = s.expand(valueAt(c.tree, path))
	}
	if strings.Contains(ve.KeywordLocation, "/propertyNames") {
		*c.out = append(*c.out, violation{path: path, onKey: true, rule: "id",
			msg: fmt.Sprintf("%q is not allowed as a name: expected %s", shownKey(last(path)), annotationText(at, "x-expect"))})
		return
	}
	e := explainer{keyword: keyword, path: path, at: at, value: valueAt(c.tree, path), fallback: ve.Message,
		secret: secretAt(c.root, c.tree, path)}
	vs := e.explain()
	if len(vs) == 0 {
		vs = e.one("schema", "%s", e.own()) // never let a violation pass for lack of words
	}
	*c.out = append(*c.out, vs...)
}

// explainer words one violation for people.
type explainer struct {
	keyword  string
	path     []string
	at       []schemaAt // the schema that was violated
	value    any
	fallback string // the validator's own words
	secret   bool   // the value is nobody's to see
}

// got shows the value, unless it is a secret or stands where secrets do.
func (e *explainer) got() string {
	if e.secret || holdsSecret(e.at, 0) {
		return kindOf(e.value)
	}
	return describe(e.value)
}

// own returns the validator's own words, which may quote the value.
func (e *explainer) own() string {
	if e.secret {
		return "is not valid here"
	}
	return MaskUser(e.fallback)
}

// misread says why a text is no number where one is wanted, "" if that isn't it.
func (e *explainer) misread() string {
	text, isText := e.value.(string)
	types := schemaTypes(e.at)
	if isText && !e.secret && strings.HasPrefix(annotationText(e.at, "x-expect"), "a duration") {
		if _, err := number.Duration(text); err != nil {
			if zero, ok := errors.AsType[*number.Error](err); ok {
				return zero.Reason
			}
		}
	}
	if !isText || e.secret || !slices.Contains(types, "integer") && !slices.Contains(types, "number") {
		return ""
	}
	_, err := resolvePlain(text)
	if err == nil {
		if _, size := number.Size(text); size != nil && slices.Contains(types, "string") && text != "" && text[0] == '0' {
			return size.Error()
		}
		return ""
	}
	return text + " " + err.Error()
}

func (e *explainer) explain() []violation {
	if words := e.misread(); words != "" {
		return e.one("number", "%s", words)
	}
	switch e.keyword {
	case "additionalProperties":
		return e.unknownKeys()
	case "required":
		return e.missingKeys()
	case "type":
		return e.one("type", "expected %s, got %s", e.expected(), e.got())
	case "enum", "const":
		allowed, _ := annotation(e.at, e.keyword)
		if e.keyword == "const" {
			allowed = []any{allowed}
		}
		words := stringList(allowed)
		text := "one of " + strings.Join(words, ", ")
		if len(words) == 1 {
			text = words[0]
		}
		return e.one("value", "expected %s, got %s%s", text, e.got(), didYouMean(scalarText(e.value), words))
	case "minLength":
		if e.value == "" {
			return e.one("value", "must not be empty")
		}
	case leastKeyword, mostKeyword:
		return e.one("value", "expected %s, got %s", quantityText(e.at), describe(e.value))
	case "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "anyOf", "oneOf", "maxLength":
		text := annotationText(e.at, "x-expect")
		if text == "" {
			text = e.allowed()
		}
		if text != "" {
			return e.one("value", "expected %s, got %s", text, e.got())
		}
	case "":
		return []violation{{path: e.path, onKey: true, rule: unknownKey,
			msg: fmt.Sprintf("%s does not go with the other keys here", shownKey(last(e.path)))}}
	}
	return e.one("schema", "%s", e.own())
}

// one returns a violation of the value itself.
func (e *explainer) one(rule, format string, args ...any) []violation {
	return []violation{{path: e.path, rule: rule, msg: fmt.Sprintf(format, args...), secret: e.secret || holdsSecret(e.at, 0)}}
}

func (e *explainer) unknownKeys() []violation {
	m, _ := e.value.(map[string]any)
	known := propertyNames(e.at)
	var out []violation
	for k := range m {
		if len(property(e.at, k, m[k])) > 0 {
			continue
		}
		hint := didYouMean(k, known)
		if strings.Contains(k, ":") {
			hint = "; a blank is missing behind the colon"
		}
		if hint == "" && len(known) > 0 {
			hint = "; known are " + strings.Join(known, ", ")
		}
		out = append(out, violation{path: append(slices.Clone(e.path), k), onKey: true, rule: unknownKey,
			msg: fmt.Sprintf("unknown key %s%s", shownKey(k), hint)})
	}
	return out
}

func (e *explainer) missingKeys() []violation {
	m, _ := e.value.(map[string]any)
	required, _ := annotation(e.at, "required")
	var out []violation
	for _, k := range stringList(required) {
		if _, have := m[k]; !have {
			out = append(out, violation{path: e.path, onKey: true, rule: "missing-key", missing: k})
		}
	}
	return out
}

// expected says what type of value the schema wants.
func (e *explainer) expected() string {
	if s := annotationText(e.at, "x-expect"); s != "" {
		return s
	}
	words := map[string]string{"string": "text (in quotes, if it looks like a number)", "integer": "a whole number", "number": "a number",
		"boolean": "true or false", "object": "a mapping", "array": "a list"}
	types, _ := annotation(e.at, "type")
	var out []string
	for _, t := range stringList(types) {
		if w := words[t]; w != "" {
			out = append(out, w)
		}
	}
	return strings.Join(out, " or ")
}

// allowed words the values that the schema's bounds and alternatives allow, ""
// if it has none.
func (e *explainer) allowed() string {
	if e.keyword != "anyOf" && e.keyword != "oneOf" {
		return rangeText(e.at)
	}
	branches, _ := annotation(e.at, e.keyword)
	list, _ := branches.([]any)
	var words []string
	for _, b := range list {
		m, ok := b.(rawSchema)
		if !ok {
			return ""
		}
		at := []schemaAt{{node: m}}
		if c, ok := m["const"]; ok {
			words = append(words, scalarText(normalise(c)))
		} else if text := rangeText(at); text != "" {
			words = append(words, text)
		} else {
			return ""
		}
	}
	return strings.Join(words, ", or ")
}

// rangeText words minimum and maximum, "" if there are none.
func rangeText(at []schemaAt) string {
	bound := func(keyword string) string {
		v, ok := annotation(at, keyword)
		if !ok {
			return ""
		}
		return scalarText(normalise(v))
	}
	switch lo, hi := bound("minimum"), bound("maximum"); {
	case lo != "" && hi != "":
		return "a number from " + lo + " to " + hi
	case lo != "":
		return "a number of at least " + lo
	case hi != "":
		return "a number of at most " + hi
	}
	return ""
}

// valueAt returns the value at path, nil if there is none.
func valueAt(tree any, path []string) any {
	for _, step := range path {
		switch t := tree.(type) {
		case map[string]any:
			tree = t[step]
		case []any:
			i := 0
			if _, err := fmt.Sscanf(step, "%d", &i); err != nil || i < 0 || i >= len(t) {
				return nil
			}
			tree = t[i]
		default:
			return nil
		}
	}
	return tree
}

func last(path []string) string {
	if len(path) == 0 {
		return ""
	}
	return path[len(path)-1]
}
