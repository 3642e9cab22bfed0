package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/edge-gateway/edge-gateway/pkg/number"
)

// plain is a scalar that stands in a YAML file without quotes and may be something
// else than text: a number, true, or what YAML 1.1 takes for one. What it is, the
// field decides that it stands in: of a text the characters are kept as they stand.
// A json.Number is the same in JSON. The typer replaces both.
type plain string

// plainScalarValue returns nil, a text, or a plain.
func plainScalarValue(text string) any {
	switch text {
	case "", "~", "null", "Null", "NULL":
		return nil
	}
	if c := text[0]; c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.' || number.Old(text) != "" {
		return plain(text)
	}
	if _, isBool := number.Bool(text); isBool {
		return plain(text)
	}
	return text
}

// resolvePlain returns what YAML 1.2 and JSON read a plain scalar as: int64,
// uint64 where no float64 is exact, float64, bool or string. The error is a [*number.Error] of one that is a number
// in a notation that isn't taken, or too large; its value is the text.
func resolvePlain(text string) (any, error) {
	if b, ok := number.Bool(text); ok {
		return b, nil
	}
	v, err := number.Parse(text)
	if e, ok := errors.AsType[*number.Error](err); ok {
		switch lower := strings.ToLower(text); {
		case e.Kind != number.NoNumber:
			return text, err
		case strings.TrimLeft(lower, "+-") == ".inf", lower == ".nan":
			return text, errors.New("is not a finite number")
		}
		return text, nil
	}
	switch n := v.(type) {
	case float64:
		return wholeNumber(n), nil
	case uint64:
		if f := float64(n); f < math.MaxUint64 && uint64(f) == n {
			return f, nil // equal documents are equal values
		}
	}
	return v, nil
}

// plainText returns the text of a plain scalar.
func plainText(v any) (string, bool) {
	switch v := v.(type) {
	case plain:
		return string(v), true
	case json.Number:
		return string(v), true
	}
	return "", false
}

// typer gives the plain scalars of a tree the types that their fields have.
type typer struct {
	violations []violation // errors
	old        []violation // what YAML 1.1 reads differently
}

// typed returns tree with its plain scalars typed by a schema. It changes the
// containers of tree.
func (t *typer) typed(root schemaAt, tree any) any {
	return t.value(root.expand(tree), tree, nil)
}

// namedSchema returns the root of a schema, or the definition behind #.
func namedSchema(name string) schemaAt {
	at, ok := schemaAt{}.resolve(name)
	if !ok {
		panic("config: no schema " + name)
	}
	return at
}

func (t *typer) value(at []schemaAt, v any, path []string) any {
	if isSecret(at) && len(path) > 0 {
		switch v.(type) {
		case map[string]any, []any:
			return asText(v) // the schema refuses it; nobody is to be told what is in it
		}
	}
	switch v := v.(type) {
	case plain:
		return t.scalar(at, string(v), path, true)
	case json.Number:
		return t.scalar(at, string(v), path, false)
	case map[string]any:
		for k, e := range v {
			step := append(slices.Clone(path), k)
			if old := number.Old(k); old != "" && old != "text" {
				t.older(step, true, false, k, old)
			}
			v[k] = t.value(property(at, k, e), e, step)
		}
	case []any:
		for i, e := range v {
			v[i] = t.value(listItems(at, e), e, append(slices.Clone(path), strconv.Itoa(i)))
		}
	}
	return v
}

// asText makes text of all plain scalars in v.
func asText(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			v[k] = asText(e)
		}
	case []any:
		for i, e := range v {
			v[i] = asText(e)
		}
	case plain, json.Number:
		text, _ := plainText(v)
		return text
	}
	return v
}

// listItems returns the schemas of a list's items.
func listItems(of []schemaAt, value any) []schemaAt {
	var out []schemaAt
	for _, s := range of {
		if m, ok := s.node["items"].(rawSchema); ok {
			out = append(out, schemaAt{s.file, m}.expand(value)...)
		}
	}
	return out
}

// scalar types one plain scalar.
func (t *typer) scalar(at []schemaAt, text string, path []string, yaml bool) any {
	types := schemaTypes(at)
	old := ""
	if yaml {
		old = number.Old(text)
	}
	if wantsText(types) {
		if old != "" && old != "text" {
			t.older(path, false, isSecret(at), text, old)
		}
		return text
	}
	v, err := resolvePlain(text)
	if err != nil {
		if len(types) == 0 { // nobody else looks at it
			t.violations = append(t.violations, violation{path: path, rule: "number", msg: text + " " + err.Error()})
		}
		return text // the schema refuses it, and knows the words
	}
	if old != "" {
		t.older(path, false, isSecret(at), text, old)
	}
	takes := func(name string) bool { return slices.Contains(types, name) }
	_, isText := v.(string)
	_, isBool := v.(bool)
	switch {
	case isText, isBool && takes("boolean"), !isBool && (takes("number") || takes("integer")):
		return v
	case takes("string"):
		return text
	}
	return v // which the schema refuses
}

// older notes what YAML 1.1 reads differently.
func (t *typer) older(path []string, onKey, secret bool, text, old string) {
	shown := text
	if secret {
		shown, old = "the value", "something else"
	}
	t.old = append(t.old, violation{path: path, onKey: onKey, rule: "yaml-1.1",
		msg: fmt.Sprintf("%s is read as it stands here; readers of YAML 1.1 take it for %s: put it in quotes if it is text", shown, old)})
}

// schemaTypes returns the types of JSON Schema that a field may have, none where
// the schema leaves it open. Those of an enum are its values'.
func schemaTypes(at []schemaAt) []string {
	if t, ok := annotation(at, "type"); ok {
		return stringList(t)
	}
	values, ok := annotation(at, "enum")
	if c, isConst := annotation(at, "const"); !ok && isConst {
		values = []any{c}
	}
	list, _ := values.([]any)
	var types []string
	for _, v := range list {
		switch v.(type) {
		case string:
			types = append(types, "string")
		case float64:
			types = append(types, "number")
		case bool:
			types = append(types, "boolean")
		}
	}
	slices.Sort(types)
	return slices.Compact(types)
}

func wantsText(types []string) bool { return len(types) == 1 && types[0] == "string" }

func isSecret(at []schemaAt) bool {
	_, secret := annotation(at, "x-secret")
	return secret
}

// hasOld reports whether a tree holds a plain scalar that YAML 1.1 reads
// differently.
func hasOld(tree any) bool {
	switch v := tree.(type) {
	case plain:
		return number.Old(string(v)) != ""
	case map[string]any:
		for _, e := range v {
			if hasOld(e) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, hasOld)
	}
	return false
}

// ParseText reads what a person wrote for a field outside of a file (a flag, a
// variable of the environment, a cell, a command) as a file has it: text as it
// stands, a number, true or false, a list with commas between. What does not fit
// stays text, and the schema explains it.
func ParseText(f *Field, text string) any {
	if slices.Contains(f.Types, "array") {
		list := []any{}
		for _, e := range strings.Split(text, ",") {
			if e = strings.TrimSpace(e); e != "" {
				list = append(list, e)
			}
		}
		return list
	}
	v, err := resolvePlain(text)
	_, isBool := v.(bool)
	_, isText := v.(string)
	switch {
	case err != nil, isText:
	case isBool && slices.Contains(f.Types, "boolean"), !isBool && (slices.Contains(f.Types, "number") || slices.Contains(f.Types, "integer")):
		return v
	}
	return text
}

// variableTypes returns the types of a variable's fields by their dotted paths: what
// [schemaTypes] says, once for all of a large table.
var variableTypes = sync.OnceValue(func() map[string][]string {
	types := make(map[string][]string)
	var walk func(at []schemaAt, prefix string)
	walk = func(at []schemaAt, prefix string) {
		for _, name := range propertyNames(at) {
			below := property(at, name, nil)
			types[prefix+name] = schemaTypes(below)
			walk(below, prefix+name+".")
		}
	}
	walk(namedSchema(itemSchema).expand(nil), "")
	return types
})

// typedFast types a variable whose scalars all fit their fields. It returns false,
// and may have typed some, where the [typer] must look at it.
func typedFast(m map[string]any, prefix string) bool {
	for k, e := range m {
		switch e := e.(type) {
		case map[string]any:
			if !typedFast(e, prefix+k+".") {
				return false
			}
		case plain, json.Number:
			text, _ := plainText(e)
			types, known := variableTypes()[prefix+k]
			v, err := resolvePlain(text)
			switch v.(type) {
			case int64, uint64, float64:
			default:
				return false
			}
			switch {
			case !known || err != nil:
				return false
			case wantsText(types):
				m[k] = text
			case slices.Contains(types, "integer") || slices.Contains(types, "number"):
				m[k] = v
			default:
				return false
			}
		case []any:
			return false
		}
	}
	return true
}
