package mqtt

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/schemas"
)

// defaults returns what a configuration that sets nothing means.
func defaults() Config {
	c, err := decodeConfig(map[string]any{"kind": "mqtt5"})
	if err != nil {
		panic(err) // the schema contradicts itself
	}
	return c
}

// TestSchemaNamesEverySetting holds the schema against the configuration: the same
// names, and what has a default in the schema arrives.
func TestSchemaNamesEverySetting(t *testing.T) {
	text, err := schemas.FS.ReadFile("connectors/mqtt5.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var s schema
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	compare(t, "", &s, &s, reflect.ValueOf(defaults()))
}

type schema struct {
	Ref         string             `json:"$ref"`
	Default     any                `json:"default"`
	Properties  map[string]*schema `json:"properties"`
	Definitions map[string]*schema `json:"definitions"`
}

// compare holds the properties of a schema against the fields of a struct.
func compare(t *testing.T, path string, root, s *schema, v reflect.Value) {
	t.Helper()
	var fields []string
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("json")
		fields = append(fields, name)
		p := s.Properties[name]
		if p == nil {
			continue // told below
		}
		if strings.HasPrefix(p.Ref, "../") {
			continue // what all connectors have
		}
		if key, ok := strings.CutPrefix(p.Ref, "#/definitions/"); ok {
			p = root.Definitions[key]
		}
		if f := v.Field(i); f.Kind() == reflect.Struct {
			compare(t, path+name+".", root, p, f)
		} else if p.Default != nil {
			if zero := f.IsZero(); zero != isNothing(p.Default) {
				t.Errorf("%s%s: the schema's default is %v, it arrives as %v", path, name, p.Default, f)
			}
		}
	}
	slices.Sort(fields)
	if names := slices.Sorted(maps.Keys(s.Properties)); !slices.Equal(names, fields) {
		t.Errorf("%s: the schema knows %v, the code %v", path, names, fields)
	}
}

// isNothing reports whether a default is Go's zero value.
func isNothing(v any) bool {
	if m, isMap := v.(map[string]any); isMap {
		return len(m) == 0
	}
	return slices.Contains([]any{"", "0s", false, 0.0}, v)
}
