package tables

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/schemas"
)

// TestColumns: every field of a variable in the schema has a column, and its place
// in YAML.
func TestColumns(t *testing.T) {
	raw, err := schemas.FS.ReadFile("variables.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	type definition struct{ Properties map[string]json.RawMessage }
	var schema struct{ Definitions map[string]definition }
	if err := json.Unmarshal(raw, &schema); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for name := range schema.Definitions["variable"].Properties {
		if !slices.Contains(fieldOrder[:], name) {
			t.Errorf("%s has no place in YAML", name)
		}
		for _, object := range []string{"address", "verify_address", "block"} {
			if name == object {
				for field := range schema.Definitions[strings.TrimPrefix(object, "verify_")].Properties {
					want[object+"."+field] = true
				}
			}
		}
		if !slices.Contains([]string{"address", "verify_address", "block"}, name) {
			want[name] = true
		}
	}
	for _, c := range columns {
		path := strings.Join(pathOf(c), ".")
		if !want[path] {
			t.Errorf("the column %s is no field of the schema", c)
		}
		delete(want, path)
	}
	if len(want) > 0 {
		t.Errorf("no column for %v", want)
	}
}

// TestSheetOfEverything: what a sheet says comes back from a sheet.
func TestSheetOfEverything(t *testing.T) {
	const text = "tag,driver_id,access,type,addr,datatype,merge,verify_type,verify_addr,verify_bit\n" +
		"a,m,RW,holding,100,bool,true,input,30,4\n" +
		"b,m,RW,holding,101,int16,false,,,\n"
	s, _, err := ReadSheet([]byte(text), SheetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	v := &Variables{items: map[string][]byte{}, seen: map[string]bool{}}
	if err := v.Import(s, ""); err != nil {
		t.Fatal(err)
	}
	var items []config.Item
	for id, raw := range v.items {
		items = append(items, config.Item{ID: id, JSON: raw})
	}
	doc, err := config.NewDocument(map[config.Table][]config.Item{config.Variables: items})
	if err != nil {
		t.Fatal(err)
	}
	var back bytes.Buffer
	if err := WriteSheet(&back, doc); err != nil || back.String() != text {
		t.Errorf("came back as %q, %v", back.String(), err)
	}
}
