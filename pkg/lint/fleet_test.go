package lint

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

var fleetBase = map[string]string{
	"endpoints.yml": "plc: {scheme: tcp, host: 10.0.0.1, port: 502}\n",
	"drivers.yml":   "press:\n  kind: static\n  endpoint_id: plc\n  proto: modbus\n  cfg: {unit_id: 1, polling: 1s}\n",
	"variables.yml": "- tag: flow\n  driver_id: press\n  access: R\n  address: {type: holding, addr: 1}\n  datatype: uint16\n",
}

// fleetDir writes the base of a fleet and more files.
func fleetDir(t *testing.T, more map[string]string) string {
	t.Helper()
	files := map[string]string{}
	for name, text := range fleetBase {
		files[name] = text
	}
	for name, text := range more {
		files[name] = text
	}
	return dirOf(t, files)
}

// TestFleetFindings: a finding is told once, where it comes from, with the gateways that
// show it.
func TestFleetFindings(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  []string // lines without the directory
	}{
		"good": {map[string]string{
			"groups.yml":   "a: {select: line, drivers: {press: {cfg: {polling: 2s}}}}\n",
			"gateways.yml": "g1: {labels: {line: press}, endpoints: {plc: {host: 10.0.0.2}}}\ng2: {}\n",
		}, nil},
		"in a group": {map[string]string{
			"groups.yml":   "a:\n  select: line=press\n  drivers:\n    press:\n      cfg:\n        polling: 2\n",
			"gateways.yml": "g1: {labels: {line: press}}\ng2: {labels: {line: press}, endpoints: {plc: {host: b}}}\ng3: {labels: {line: press}}\ng4: {}\n",
		}, []string{`groups.yml:6:18: error: cfg.polling: expected a duration with its unit (ns, us, ms, s, m, h, d), such as 500ms or 1m, got "2" [g1 and 2 more] (`}},
		"in the base": {map[string]string{
			"endpoints.yml": "plc: {scheme: tcp, host: 10.0.0.1, port: 502}\nspare: {scheme: tcp, host: 10.0.0.9, port: 502}\n",
			"gateways.yml":  "g1: {}\ng2: {endpoints: {spare: {host: a}}}\ng3: {endpoints: {spare: null}}\n",
		}, []string{`endpoints.yml:2:1: warning: no driver uses the endpoint spare [g1 and 1 more] (unused)`}},
		"in all": {map[string]string{
			"endpoints.yml": "plc: {scheme: tcp, host: 10.0.0.1, port: 502}\nspare: {scheme: tcp, host: 10.0.0.9, port: 502}\n",
			"gateways.yml":  "g1: {}\ng2: {suspended: true}\n",
		}, []string{`endpoints.yml:2:1: warning: no driver uses the endpoint spare [all 2 gateways] (unused)`}},
		"a reference to what one gateway removes": {map[string]string{
			"gateways.yml": "g1: {}\ng2:\n  endpoints:\n    plc: null\n",
		}, []string{`drivers.yml:3:16: error: endpoint_id: there is no endpoint plc; endpoints.yml is empty [g2] (reference)`}},
		"a base that nobody runs alone": {map[string]string{
			"endpoints.yml": "{}\n",
			"gateways.yml":  "g1: {endpoints: {plc: {scheme: tcp, host: a, port: 502}}}\n",
		}, nil},
		"a conflict": {map[string]string{
			"groups.yml":   "a: {select: line, drivers: {press: {cfg: {polling: 2s}}}}\nb:\n  select: '!x'\n  drivers: {press: {cfg: {polling: 3s}}}\n",
			"gateways.yml": "g1: {labels: {line: press}}\ng2: {labels: {line: press}}\ng3: {}\n",
		}, []string{`groups.yml:4:36: error: cfg.polling: the group a says something else of it, and has the same gateways: set it in one of the two, or in the gateways (groups.yml:1) [g1 and 1 more] (group-conflict)`}},
		"nobody": {map[string]string{
			"groups.yml":   "a: {select: line=saw}\n",
			"gateways.yml": "g1: {labels: {line: press}}\n",
		}, []string{`groups.yml:1:13: error: select: line=saw matches none of the 1 gateways (selector)`}},
		"a secret in a layer": {map[string]string{
			"gateways.yml": "g1: {endpoints: {plc: {opts: {password: hunter2}}}}\n",
		}, []string{"gateways.yml:1:41: "}},
		"a reference to a secret in a layer": {map[string]string{
			"gateways.yml": "g1: {endpoints: {plc: {host: '${file:x}'}}}\n",
		}, []string{`gateways.yml:1:30: error: host: secrets are not filled in here`}},
		"broken layers": {map[string]string{
			"gateways.yml": "g1: {\n",
		}, []string{`gateways.yml:`}},
	} {
		dir := fleetDir(t, c.files)
		var lines []string
		for _, f := range Paths(dir).Findings {
			lines = append(lines, strings.ReplaceAll(f.String(), dir+"/", ""))
		}
		if len(lines) != len(c.want) {
			t.Errorf("%s: %q\nwant %q", name, lines, c.want)
			continue
		}
		for i, want := range c.want {
			if !strings.HasPrefix(lines[i], strings.TrimSuffix(want, "(")) || strings.Contains(lines[i], "hunter2") {
				t.Errorf("%s: %q\nwant %q", name, lines[i], want)
			}
		}
	}
}

// TestFleetInParts: files alone are checked as far as they can be.
func TestFleetInParts(t *testing.T) {
	dir := fleetDir(t, map[string]string{
		"groups.yml":   "a: {select: line, drivers: {press: {cfg: {polling: 2s}}}}\n",
		"gateways.yml": "g1: {labels: {line: press}}\n",
	})
	res := Paths(filepath.Join(dir, "groups.yml"), filepath.Join(dir, "gateways.yml"))
	if len(res.Findings) != 1 || !strings.Contains(res.Findings.Error(), "endpoints.yml, drivers.yml, variables.yml too") {
		t.Errorf("two files: %v", res.Findings)
	}
	if res := Paths(filepath.Join(dir, "drivers.yml")); len(res.Findings) > 0 {
		t.Errorf("one file of the base: %v", res.Findings)
	}
}

// writeFleet writes a fleet of n gateways in n/25 groups that run so many variables each,
// every one with an endpoint of its own and a tenth with a variable of its own.
func writeFleet(tb testing.TB, n, variables int) string {
	tb.Helper()
	dir := tb.TempDir()
	var table, groups, gateways bytes.Buffer
	for i := range variables {
		fmt.Fprintf(&table, "- tag: line.flow_%03d\n  driver_id: press\n  access: R\n  address: { type: holding, addr: %d, len: 1 }\n"+
			"  datatype: uint16\n  scale: \"value / 10\"\n  unit: m3_h\n\n", i, 40001+i)
	}
	sites := max(n/25, 1)
	for i := range sites {
		fmt.Fprintf(&groups, "site-%d:\n  select: site=s%d\n  settings: { bus: { wal_flush_ms: %d } }\n", i, i, 20+i%7)
	}
	groups.WriteString("fast:\n  select: ring in (pilot,early)\n  drivers: { press: { cfg: { polling: 500ms } } }\n")
	for i := range n {
		fmt.Fprintf(&gateways, "gw-%05d:\n  labels: { site: s%d, ring: %s }\n  endpoints: { plc: { host: 10.%d.%d.%d } }\n",
			i, i%sites, []string{"pilot", "early", "late", "rest"}[i%4], i>>16, i>>8&255, i&255)
		if i%10 == 0 {
			fmt.Fprintf(&gateways, "  variables: { line.flow_000: { scale: value / 100 } }\n")
		}
	}
	for name, b := range map[string][]byte{
		"endpoints.yml": []byte(fleetBase["endpoints.yml"]), "drivers.yml": []byte(fleetBase["drivers.yml"]),
		"variables.yml": table.Bytes(), "groups.yml": groups.Bytes(), "gateways.yml": gateways.Bytes(),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	return dir
}

// TestManyGateways: what is checked for each gateway takes no memory that stays.
func TestManyGateways(t *testing.T) {
	res := Paths(writeFleet(t, 500, 100))
	if len(res.Findings) > 0 {
		t.Errorf("findings: %v", res.Findings[:min(3, len(res.Findings))])
	}
}

// BenchmarkLintFleet10k checks 10,000 gateways of 100 variables, in 401 groups.
func BenchmarkLintFleet10k(b *testing.B) {
	dir := writeFleet(b, 10_000, 100)
	b.ReportAllocs()
	for b.Loop() {
		if res := Paths(dir); len(res.Findings) > 0 {
			b.Fatalf("findings %v", res.Findings[:min(3, len(res.Findings))])
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.HeapSys-m.HeapReleased)/(1<<20), "MiB-heap")
}
