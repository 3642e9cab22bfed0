package mqtt

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/schemas"
)

// TestSchemaNamesEverySetting holds the schema against the configuration: the same
// names, the same defaults.
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
		if key, ok := strings.CutPrefix(p.Ref, "#/definitions/"); ok {
			p = root.Definitions[key]
		}
		if f := v.Field(i); f.Kind() == reflect.Struct {
			compare(t, path+name+".", root, p, f)
		} else if p.Default != nil {
			text, err := json.Marshal(p.Default)
			if err != nil {
				t.Fatal(err)
			}
			want := reflect.New(f.Type())
			if err := json.Unmarshal(text, want.Interface()); err != nil {
				t.Errorf("%s%s: the schema's default %s: %v", path, name, text, err)
			}
			if got := fmt.Sprint(f); got != fmt.Sprint(want.Elem()) {
				t.Errorf("%s%s: the schema's default is %s, the code's %s", path, name, text, got)
			}
		}
	}
	slices.Sort(fields)
	if names := slices.Sorted(maps.Keys(s.Properties)); !slices.Equal(names, fields) {
		t.Errorf("%s: the schema knows %v, the code %v", path, names, fields)
	}
}
