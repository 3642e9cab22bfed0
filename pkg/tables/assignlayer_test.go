package tables

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// fleetDocument is a fleet with a group, and a gateway with something of each table.
func fleetDocument(t *testing.T) *config.Document {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"endpoints.yml": "plc: {scheme: tcp, host: 10.0.0.1, port: 502, opts: {timeout: 1s}}\n",
		"drivers.yml":   "press: {kind: static, endpoint_id: plc, proto: modbus, cfg: {unit_id: 1, polling: 1s}}\n",
		"variables.yml": "- {tag: flow.a, driver_id: press, access: R, address: {type: holding, addr: 1}, datatype: uint16}\n" +
			"- {tag: flow, driver_id: press, access: R, address: {type: holding, addr: 2}, datatype: uint16}\n",
		"groups.yml":   "press: {select: line=press, endpoints: {hall: {scheme: tcp, host: 10.0.0.2, port: 502}}}\n",
		"gateways.yml": "lyon-01: {labels: {line: press}, endpoints: {plc: {host: 10.1.1.1}}, variables: {flow: null}}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	snap, _, findings := config.ReadDir(dir)
	if err := findings.Err(); err != nil {
		t.Fatal(err)
	}
	return snap.Document()
}

// A field of a layer is set as it is written, with the type of the field below.
func TestAssignLayer(t *testing.T) {
	doc := fleetDocument(t)
	const lyon = `{"endpoints":{"plc":{"host":"10.1.1.1"}},"labels":{"line":"press"},"variables":{"flow":null}}`
	for _, c := range []struct{ key, value, want string }{
		{"gateways/lyon-01", "endpoints.plc.host=10.1.1.9", strings.Replace(lyon, "10.1.1.1", "10.1.1.9", 1)},
		{"gateways/lyon-01", "endpoints.plc.host=null", strings.Replace(lyon, `"endpoints":{"plc":{"host":"10.1.1.1"}},`, "", 1)},
		{"gateways/lyon-01/endpoints.plc.port", "503", strings.Replace(lyon, `1.1.1"`, `1.1.1","port":503`, 1)},
		{"gateways/lyon-01", "endpoints.plc.opts.username=010", strings.Replace(lyon, `1.1.1"`, `1.1.1","opts":{"username":"010"}`, 1)},
		{"gateways/lyon-01", "endpoints.hall.host=10", strings.Replace(lyon, `"plc"`, `"hall":{"host":"10"},"plc"`, 1)},
		{"gateways/lyon-01", "labels.site=010", strings.Replace(lyon, `"press"`, `"press","site":"010"`, 1)},
		{"gateways/lyon-01", "labels.a.b=c", strings.Replace(lyon, `{"line"`, `{"a.b":"c","line"`, 1)},
		{"gateways/lyon-01", "labels.line=null", strings.Replace(lyon, `"labels":{"line":"press"},`, "", 1)},
		{"gateways/lyon-01", "suspended=true", strings.Replace(lyon, `"variables"`, `"suspended":true,"variables"`, 1)},
		{"gateways/lyon-01", "variables.flow.a.scale=value / 10", strings.Replace(lyon, "null", `null,"flow.a":{"scale":"value / 10"}`, 1)},
		{"gateways/lyon-01", "variables.flow.scale=value * 2", strings.Replace(lyon, "null", `{"scale":"value * 2"}`, 1)},
		{"gateways/lyon-01", "settings.bus.wal_flush_ms=20", strings.Replace(lyon, `"variables"`, `"settings":{"bus":{"wal_flush_ms":20}},"variables"`, 1)},
		{"groups/press", "drivers.press.cfg.polling=500ms",
			`{"drivers":{"press":{"cfg":{"polling":"500ms"}}},"endpoints":{"hall":{"host":"10.0.0.2","port":502,"scheme":"tcp"}},"select":"line=press"}`},
		{"groups/press", "select=line=saw", `{"endpoints":{"hall":{"host":"10.0.0.2","port":502,"scheme":"tcp"}},"select":"line=saw"}`},
	} {
		key, value, err := ParseAssignment(c.key, c.value)
		if err != nil {
			t.Fatal(c, err)
		}
		next, err := key.Assign(doc, value)
		if err != nil {
			t.Errorf("%s %s: %v", c.key, c.value, err)
			continue
		}
		if got, _ := next.Get(key.Table, key.ID); string(got) != c.want {
			t.Errorf("%s %s:\n%s, want\n%s", c.key, c.value, got, c.want)
		}
	}
}

func TestAssignLayerRefuses(t *testing.T) {
	doc := fleetDocument(t)
	for _, c := range []struct{ key, value, want string }{
		{"gateways/lyon-02", "suspended=true", "there is no lyon-02 in gateways; did you mean lyon-01?"},
		{"gateways/lyon-01", "select=line", "expected labels.NAME, suspended, or what is different below"},
		{"gateways/lyon-01", "labels=x", "expected"},
		{"groups/press", "labels.x=y", "no field labels.x; expected select, or"},
		{"groups/press", "select=null", "select"},
		{"gateways/lyon-01", "suspended=maybe", "suspended"},
		{"gateways/lyon-01", "endpoints.plc=x", "there is no plc"},
		{"gateways/lyon-01", "endpoints.plx.host=x", "there is no plx in endpoints; did you mean plc?"},
		{"gateways/lyon-01", "endpoints.plc.hots=x", "endpoints/plc: there is no field hots; did you mean host?"},
		{"gateways/lyon-01", "settings.bush.wal_flush_ms=20", "there is no bush"},
	} {
		key, value, err := ParseAssignment(c.key, c.value)
		if err == nil {
			_, err = key.Assign(doc, value)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: %v, want %s", c.key, c.value, err, c.want)
		}
	}
}
