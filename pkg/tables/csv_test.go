package tables

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// FuzzImport feeds files that are no spreadsheets: whatever is read can be laid over
// a variable.
func FuzzImport(f *testing.F) {
	f.Add([]byte("tag;addr;scale\nplant.flow;40001,0;value * 0,1\n"))
	f.Add([]byte("\xff\xfet\x00a\x00g\x00\n\x00a\x00\n\x00"))
	f.Add([]byte("tag,unit\na,\xb6\xc8\n\n,,"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, _, err := ReadSheet(raw, SheetOptions{})
		if err != nil {
			return
		}
		if len(s.rows) != len(s.lines) {
			t.Fatalf("%d rows on %d lines", len(s.rows), len(s.lines))
		}
		v := &Variables{items: map[string][]byte{}, seen: map[string]bool{}}
		for _, row := range s.rows {
			if v.importRow(s, row, "m1") != nil {
				continue
			}
		}
		if v.Added != len(v.items) {
			t.Fatalf("%d added, %d there", v.Added, len(v.items))
		}
	})
}

// FuzzMerge brings files of any make to what a document says: afterwards they mean
// it, whatever they looked like.
func FuzzMerge(f *testing.F) {
	f.Add([]byte("# c\n- tag: a # d\n  driver_id: m\n  access: R\n  address: {type: holding, addr: 1}\n  datatype: uint16\n\n# e\n- {tag: b}\n"))
	f.Add([]byte("  - tag: plant.flow\n    driver_id: m1\n"))
	f.Add([]byte("[{tag: plant.flow}]"))
	f.Add([]byte("- &a {tag: x}\n- *a\n"))
	f.Add([]byte("-\n  tag: plant.flow\n  unit: |\n    # no comment\n"))
	items := []config.Item{{ID: "plant.flow", JSON: []byte(`{"access":"R","address":{"addr":40001,"type":"holding"},"datatype":"uint16","driver_id":"m1","tag":"plant.flow"}`)}}
	doc, err := config.NewDocument(map[config.Table][]config.Item{config.Variables: items})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		merged, err := mergeTable(parseFile("variables.yml", text, config.Variables), config.Variables, doc)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "variables.yml")
		if err := os.WriteFile(path, merged, 0o600); err != nil {
			t.Fatal(err)
		}
		snap, _, findings := config.ReadFiles(path)
		if findings.Err() != nil || snap.Document().TableSHA256(config.Variables) != doc.TableSHA256(config.Variables) {
			t.Fatalf("%v\n%s", findings, bytes.TrimSpace(merged))
		}
	})
}
