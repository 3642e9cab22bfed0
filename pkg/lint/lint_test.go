package lint

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// dirOf writes the files of a directory.
func dirOf(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// finds checks that the findings of files are those of want, of which each has a part.
func finds(t *testing.T, files map[string]string, want []string) {
	t.Helper()
	got := Paths(dirOf(t, files)).Findings
	if len(got) != len(want) {
		t.Fatalf("got %v, want %d findings: %q", got, len(want), want)
	}
	for i, part := range want {
		if !strings.Contains(got[i].String(), part) {
			t.Errorf("got %v, want %q", got[i], part)
		}
	}
}

const (
	tcpEndpoint    = "plc: {scheme: tcp, host: 10.0.0.1, port: 502}\n"
	serialEndpoint = "plc: {scheme: serial, host: /dev/ttyUSB0, opts: {baud: 9600}}\n"
	reader         = "m1: {kind: static, endpoint_id: plc, proto: modbus, cfg: {unit_id: 1, polling: 1s}}\n"
	writer         = "m1: {kind: static, endpoint_id: plc, proto: modbus, cfg: {unit_id: 1, polling: 1s, enable_write: true}}\n"
)

// variable is one variable of driver m1; extra is added to its fields.
func variable(tag, address, datatype, extra string) string {
	return "- {tag: " + tag + ", driver_id: m1, access: R, address: {" + address + "}, datatype: " + datatype + extra + "}\n"
}

// TestRules gives every rule a table that breaks it and one that just doesn't.
func TestRules(t *testing.T) {
	for name, c := range map[string]struct {
		endpoints, drivers, variables, settings string
		want                                    []string // "file:line:col: severity: … (rule)", parts of findings
	}{
		"good": {},
		"unused endpoint": {endpoints: tcpEndpoint + "spare: {scheme: tcp, host: h, port: 1}\n",
			want: []string{"endpoints.yml:2:1: warning: no driver uses the endpoint spare (unused)"}},
		"unused driver": {drivers: reader + strings.NewReplacer("m1", "m2", "unit_id: 1", "unit_id: 2").Replace(reader),
			want: []string{"drivers.yml:2:1: warning: driver m2 has no variables (unused)"}},
		"what a broken file has is not missed": {variables: "- {tag: a\n<<<<<<< local\n",
			want: []string{"variables.yml:2:1: error: a conflict that a merge has left: keep one side, or write what both mean, and take the lines <<<<<<<, ======= and >>>>>>> out (conflict)"}},
		"one unit, two drivers": {drivers: reader + strings.Replace(reader, "m1", "m2", 1),
			variables: variable("a", "type: holding, addr: 1", "uint16", "") + strings.Replace(variable("b", "type: holding, addr: 1", "uint16", ""), "m1", "m2", 1),
			want:      []string{"drivers.yml:2:68: warning: cfg.unit_id: 1 of the endpoint plc is polled by m1 already; one driver can have all variables of a unit (modbus-unit)"}},
		"reserved unit": {drivers: strings.Replace(reader, "unit_id: 1", "unit_id: 250", 1),
			want: []string{"drivers.yml:1:68: warning: cfg.unit_id: 250 is reserved; few devices have it (the standard's are 1 to 247) (modbus-line)"}},
		"several connections": {endpoints: "plc: {scheme: rtu+tcp, host: 10.0.0.1, port: 502, opts: {max_conns: 2}}\n",
			want: []string{"endpoints.yml:1:69: warning: opts.max_conns: 2, but nothing in the answers of driver m1 tells requests apart (framing rtu); " +
				"expected 1, or requests over one connection make those over the other doubtful (modbus-line)"}},
		"any unit among several": {drivers: strings.Replace(reader, "unit_id: 1", "unit_id: 1, answer_unit: any", 1) +
			strings.NewReplacer("m1", "m2", "unit_id: 1", "unit_id: 2").Replace(reader),
			variables: variable("a", "type: holding, addr: 1", "uint16", "") + strings.Replace(variable("b", "type: holding, addr: 1", "uint16", ""), "m1", "m2", 1),
			want: []string{"drivers.yml:1:84: warning: cfg.answer_unit: any, but 2 drivers use the endpoint plc; name the unit id that the device " +
				"answers with (modbus-line)"}},
		"unknown protocol": {drivers: strings.Replace(reader, "modbus", "modbuss", 1),
			want: []string{"drivers.yml:1:45: warning: proto: modbuss is not built in; a gateway will refuse this driver; did you mean modbus? (not-built)"}},
		"plugin": {drivers: "m1: {kind: dyn, path: p, endpoint_id: plc, proto: opcua}\n",
			want: []string{"drivers.yml:1:23: warning: path: /usr/lib/edge-gw/drivers/p is not installed here, so neither cfg nor addresses are checked; install the driver, or name its directory with EDGE_CFG_DRIVERS_DIR (plugin-unknown)"}},
		"plugin elsewhere": {drivers: "m1: {kind: dyn, path: ../p, endpoint_id: plc, proto: opcua}\n",
			want: []string{"drivers.yml:1:23: error: path: ../p: expected a path that stays below drivers_dir of the gateway, without . and .. (plugin-cfg)"}},
		"module": {drivers: "m1: {kind: wasm, path: p, endpoint_id: plc, proto: opcua}\n",
			want: []string{"drivers.yml:1:12: warning: kind: drivers of kind wasm are not built yet; a gateway will refuse this driver (not-built)"}},
		"unknown scheme": {endpoints: "plc: {scheme: tpc, host: h, port: 1}\n",
			want: []string{`endpoints.yml:1:15: error: scheme: unknown scheme "tpc", did you mean "tcp"? (endpoint)`}},
		"scheme to come": {endpoints: "plc: {scheme: tsn+udp, host: h, port: 1}\n",
			want: []string{"endpoints.yml:1:15: warning: scheme: tsn is not built yet; a gateway will refuse this endpoint (not-built)"}},
		"unknown option": {endpoints: "plc: {scheme: tcp, host: h, port: 1, opts: {timout: 1s}}\n",
			want: []string{"endpoints.yml:1:53: error: opts.timout:", "timeout", "(unknown-key)"}},
		"bad option": {endpoints: "plc: {scheme: tcp, host: h, port: 1, opts: {timeout: fast}}\n",
			want: []string{"endpoints.yml:1:54: error: opts.timeout:", "(endpoint)"}},
		"two owners of a line": {endpoints: serialEndpoint + strings.Replace(serialEndpoint, "plc", "other", 1),
			drivers:   reader + "m2: {kind: static, endpoint_id: other, proto: modbus, cfg: {unit_id: 1, polling: 1s}}\n",
			variables: variable("a", "type: coil, addr: 1", "bool", "") + strings.Replace(variable("b", "type: coil, addr: 1", "bool", ""), "m1", "m2", 1),
			want:      []string{"endpoints.yml:1:29: error: host: /dev/ttyUSB0 belongs to the endpoint other already; a serial line is one endpoint, which many drivers may share (line-owner)"}},

		"scale that doesn't compile": {variables: variable("a", "type: holding, addr: 1", "uint16", `, scale: "value /"`),
			want: []string{"variables.yml:1:98: error: scale:", "(scale)"}},
		"scale of another variable": {variables: variable("a", "type: holding, addr: 1", "uint16", `, scale: "volue / 10"`),
			want: []string{"variables.yml:1:98: error: scale:", "(scale)"}},
		"scale that fails at 0": {variables: variable("a", "type: holding, addr: 1", "uint16", `, scale: "1 / value"`),
			want: []string{"variables.yml:1:98: warning: scale: gives no finite number at value = 0; such a frame has quality bad (scale)"}},
		"scale of a text": {variables: variable("a", "type: holding, addr: 1, len: 4", "string", `, scale: "value * 2"`),
			want: []string{"error: scale: a string has none; remove it or choose a numeric datatype (scale)"}},
		"scale that can't be turned round": {drivers: writer, variables: strings.Replace(variable("a", "type: holding, addr: 1", "uint16", `, scale: "value * value"`), "access: R", "access: RW", 1),
			want: []string{"warning: scale: is not linear, so it can't be turned round: writes to this tag will be refused (scale-write)"}},
		"heartbeat without a reason": {variables: variable("a", "type: holding, addr: 1", "uint16", ", heartbeat: 1m"),
			want: []string{"warning: heartbeat: has no effect without report: change or a deadband (no-effect)"}},
		"heartbeat with one": {variables: variable("a", "type: holding, addr: 1", "uint16", ", heartbeat: 1m, report: change")},
		"deadband of a bool": {variables: variable("a", "type: coil, addr: 1", "bool", ", deadband: 1"),
			want: []string{"warning: deadband: has no effect on a bool (no-effect)"}},

		"modicon": {variables: variable("a", "type: holding, addr: 40001", "uint16", "") + variable("b", "type: input, addr: 365536", "uint16", "") + variable("c", "type: discrete, addr: 10001", "bool", "")},
		"modicon of another table": {variables: variable("a", "type: input, addr: 40001", "uint16", ""),
			want: []string{"variables.yml:1:67: error: address.addr: 40001 is Modicon notation for holding, but type is input; correct one of them, or set addressing: protocol in the driver's cfg if 40001 is a zero-based address (modbus-address)"}},
		"modicon turned off": {drivers: strings.Replace(reader, "polling", "addressing: protocol, polling", 1), variables: variable("a", "type: input, addr: 40001", "uint16", "")},
		"beyond every notation": {variables: variable("a", "type: holding, addr: 70000", "uint16", ""),
			want: []string{"error: address.addr: expected 0 to 65535 or Modicon notation, got 70000 (modbus-address)"}},
		"last register": {variables: variable("a", "type: holding, addr: 465536", "uint16", "")},
		"beyond the last register": {variables: variable("a", "type: holding, addr: 465536", "uint32", ""),
			want: []string{"error: address.addr: holding 65535 (2 registers) ends at 65536, beyond 65535 (modbus-address)"}},
		"address of another protocol": {variables: variable("a", `node: "ns=2;s=T"`, "uint16", ""),
			want: []string{"error: address.type: opc_node is not of Modbus; expected holding, input, coil or discrete (modbus-address)"}},
		"len too long": {variables: variable("a", "type: holding, addr: 1, len: 2", "uint16", ""),
			want: []string{"variables.yml:1:77: warning: address.len: 2 registers, but uint16 needs 1 (modbus-len)"}},
		"len too short": {variables: variable("a", "type: holding, addr: 1, len: 1", "float", ""),
			want: []string{"error: address.len: 1, but float32 needs 2 registers (modbus-address)"}},
		"string without len": {variables: variable("a", "type: holding, addr: 1", "string", ""),
			want: []string{"error: address.len: string needs the number of registers (modbus-address)"}},
		"more than a request": {variables: variable("a", "type: holding, addr: 1, len: 121", "string", ""),
			want: []string{"error: address.len: 121 registers do not fit one request (max_regs_per_req: 120) (modbus-address)"}},
		"bit of a number": {variables: variable("a", "type: holding, addr: 1, bit: 3", "uint16", ""),
			want: []string{"error: address.bit: 3 of a uint16, expected 0 to 15 with datatype bool (modbus-address)"}},
		"float of coils": {variables: variable("a", "type: coil, addr: 1", "float", ""),
			want: []string{"error: datatype: float32 cannot be made of bits; expected bool, uint16, uint32, uint64 or binary (modbus-address)"}},
		"many coils of a bool": {variables: variable("a", "type: coil, addr: 1, len: 2", "bool", ""),
			want: []string{"error: address.len: 2 bits, but a bool has at most 1 (modbus-address)"}},
		"written input": {drivers: writer, variables: strings.Replace(variable("a", "type: input, addr: 1", "uint16", ""), "access: R", "access: RW", 1),
			want: []string{"error: access: RW, but input is read-only; expected R (modbus-address)"}},
		"write without enable_write": {variables: strings.Replace(variable("a", "type: holding, addr: 1", "uint16", ""), "access: R", "access: RW", 1),
			want: []string{"warning: access: RW, but the driver m1 has no enable_write: true in its cfg; writes will be refused (modbus-write)"}},
		"two notations": {variables: variable("a", "type: holding, addr: 40070", "uint16", "") + variable("b", "type: holding, addr: 40000", "uint16", ""),
			want: []string{"variables.yml:1:69: error: address.addr: 40070 may be holding 69 (Modicon notation) or holding 40070 (protocol address), " +
				"and 40000 of b can be a protocol address only: say addressing: modicon or addressing: protocol in the cfg of driver m1 (modbus-notation)"}},
		"two notations, far apart": {variables: variable("a", "type: holding, addr: 50000", "uint16", "") + variable("b", "type: holding, addr: 49999", "uint16", ""),
			want: []string{"variables.yml:2:69: error: address.addr: 49999 may be holding 9998 (Modicon notation) or holding 49999 (protocol address), and 50000 of a"}},
		"two notations of discretes": {variables: variable("a", "type: discrete, addr: 10001", "bool", "") + variable("b", "type: discrete, addr: 20000", "bool", ""),
			want: []string{"error: address.addr: 10001 may be discrete 0 (Modicon notation) or discrete 10001 (protocol address)"}},
		"two notations, six digits":   {variables: variable("a", "type: holding, addr: 400070", "uint16", "") + variable("b", "type: holding, addr: 50000", "uint16", "")},
		"two notations, other tables": {variables: variable("a", "type: holding, addr: 40070", "uint16", "") + variable("b", "type: input, addr: 50000", "uint16", "")},
		"two notations, said": {drivers: strings.Replace(reader, "unit_id: 1", "unit_id: 1, addressing: modicon", 1),
			variables: variable("a", "type: holding, addr: 40070", "uint16", "") + variable("b", "type: holding, addr: 40000", "uint16", "")},
		"the same twice": {variables: variable("a", "type: holding, addr: 40002", "uint16", "") + variable("b", "type: holding, addr: 1", "uint16", ""),
			want: []string{"variables.yml:2:47: warning: address: holding 1 is read the same way by a (modbus-overlap)"}},
		"overlap": {variables: variable("a", "type: holding, addr: 1", "uint32", "") + variable("b", "type: holding, addr: 2", "uint16", "") + variable("c", "type: input, addr: 2", "uint16", ""),
			want: []string{"variables.yml:2:47: warning: address: holding 2 overlaps holding 1–2 of a (modbus-overlap)"}},
		"overlap with one that began far before": {variables: variable("a", "type: holding, addr: 1, len: 50", "string", "") + variable("b", "type: holding, addr: 60", "uint16", "") + variable("c", "type: holding, addr: 40", "uint16", ""),
			want: []string{"variables.yml:3:47: warning: address: holding 40 overlaps holding 1–50 of a (modbus-overlap)"}},
		"views of one register": {variables: variable("a", "type: holding, addr: 1, bit: 0", "bool", "") + variable("b", "type: holding, addr: 1, bit: 1", "bool", "") +
			variable("c", "type: holding, addr: 1", "uint16", "") + variable("d", "type: holding, addr: 1", "int16", "")},
		"tcp on a line": {endpoints: serialEndpoint, drivers: strings.Replace(reader, "polling", "framing: tcp, polling", 1),
			want: []string{"drivers.yml:1:80: error: cfg.framing: tcp on a serial line; expected rtu or ascii (modbus-cfg)"}},
		"pipelining without ids": {drivers: strings.Replace(reader, "polling", "framing: rtu, max_inflight: 4, polling", 1),
			want: []string{"error: cfg.max_inflight: 4, but framing rtu has no transaction ids to tell answers apart; expected 1 (modbus-cfg)"}},
		"broadcast that is read": {endpoints: serialEndpoint, drivers: strings.Replace(reader, "unit_id: 1", "unit_id: 0", 1),
			want: []string{"error: access: R, but unit_id 0 on a serial line is a broadcast, which nobody answers; expected W (modbus-address)"}},

		"topic": {settings: "connectors.mqtt: {topic: \"/edge/{tenannt}/{tag}\"}\n",
			want: []string{"settings.yml:1:26: error: topic: nothing fills in {tenannt}; known are {gateway}, {tenant}, {device}, {driver}, {tag} (topic)"}},
		"literal secret": {endpoints: "plc: {scheme: tcp, host: h, port: 1, opts: {username: u, password: p}}\n",
			want: []string{"endpoints.yml:1:68: warning: opts.password: a secret stands here for everyone to read", "(secret-literal)"}},
	} {
		t.Run(name, func(t *testing.T) {
			or := func(s, def string) string {
				if s == "" {
					return def
				}
				return s
			}
			vars := or(c.variables, variable("a", "type: holding, addr: 1", "uint16", ""))
			if strings.Contains(c.drivers, "opcua") || strings.Contains(c.drivers, "modbuss") {
				vars = variable("a", `node: "ns=1;i=1"`, "float", "")
			}
			files := map[string]string{"endpoints.yml": or(c.endpoints, tcpEndpoint), "drivers.yml": or(c.drivers, reader), "variables.yml": vars}
			if c.settings != "" {
				files["settings.yml"] = c.settings
			}
			dir := dirOf(t, files)
			res := Paths(dir)
			got := strings.ReplaceAll(res.Findings.Error(), dir+string(filepath.Separator), "")
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("got\n%s\nwithout\n%s", got, want)
				}
			}
			if n := min(len(c.want), 1); len(res.Findings) != n {
				t.Errorf("%d findings, want %d:\n%s", len(res.Findings), n, got)
			}
		})
	}
}

// TestLineCapacity computes by hand what lint computes: one request for 10
// registers at 9600 baud, 8N1, takes 8 + 25 characters of 10 bits and twice 3.5
// characters of silence, 41.7 ms; so 24 units once a second need 1.0 s.
func TestLineCapacity(t *testing.T) {
	plant := func(units int, polling string) string {
		var drivers, variables strings.Builder
		for u := range units {
			id := "u" + string(rune('a'+u))
			drivers.WriteString(strings.NewReplacer("m1", id, "unit_id: 1", fmt.Sprint("unit_id: ", u+1), "1s", polling).Replace(reader))
			for i := range 10 {
				tag := id + "." + string(rune('0'+i))
				variables.WriteString(strings.Replace(variable(tag, "type: holding, addr: "+string(rune('0'+i)), "uint16", ""), "m1", id, 1))
			}
		}
		return dirOf(t, map[string]string{"endpoints.yml": serialEndpoint, "drivers.yml": drivers.String(), "variables.yml": variables.String()})
	}
	if res := Paths(plant(23, "1s")); len(res.Findings) != 0 {
		t.Errorf("0.96 s of each second: %v", res.Findings)
	}
	res := Paths(plant(26, "1s"))
	if len(res.Findings) != 1 || !strings.Contains(res.Findings[0].Message,
		"plc (9600 baud, 8N1) cannot carry its polls: 26 requests (drivers: 26) take at least 1.08 s of every second") {
		t.Errorf("got %v", res.Findings)
	}
	if res := Paths(plant(26, "2s")); len(res.Findings) != 0 {
		t.Errorf("0.54 s of each second: %v", res.Findings)
	}
}

// TestGatewayFile checks gateway.yml and finds the tables by it.
func TestGatewayFile(t *testing.T) {
	dir := dirOf(t, map[string]string{
		"gateway.yml":           "gateway_id: g\nconfig: {dir: tables}\nconnectors:\n  a: {kind: mqtt5, topic: \"/{site}/x\"}\n  b: {kind: kafka}\n",
		"tables/endpoints.yml":  tcpEndpoint,
		"tables/drivers.yml":    reader,
		"tables/variables.yml":  variable("a", "type: holding, addr: 70000", "uint16", ""),
		"tables/variables.yaml": "",
	})
	want := []string{
		"gateway.yml:4:27: error: topic: nothing fills in {site}; known are {gateway}, {tenant}, {device}, {driver}, {tag} (topic)",
		"gateway.yml:5:13: warning: kind: connectors of kind kafka are not built yet; the gateway will refuse this one (not-built)",
		"tables/variables.yaml: warning: is not read; rename it to variables.yml (no-table)",
		"tables/variables.yml:1:69: error: address.addr: expected 0 to 65535 or Modicon notation, got 70000 (modbus-address)",
	}
	got := strings.ReplaceAll(Paths(dir).Findings.Error(), dir+string(filepath.Separator), "")
	if got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

// TestSingleFile: what isn't given is not missed.
func TestSingleFile(t *testing.T) {
	dir := dirOf(t, map[string]string{"variables.yml": variable("a", "type: holding, addr: 1", "uint16", ""), "drivers.yml": reader, "notes.yml": ""})
	for _, f := range []string{"variables.yml", "drivers.yml"} {
		if res := Paths(filepath.Join(dir, f)); len(res.Findings) != 0 {
			t.Errorf("%s: %v", f, res.Findings)
		}
	}
	if res := Paths(filepath.Join(dir, "notes.yml")); len(res.Findings) != 1 || res.Findings[0].Rule != "no-table" {
		t.Errorf("got %v", res.Findings)
	}
	if res := Paths(filepath.Join(dir, "variables.yml"), filepath.Join(dir, "drivers.yml")); len(res.Findings) != 0 {
		t.Errorf("got %v", res.Findings)
	}
}

// TestExamples: what the repository shows is right.
func TestExamples(t *testing.T) {
	for dir, warnings := range map[string]int{"../../examples/spec": 3, "../../examples/minimal": 0, "../../examples/site": 0, "../../examples/s7": 0, "../../examples/fleet/tables": 0} {
		if errs, w := Paths(dir).Findings.Count(); errs != 0 || w != warnings {
			t.Errorf("%s: %v", dir, Paths(dir).Findings)
		}
	}
}

// TestSpecificationUntouched: examples/spec holds the specification's tables byte
// for byte.
func TestSpecificationUntouched(t *testing.T) {
	for name, want := range map[string]string{
		"endpoints.yml": "f1079952bc29408a8edb75232c832058fc3d25807854aa040b7d0a086e1f671f",
		"drivers.yml":   "654ea4c27431efaf1d03974e9d4e95073ca6d757ad84a116a1fb810365508b8a",
		"variables.yml": "0e2d12177fe9763cf10fa037025d5d6d3f66d529d6077af36d609392012d1059",
	} {
		b, err := os.ReadFile(filepath.Join("../../examples/spec", name))
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(b)); got != want {
			t.Errorf("%s was changed: %s", name, got)
		}
	}
}
