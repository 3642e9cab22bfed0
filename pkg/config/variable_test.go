package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// variableTree is a variable that is accepted.
func variableTree() map[string]any {
	return map[string]any{"tag": "a", "driver_id": "d", "access": "R", "datatype": "uint16",
		"address": map[string]any{"type": "holding", "addr": int64(1)}}
}

// candidates are values at, below and beyond what a schema allows.
func candidates(at []schemaAt) []any {
	out := []any{int64(0), int64(-1), int64(1), 1.5, "", "x", "0100", true, []any{}, []any{int64(1)}, map[string]any{}, "5", "1s", "hi", strings.Repeat("x", 2000)}
	for _, keyword := range []string{"minimum", "maximum", "minLength", "maxLength"} {
		v, ok := annotation(at, keyword)
		f, isNumber := v.(float64)
		if !ok || !isNumber {
			continue
		}
		for _, n := range []int64{int64(f) - 1, int64(f), int64(f) + 1} {
			out = append(out, n)
			if n >= 0 && n < 5000 {
				out = append(out, strings.Repeat("v", int(n)))
			}
		}
	}
	for v := range enumOf(at) {
		out = append(out, v, v+"x", strings.ToUpper(v))
	}
	return out
}

// TestDecodeFollowsSchema holds decodeVariable, which is there for its speed, to the
// schema: it takes what the schema takes, for every field.
func TestDecodeFollowsSchema(t *testing.T) {
	tried := 0
	try := func(tree map[string]any, what string) {
		tried++
		_, err := decodeVariable(CloneTree(tree))
		violations := checkSchema(itemSchema, tree)
		if tag, _ := tree["tag"].(string); reserved(tag) {
			return
		}
		if (err == nil) != (len(violations) == 0) {
			t.Errorf("%s: decoded with %v, the schema says %v", what, err, violations)
		}
	}
	root := namedSchema(itemSchema).expand(nil)
	for _, name := range propertyNames(root) {
		at := property(root, name, nil)
		for _, v := range candidates(at) {
			tree := variableTree()
			tree[name] = v
			try(tree, fmt.Sprintf("%s: %.40v", name, v))
		}
		for _, below := range propertyNames(at) {
			for _, kind := range []map[string]any{{"type": "holding", "addr": int64(1)}, {"type": "coil", "addr": int64(1)},
				{"node": "n"}, {"db": int64(1), "start": int64(0), "size": int64(2)}} {
				for _, v := range candidates(property(at, below, nil)) {
					tree := variableTree()
					address := maps.Clone(kind)
					address[below] = v
					tree["address"] = address
					try(tree, fmt.Sprintf("address.%s: %.40v with %v", below, v, kind))
				}
			}
		}
	}
	if tried < 1000 {
		t.Errorf("only %d tried", tried)
	}
}

// TestVariableFields: every field of the schema is one of the struct, and comes back
// in the canonical form.
func TestVariableFields(t *testing.T) {
	fields := func(typ reflect.Type) (names []string) {
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			names = append(names, name)
		}
		slices.Sort(names)
		return names
	}
	root := namedSchema(itemSchema).expand(nil)
	if got, want := fields(reflect.TypeFor[Variable]()), propertyNames(root); !slices.Equal(got, want) {
		t.Errorf("variables have %v, the schema %v", got, want)
	}
	if got, want := fields(reflect.TypeFor[Address]()), propertyNames(property(root, "address", nil)); !slices.Equal(got, want) {
		t.Errorf("addresses have %v, the schema %v", got, want)
	}
	for _, name := range propertyNames(root) {
		for _, v := range candidates(property(root, name, nil)) {
			tree := variableTree()
			tree[name] = v
			decoded, err := decodeVariable(CloneTree(tree))
			if err != nil || v == "" || v == int64(0) {
				continue
			}
			back, err2 := DecodeVariable(decoded.Tag, decoded.appendCanonical(nil))
			if err2 != nil || !back.Equal(&decoded) {
				t.Errorf("%s: %v comes back as %+v, %v", name, v, back, err2)
			}
			canonical := anyTree(decoded.appendCanonical(nil))
			if valueAt(canonical, []string{name}) == nil {
				t.Errorf("%s: %v is not in the canonical form", name, v)
			}
		}
	}
}

// TestNumbers reads what the device says when it has no value.
func TestNumbers(t *testing.T) {
	for text, want := range map[string]string{
		"0x8000": "32768", "-32768": "-32768", "[0x7FFF, 65535]": "[32767,65535]", "0xFFFFFFFFFFFFFFFF": "18446744073709551615", "-9999.5": "-9999.5", "1e20": "100000000000000000000",
	} {
		src := "- tag: a\n  driver_id: d\n  access: R\n  datatype: uint64\n  address: {type: holding, addr: 1}\n  na: " + text + "\n"
		r := newReader()
		r.table(Variables, "variables.yml", []byte(src))
		if r.findings.Err() != nil || len(r.snap.Variables) != 1 {
			t.Errorf("%s: %v", text, r.findings)
			continue
		}
		if got := string(r.snap.Variables[0].NA.appendCanonical(nil)); got != want {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
	}
}

// TestTagsOfAllScripts: letters come with their marks, in one form.
func TestTagsOfAllScripts(t *testing.T) {
	for tag, want := range map[string]string{
		"plant.flow_1": "", "Größe": "", "温度.1": "", "तापमान": "", "อุณหภูมิ": "", "درجة": "", "độ_ẩm": "", "שלוֹם": "", "ab": "",
		"Gro\u0308\u00dfe": `ö is written as "o\u0308", and must be "\u00f6"`, "\u0301a": "expected a tag", "a\u0300b": `"\u00e0"`, "a b": "expected a tag",
		"e\u0323\u0302": `must be "\u1ec7"`, "a\u200bb": "holds U+200B", "m²": "",
	} {
		text := fmt.Sprintf("- {tag: %q, driver_id: d, access: R, address: {type: holding, addr: 1}, datatype: uint16}\n", tag)
		_, _, findings := ReadText(Variables, "variables.yml", []byte(text))
		got := ""
		if len(findings) > 0 {
			got = findings[0].Message
		}
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%+q: %q, expected %q", tag, got, want)
		}
		if ValidTag(tag) != (want == "") {
			t.Errorf("ValidTag(%+q) = %v", tag, want != "")
		}
	}
}
