package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestHashesStay holds documents without layers to the hashes that releases of before
// gave them.
func TestHashesStay(t *testing.T) {
	for _, doc := range []*Document{EmptyDocument(), mustDocument(t, map[Table][]Item{Groups: nil, Gateways: {}})} {
		if got, want := doc.SHA256(), "7fcc26bd3dbb0a23e106441fc0a4be046b8c941e87a8e771126020d30e567652"; got != want {
			t.Errorf("the empty document: %s, want %s", got, want)
		}
	}
	for dir, want := range map[string]string{
		"../../examples/minimal/config": "9aba31b2435c7b0b9de8af9a43f0b63d553e52a5568927e5f79474c28305f5a9",
		"../../examples/site/config":    "333da5272c4e197fd2827f0cef1213cbac53d629125308eb2b9a0600786ee35c",
	} {
		snap, err := LoadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if snap.SHA256 != want {
			t.Errorf("%s: %s, want %s", dir, snap.SHA256, want)
		}
	}
}

func mustDocument(t *testing.T, tables map[Table][]Item) *Document {
	t.Helper()
	d, err := NewDocument(tables)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// fleetFiles are tables with layers in which everything that can be said is said.
var fleetFiles = map[string]string{
	"endpoints.yml": "plc: {scheme: tcp, host: 10.0.0.1, port: 502, opts: {timeout: 1s}}\n",
	"drivers.yml":   "press: {kind: static, endpoint_id: plc, proto: modbus, cfg: {unit_id: 1, polling: 1s}}\n",
	"variables.yml": "- {tag: flow, driver_id: press, access: R, address: {type: holding, addr: 1}, datatype: uint16}\n",
	"groups.yml": `press:
  select: line=press
  drivers: {press: {cfg: {polling: 500ms, unit_id: null}}}
  variables:
    flow: {scale: 1, unit: 01}
    speed: null
`,
	"gateways.yml": `lyon-01:
  labels: {line: press, rack: 012}
  endpoints: {plc: {host: 010, opts: {user: 0123}}}
lyon-02: {suspended: true}
lyon-03:
`,
}

func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestLayersInDocuments: layers are read as the fields below them are, whatever the order
// of the files, and are in the canonical form.
func TestLayersInDocuments(t *testing.T) {
	dir := writeFiles(t, fleetFiles)
	snap, src, findings := ReadDir(dir)
	if errs, warnings := findings.Count(); errs != 1 || warnings != 3 || !strings.Contains(findings.Error(), "gateways.yml:5:9: error: expected a mapping, got nothing") {
		t.Errorf("findings: %v", findings)
	}
	doc := snap.Document()
	for id, want := range map[string]string{
		"groups/press": `{"drivers":{"press":{"cfg":{"polling":"500ms","unit_id":null}}},"select":"line=press",` +
			`"variables":{"flow":{"scale":"1","unit":"01"},"speed":null}}`,
		"gateways/lyon-01": `{"endpoints":{"plc":{"host":"010","opts":{"user":"0123"}}},"labels":{"line":"press","rack":"012"}}`,
		"gateways/lyon-02": `{"suspended":true}`,
	} {
		table, id, _ := strings.Cut(id, "/")
		if raw, _ := doc.Get(Table(table), id); string(raw) != want {
			t.Errorf("%s/%s: %s\nwant %s", table, id, raw, want)
		}
	}
	if p := src.Pos(Groups, "press", "drivers", "press", "cfg", "polling"); p.Line != 3 || p.Column != 36 {
		t.Errorf("polling stands at %v", p)
	}
	again, err := ParseDocument(doc.JSON())
	if err != nil {
		t.Fatal(err)
	}
	if got := again.Document(); got.SHA256() != doc.SHA256() || !doc.Layered() {
		t.Errorf("reads again as %s", got.JSON())
	}
	if base := doc.Base(); base.Layered() || base.SHA256() == doc.SHA256() || base.Len() != 3 || base.Base() != base {
		t.Errorf("base: %s", base.JSON())
	}
	if d := doc.Base().Diff(doc); d.Len() != 3 || len(d.Groups.Added) != 1 || len(d.Gateways.Added) != 2 {
		t.Errorf("difference: %+v", d)
	}
	turned, _, _ := ReadFiles(filepath.Join(dir, "gateways.yml"), filepath.Join(dir, "groups.yml"), filepath.Join(dir, "variables.yml"),
		filepath.Join(dir, "drivers.yml"), filepath.Join(dir, "endpoints.yml"))
	if turned.SHA256 != doc.SHA256() {
		t.Errorf("in another order of files: %s", turned.Document().JSON())
	}
}

// TestNoGatewayRunsLayers: a gateway must never take a fleet's base for its own tables.
func TestNoGatewayRunsLayers(t *testing.T) {
	files := map[string]string{}
	for name, text := range fleetFiles {
		files[name] = strings.Replace(text, "lyon-03:\n", "", 1)
	}
	dir := writeFiles(t, files)
	if _, err := LoadDir(dir); err == nil || !strings.Contains(err.Error(), "edge-cfg render") {
		t.Errorf("LoadDir: %v", err)
	}
	snap, _, findings := ReadDir(dir)
	if err := findings.Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := snap.Document().Snapshot(nil); err == nil || !strings.Contains(err.Error(), "edge-cfg render") {
		t.Errorf("Snapshot: %v", err)
	}
	broken := writeFiles(t, map[string]string{"endpoints.yml": "{}", "drivers.yml": "{}", "variables.yml": "[]", "gateways.yml": "a: ["})
	if _, err := LoadDir(broken); err == nil || !strings.Contains(err.Error(), "edge-cfg render") {
		t.Errorf("LoadDir with broken layers: %v", err)
	}
	empty := writeFiles(t, map[string]string{"endpoints.yml": "{}", "drivers.yml": "{}", "variables.yml": "[]", "gateways.yml": "{}", "groups.yml": ""})
	if snap, err := LoadDir(empty); err != nil || snap.SHA256 != EmptyDocument().SHA256() {
		t.Errorf("LoadDir with empty layers: %v", err)
	}
}

// TestLayersRefused: what can't be in a layer is told with its place.
func TestLayersRefused(t *testing.T) {
	for text, want := range map[string]string{
		"g: {drivers: {}}":                           "groups.yml:1:1: error: key select is missing",
		"g: {select: 5=}\nh: {select: []}":           "groups.yml:2:13: error: select: expected a selector",
		"g: {select: a, endpoint: {}}":               "unknown key endpoint; did you mean endpoints?",
		"g: {select: a, drivers: {x: 5}}":            "drivers.x: expected a mapping",
		"g: {select: a, drivers: {x y: {}}}":         `"x y" is not allowed as a name`,
		"g: {select: a, drivers: [x]}":               "drivers: expected a mapping",
		"g g: {select: a}":                           `"g g" is not allowed as a name`,
		"g: {select: a, drivers: {x: {n: 0123}}}":    "n: 0123",
		"g: {select: a, drivers: {x: {n: yes}}}":     "readers of YAML 1.1",
		"g: {select: a}\ng: {select: b}":             "stands here twice",
		"g: {select: a, drivers: {x: {n: 1, n: 2}}}": "stands here twice",
	} {
		_, _, findings := ReadText(Groups, "groups.yml", []byte(text))
		if !strings.Contains(findings.Error(), want) {
			t.Errorf("%s: %v\nwant %s", text, findings, want)
		}
	}
	_, _, findings := ReadText(Gateways, "gateways.yml", []byte("a: {labels: {k: -x, 'a b': y}, suspended: maybe}"))
	for _, want := range []string{"labels.k: expected a label's value", "is not allowed as a name", "suspended: expected true or false"} {
		if !strings.Contains(findings.Error(), want) {
			t.Errorf("%v\nwant %s", findings, want)
		}
	}
}

func TestOverlay(t *testing.T) {
	for _, c := range []struct{ below, over, want string }{
		{`{"a":1,"b":{"c":2,"d":3}}`, `{"b":{"c":4}}`, `{"a":1,"b":{"c":4,"d":3}}`},
		{`{"a":1}`, `{"a":null}`, `{}`},
		{`{"a":[1,2]}`, `{"a":[3]}`, `{"a":[3]}`},
		{`{"a":1}`, `{"a":{"b":null,"c":2}}`, `{"a":{"c":2}}`},
		{`{"a":{"b":1}}`, `{"a":2}`, `{"a":2}`},
		{`null`, `{"a":{"b":null}}`, `{"a":{}}`},
	} {
		got := appendValue(nil, plainNumbers(Overlay(anyTree([]byte(c.below)), anyTree([]byte(c.over)))))
		if string(got) != c.want {
			t.Errorf("%s under %s: %s, want %s", c.below, c.over, got, c.want)
		}
	}
}
