package lint

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/schemas"
)

// TestDocsNameEveryField: what a schema describes, docs/tables.md explains.
func TestDocsNameEveryField(t *testing.T) {
	b, err := os.ReadFile("../../docs/tables.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	check := func(schema string, value any, strip string) {
		fields := config.Fields(schema, value)
		if len(fields) < 4 {
			t.Errorf("%s: only %d fields", schema, len(fields))
		}
		for _, f := range fields {
			key := strings.TrimPrefix(f.Key(), strip)
			if !strings.Contains(doc, "`"+key+"`") && !strings.Contains(doc, "`opts."+strings.TrimPrefix(key, "opts.")+"`") {
				t.Errorf("docs/tables.md does not name `%s` of %s", key, schema)
			}
			if f.Description == "" && len(f.Enum) == 0 {
				t.Errorf("%s: %s has no description", schema, f.Key())
			}
		}
	}
	check("gateway", map[string]any{}, "")
	check("connectors/mqtt5", map[string]any{}, "")
	check("endpoints", map[string]any{"a": map[string]any{}}, "a.")
	check("drivers", map[string]any{"a": map[string]any{}}, "a.")
	check("settings", map[string]any{}, "bus.")
	for _, name := range []string{"tag", "driver_id", "access", "address", "datatype", "scale", "unit", "byte_order", "deadband", "report", "heartbeat", "polling",
		"type", "addr", "len", "bit", "node", "area", "db", "start", "size", "s7", "scale_from", "na", "charset", "pad", "addr2", "byte", "chars"} {
		if !strings.Contains(doc, "| `"+name+"` |") {
			t.Errorf("docs/tables.md does not name %s", name)
		}
	}
}

// TestDocsNameEveryType: the data types are in the tables' page, and in one of the pages
// of the protocols that have types.
func TestDocsNameEveryType(t *testing.T) {
	for _, pages := range [][]string{{"tables.md"}, {"modbus.md", "s7.md", "opcua.md"}} {
		var text strings.Builder
		for _, page := range pages {
			b, err := os.ReadFile("../../docs/" + page)
			if err != nil {
				t.Fatal(err)
			}
			text.Write(b)
		}
		for _, name := range config.DataTypes() {
			if !strings.Contains(text.String(), "`"+name+"`") {
				t.Errorf("%s does not name the data type %s", strings.Join(pages, " or "), name)
			}
		}
	}
}

// TestDocsNameEveryRule: a rule that lint reports can be looked up.
func TestDocsNameEveryRule(t *testing.T) {
	doc, err := os.ReadFile("../../docs/tables.md")
	if err != nil {
		t.Fatal(err)
	}
	rule := regexp.MustCompile(`(?:Rule|rule): +"([a-z-]+)"|\.(?:one|fail)\([^"\n]*"([a-z-]+)", "|(?:Errorf|Warnf)\(config\.[^"\n]*(?:\{[^}]*\}|nil|path), "([a-z-]+)"`)
	found := 0
	dirs, err := filepath.Glob("../driver/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range append(dirs, ".", "../config") {
		files, err := fs.Glob(os.DirFS(dir), "*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			b, err := os.ReadFile(dir + "/" + name)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			for _, m := range rule.FindAllStringSubmatch(string(b), -1) {
				id := m[1] + m[2] + m[3]
				if found++; !strings.Contains(string(doc), "`"+id+"`") {
					t.Errorf("docs/tables.md does not explain the rule %s of %s", id, name)
				}
			}
		}
	}
	if found < 40 {
		t.Errorf("found only %d uses of rules", found)
	}
}

// TestSchemasAreInPlace: every schema says where it is, and the drivers table's
// refers to each driver's.
func TestSchemasAreInPlace(t *testing.T) {
	drivers, err := fs.ReadFile(schemas.FS, "drivers.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	err = fs.WalkDir(schemas.FS, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".json") {
			return err
		}
		b, err := fs.ReadFile(schemas.FS, name)
		if err != nil {
			return err
		}
		driver := strings.HasPrefix(name, "drivers/") // their owners choose an $id; package config overrules it
		if !driver && !strings.Contains(string(b), `"$id": "`+schemas.BaseURL+name+`"`) {
			t.Errorf("schemas/%s: its $id is not %s%s", name, schemas.BaseURL, name)
		}
		if driver && !strings.Contains(string(drivers), `"$ref": "`+name+`"`) {
			t.Errorf("schemas/drivers.schema.json does not refer to %s", name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
