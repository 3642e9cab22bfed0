package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tables writes the files of a directory.
func tables(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	goodEndpoints = "plc:\n  scheme: tcp\n  host: 10.0.0.1\n  port: 502\n"
	goodDrivers   = "m1:\n  kind: static\n  endpoint_id: plc\n  proto: modbus\n  cfg: {unit_id: 1, polling: 1s}\n"
	goodVariable  = "- tag: a\n  driver_id: m1\n  access: R\n  address: {type: holding, addr: 40001}\n  datatype: uint16\n"
)

// good returns a directory's files with some replaced; "" leaves one out.
func good(replace map[string]string) map[string]string {
	files := map[string]string{"endpoints.yml": goodEndpoints, "drivers.yml": goodDrivers, "variables.yml": goodVariable}
	for name, content := range replace {
		if files[name] = content; content == "" {
			delete(files, name)
		}
	}
	return files
}

// TestLoadDirExamples reads the specification's own tables.
func TestLoadDirExamples(t *testing.T) {
	s, err := LoadDir("../../examples/spec")
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Endpoints) != 2 || len(s.Drivers) != 2 || len(s.Variables) != 4 || s.Rev != 0 {
		t.Errorf("got %d endpoints, %d drivers, %d variables, rev %d", len(s.Endpoints), len(s.Drivers), len(s.Variables), s.Rev)
	}
	if e := s.Endpoints["plc_modbus_tls"]; e.Scheme != "tls+tcp" || e.Port != 502 || e.Opts["timeout"] != "1000ms" || e.Opts["rate"] != "200pps" {
		t.Errorf("plc_modbus_tls: %+v", e)
	}
	if v := s.Variable("plant.setpoint"); v == nil || v.Access != AccessRW || v.Address.Type != AddrOPCNode || v.Datatype != TypeFloat32 || v.Unit != "°C" {
		t.Errorf("plant.setpoint: %+v", v)
	}
	if v := s.Variable("plant.nothing"); v != nil {
		t.Errorf("found %+v", v)
	}
}

// TestLoadDirFindings gives each mistake its place, rule and words.
func TestLoadDirFindings(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  []string // "file:line:col: severity: message (rule)", file without its directory
	}{
		"missing table": {map[string]string{"variables.yml": ""},
			[]string{"variables.yml: error: there is no such file; a gateway needs endpoints.yml, drivers.yml and variables.yml (no-file)"}},
		"wrong extension": {map[string]string{"drivers.yml": "", "drivers.yaml": goodDrivers},
			[]string{"drivers.yml: error: there is no such file, but a drivers.yaml; rename it (no-file)"}},
		"unknown key": {map[string]string{"endpoints.yml": goodEndpoints + "  opst: {}\n"},
			[]string{"endpoints.yml:5:3: error: unknown key opst; did you mean opts? (unknown-key)"}},
		"unknown key of a variable": {map[string]string{"variables.yml": goodVariable + "  acces: W\n"},
			[]string{"variables.yml:6:3: error: unknown key acces; did you mean access? (unknown-key)"}},
		"unknown key of cfg": {map[string]string{"drivers.yml": strings.Replace(goodDrivers, "polling", "poling", 1)},
			[]string{"drivers.yml:5:3: error: key cfg.polling is missing (missing-key)",
				"drivers.yml:5:21: error: unknown key poling; did you mean polling? (unknown-key)"}},
		"wrong type": {map[string]string{"endpoints.yml": strings.Replace(goodEndpoints, "502", "\"502\"", 1)},
			[]string{"endpoints.yml:4:9: error: port: expected a whole number, got \"502\" (type)"}},
		"out of range": {map[string]string{"endpoints.yml": strings.Replace(goodEndpoints, "502", "70000", 1)},
			[]string{"endpoints.yml:4:9: error: port: expected a number from 1 to 65535, got 70000 (value)"}},
		"duplicate tag": {map[string]string{"variables.yml": goodVariable + goodVariable},
			[]string{"variables.yml:6:8: error: tag a is taken already; first at line 1 (duplicate)"}},
		"duplicate id": {map[string]string{"drivers.yml": goodDrivers + goodDrivers},
			[]string{"drivers.yml:6:1: error: m1 stands here twice; first at line 1 (duplicate)"}},
		"dangling driver": {map[string]string{"variables.yml": strings.Replace(goodVariable, "m1", "m2", 1)},
			[]string{"variables.yml:2:14: error: driver_id: there is no driver m2; did you mean m1? (reference)"}},
		"dangling endpoint": {map[string]string{"drivers.yml": strings.Replace(goodDrivers, "plc", "plcs", 1)},
			[]string{"drivers.yml:3:16: error: endpoint_id: there is no endpoint plcs; did you mean plc? (reference)"}},
		"no second error for a bad driver": {map[string]string{"drivers.yml": strings.Replace(goodDrivers, "static", "statc", 1)},
			[]string{"drivers.yml:2:9: error: kind: expected one of static, dyn, wasm, got \"statc\"; did you mean static? (value)"}},
		"enumeration": {map[string]string{"variables.yml": strings.Replace(goodVariable, "uint16", "unit16", 1)},
			[]string{"variables.yml:5:13: error: datatype: expected one of bool, uint8, int8, uint16, int16, uint24, int24, uint32, int32, uint48, int48, uint64, int64, float, float16, float32, float64, string, binary, bcd16, bcd32, bcd48, bcd64, mod10k, json, unix32, unix64, unix64_ms, ymdhms, s7_dt, cp56time2a, char, wstring, s5time, time, ltime, date, tod, dtl, got \"unit16\"; did you mean uint16? (value)"}},
		"reserved tag": {map[string]string{"variables.yml": strings.Replace(goodVariable, "tag: a", "tag: sys.a", 1)},
			[]string{"variables.yml:1:8: error: tag: tags that begin with sys. are the gateway's own (tag)"}},
		"tag with a blank": {map[string]string{"variables.yml": strings.Replace(goodVariable, "tag: a", "tag: a b", 1)},
			[]string{"variables.yml:1:8: error: tag: expected a tag of 1 to 128 letters or digits of any script, _ . and -, got \"a b\" (value)"}},
		"tabs": {map[string]string{"endpoints.yml": "plc:\n\tscheme: tcp\n"},
			[]string{"endpoints.yml:2:1: error: not YAML: a tab; YAML is indented with spaces (syntax)"}},
		"bad YAML": {map[string]string{"variables.yml": goodVariable + "- tag: \"b\n"},
			[]string{"variables.yml:6:1: error: not YAML: found unexpected end of stream (syntax)"}},
		"two documents": {map[string]string{"drivers.yml": goodDrivers + "---\n" + goodDrivers},
			[]string{"drivers.yml:6:1: error: a second document begins here (---); a table is one document (syntax)"}},
		"a list for a mapping": {map[string]string{"endpoints.yml": "- plc\n"},
			[]string{"drivers.yml:3:16: error: endpoint_id: there is no endpoint plc; endpoints.yml is empty (reference)",
				"endpoints.yml:1:1: error: expected a mapping, got a list (type)"}},
		"a mapping for a list": {map[string]string{"variables.yml": "a: {}\n"},
			[]string{"variables.yml:1:1: error: expected a list of variables (\"- tag: …\"), got a mapping (type)"}},
		"secret where none is resolved": {map[string]string{"endpoints.yml": strings.Replace(goodEndpoints, "10.0.0.1", "${file:host}", 1)},
			[]string{"endpoints.yml:3:9: error: host: secrets are not filled in here; only fields for secrets take ${file:…} and ${env:…} (secret-reference)"}},
		"malformed secret": {map[string]string{"endpoints.yml": goodEndpoints + "  opts: {password: \"${file:../x}\"}\n"},
			[]string{"endpoints.yml:5:20: error: opts.password: expected ${file:NAME} (a file in secrets_dir) or ${env:EDGE_SECRET_NAME} (secret-reference)"}},
		"identity in settings": {map[string]string{"settings.yml": "bus: {wal_dir: /tmp}\n"},
			[]string{"settings.yml:1:7: error: unknown key wal_dir; known are min_free, overflow, pause_hi, resume_lo, retain, retain_bytes, ring_pow, wal_flush_ms, wal_max_bytes, wal_sync_rate (unknown-key)"}},
		"all at once": {map[string]string{"endpoints.yml": strings.Replace(goodEndpoints, "502", "0", 1), "variables.yml": strings.Replace(goodVariable, "access: R", "access: X", 1)},
			[]string{"endpoints.yml:4:9: error: port: expected a number from 1 to 65535, got 0 (value)",
				"variables.yml:3:11: error: access: expected one of R, W, RW, got \"X\" (value)"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := tables(t, good(c.files))
			s, err := LoadDir(dir)
			var fs Findings
			if s != nil || !errors.As(err, &fs) {
				t.Fatalf("got %v, %v; want Findings", s, err)
			}
			got := strings.ReplaceAll(err.Error(), dir+string(filepath.Separator), "")
			if want := strings.Join(c.want, "\n"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestLoadDirGood(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"plain":        nil,
		"empty tables": {"endpoints.yml": "# none\n", "drivers.yml": "{}\n", "variables.yml": ""},
		"settings":     {"settings.yml": "bus: {wal_flush_ms: 20, retain: 2h}\nconnectors.mqtt:\n  max_frames: 64\n"},
		"anchors":      {"variables.yml": "- &a\n  tag: a\n  driver_id: m1\n  access: R\n  address: {type: holding, addr: 1}\n  datatype: bool\n- <<: *a\n  tag: b\n"},
		"warning only": {"endpoints.yml": goodEndpoints + "  opts: {password: plain}\n"},
		"number opts":  {"endpoints.yml": goodEndpoints + "  opts: {baud: 19200, halfduplex: true, ratio: 1.5}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			files := good(files)
			if name == "empty tables" {
				files["variables.yml"] = "# none\n"
			}
			s, err := LoadDir(tables(t, files))
			if err != nil {
				t.Fatal(err)
			}
			again, err := ParseDocument(s.Document().JSON())
			if err != nil || again.SHA256 != s.SHA256 || !Diff(s, again).Empty() {
				t.Errorf("the document is not the snapshot: %v, %v", err, Diff(s, again))
			}
		})
	}
}

func TestUnreadableFile(t *testing.T) {
	dir := tables(t, good(nil))
	if err := os.Remove(filepath.Join(dir, "drivers.yml")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "drivers.yml"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := LoadDir(dir)
	if err == nil || !strings.Contains(err.Error(), "drivers.yml: error: cannot be read: is a directory (no-file)") || strings.Contains(err.Error(), "reference") {
		t.Errorf("got %v", err)
	}
}

// TestBillionLaughs: a few lines of aliases can't become gigabytes.
func TestBillionLaughs(t *testing.T) {
	var b strings.Builder
	b.WriteString("a0: &a0 {x: 1}\n")
	for i := 1; i < 30; i++ {
		name, prev := fmt.Sprint("a", i), fmt.Sprint("a", i-1)
		b.WriteString(name + ": &" + name + " {x: *" + prev + ", y: *" + prev + "}\n")
	}
	_, err := LoadDir(tables(t, good(map[string]string{"drivers.yml": b.String()})))
	if err == nil || !strings.Contains(err.Error(), "the aliases expand to more than") {
		t.Errorf("got %.300v", err)
	}
}

// isShape reports whether a finding is about an item's shape. Misplaced secrets
// are found besides, and leave the item in place.
func isShape(f Finding) bool { return f.Severity == SeverityError && f.Rule != "secret-reference" }

// FuzzTables: no file makes the reader panic, and what it accepts is a snapshot
// that survives its canonical form.
func FuzzTables(f *testing.F) {
	for _, t := range Tables()[:3] {
		b, err := os.ReadFile(filepath.Join("../../examples/spec", t.FileName()))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(goodDrivers))
	f.Add([]byte("bus: {wal_flush_ms: 20, retain: 2h}\nconnectors.mqtt:\n  max_frames: 64\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		for _, table := range Tables() {
			r := newReader()
			r.table(table, table.FileName(), src)
			snap, _, _ := r.finish()
			for _, fd := range r.findings {
				if fd.Message == "" || fd.Rule == "" || fd.Severity == "" {
					t.Fatalf("%s: empty finding %+v", table, fd)
				}
			}
			doc, err := parseJSON(snap.Document().JSON())
			if err != nil {
				t.Fatalf("%s: the document is no JSON: %v", table, err)
			}
			items, _ := plainNumbers(doc).(map[string]any)[string(table)].(map[string]any)
			for id, item := range items {
				if table == Variables {
					if vs := checkSchema(itemSchema, item); len(vs) > 0 {
						t.Fatalf("the schema refuses %s, which was read: %v", id, vs)
					}
				} else if fs := checkTree(table, map[string]any{id: item}); slices.ContainsFunc(fs, isShape) {
					t.Fatalf("%s: the schema refuses %s, which was read: %v", table, id, fs)
				}
			}
		}
	})
}
