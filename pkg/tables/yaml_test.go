package tables

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// byLibrary writes what key names as the YAML library does, from one tree.
func byLibrary(t *testing.T, doc *config.Document, tables ...config.Table) string {
	t.Helper()
	root := &yaml.Node{Kind: yaml.MappingNode}
	for _, table := range tables {
		list := &yaml.Node{Kind: yaml.MappingNode}
		if table.IDField() != "" {
			list.Kind = yaml.SequenceNode
		}
		for _, it := range doc.Items(table) {
			n, err := itemNode(it.JSON)
			if err != nil {
				t.Fatal(err)
			}
			if table.IDField() == "" {
				list.Content = append(list.Content, stringNode(it.ID))
			}
			list.Content = append(list.Content, n)
		}
		if len(list.Content) == 0 {
			list.Style = yaml.FlowStyle
		}
		root.Content = append(root.Content, stringNode(string(table)), list)
	}
	if len(tables) == 1 {
		root = root.Content[1]
	}
	var b bytes.Buffer
	if err := writeYAML(&b, root); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// texts are what people and devices put into tables.
func texts() []string {
	return []string{"a", "value / 10", "1s", "m3_h", "°C", "温度", "yes", "No", "null", "~", "0123", "1e5", "- a", "a: b", "a #b", "#", " a", "a ",
		"ns=2;s=Temp", "10.0.0.1", "/dev/ttyS0", "é", "<<", "*x", "&x", "!t", "%d", "@a", "`", "'", "\"", "two\nlines", "\ttab", "", "x,y", "[a]", "{a}",
		"true", "y", "=", "a=b", "(value-32)*5/9", ".5", "+1", "a\u00a0b", "\u2028", strings.Repeat("long ", 60) + "end", "a|b", "a>b", "?", "? a", "a?", "a:"}
}

// TestPlainWriterIsTheLibrary: whatever an item holds, the text is the library's.
func TestPlainWriterIsTheLibrary(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	word := func() string { return texts()[rnd.IntN(len(texts()))] }
	plain := 0
	for range 400 {
		all := map[config.Table][]config.Item{}
		for i := range rnd.IntN(4) {
			id := fmt.Sprint([]string{"plc", "7", "温", "a.b", "no"}[rnd.IntN(5)], i)
			v := map[string]any{"tag": id, "driver_id": "m1", "access": "R", "datatype": "uint16",
				"address": map[string]any{"type": "holding", "addr": rnd.IntN(65536)}, "deadband": 0.5, "scale": "value / 10"}
			if rnd.IntN(2) == 0 {
				v["unit"], v["scale"] = word(), word()
			}
			if rnd.IntN(4) == 0 {
				v["address"] = map[string]any{"node": word()}
			}
			d := map[string]any{"kind": "static", "proto": word(), "cfg": map[string]any{"polling": "1s", "unit_id": 1, word() + "k": word()}}
			if rnd.IntN(3) == 0 {
				d["cfg"] = map[string]any{"list": []any{1, word()}, "empty": map[string]any{}, "address": map[string]any{"a": map[string]any{"b": 1}}}
			}
			for table, item := range map[config.Table]any{config.Variables: v, config.Drivers: d, config.Endpoints: map[string]any{"host": word(), "opts": map[string]any{"timeout": word()}}} {
				raw, err := json.Marshal(item)
				if err != nil {
					t.Fatal(err)
				}
				raw = bytes.ReplaceAll(bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte(`\u003c`), []byte("<")), []byte(`\u003e`), []byte(">")), []byte(`\u0026`), []byte("&"))
				all[table] = append(all[table], config.Item{ID: id, JSON: raw})
				if _, ok := newPlainWriter(table, 0).item(all[table][len(all[table])-1]); ok {
					plain++
				}
			}
		}
		doc, err := config.NewDocument(all)
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range config.Tables() {
			var got bytes.Buffer
			if err := writeTable(&got, table, doc.Items(table), 0); err != nil {
				t.Fatal(err)
			}
			if want := byLibrary(t, doc, table); got.String() != want {
				t.Fatalf("got\n%s\nwant\n%s", got.String(), want)
			}
		}
		var got bytes.Buffer
		if err := WriteYAML(&got, doc, Key{}); err != nil {
			t.Fatal(err)
		}
		if want := byLibrary(t, doc, config.Tables()...); got.String() != want {
			t.Fatalf("all tables: got\n%s\nwant\n%s", got.String(), want)
		}
	}
	if plain < 150 {
		t.Errorf("only %d items were plain: the writer has nothing to do", plain)
	}
}

// TestWriteJSONIsOneDocument: written piece by piece, it is what the encoder writes.
func TestWriteJSONIsOneDocument(t *testing.T) {
	doc, err := config.NewDocument(map[config.Table][]config.Item{
		config.Endpoints: {{ID: "a", JSON: []byte(`{"host":"h<","opts":{},"scheme":"tcp"}`)}, {ID: "b", JSON: []byte(`{"host":"h","scheme":"tcp"}`)}},
		config.Variables: {{ID: "v", JSON: []byte(`{"address":{"addr":1},"tag":"v"}`)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got, want bytes.Buffer
	if err := WriteJSON(&got, doc, Key{}); err != nil {
		t.Fatal(err)
	}
	enc := json.NewEncoder(&want)
	enc.SetIndent("", "  ")
	if err := enc.Encode(json.RawMessage(`{"endpoints":{"a":{"host":"h<","opts":{},"scheme":"tcp"},"b":{"host":"h","scheme":"tcp"}},"drivers":{},` +
		`"variables":[{"address":{"addr":1},"tag":"v"}],"settings":{}}`)); err != nil {
		t.Fatal(err)
	}
	if got.String() != want.String() {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want.String())
	}
}
