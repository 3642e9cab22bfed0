// Package load holds the script that k6 runs to the wire format and the metric that it is
// about. k6 itself is not run here.
package load

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// stubs stand for k6: a socket that answers what a device would, and a gateway's metrics.
const stubs = `
import * as real from './load.mjs';
const metrics = ['# HELP modbus_pdu_total x', 'modbus_pdu_total{driver_id="a",func="3",result="ok"} 7',
  'modbus_pdu_total{driver_id="a",func="3",result="err"} 2', 'modbus_pdu_total{driver_id="a",func="3",result="timeout"} 1'].join('\n');
if (real.errors(metrics) !== 3) throw new Error('errors: ' + real.errors(metrics));
real.default();
real.default();
console.log(globalThis.sent.join(' '), globalThis.connected, globalThis.failed);
real.teardown();
console.log(globalThis.failed);
`

// TestScript runs the script's functions in Node on stubs of k6's modules: each call sends
// one good request on one connection, and the end counts what the gateway told.
func TestScript(t *testing.T) {
	text, err := os.ReadFile("load.js")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script := strings.NewReplacer("'k6/x/tcp'", "'./tcp.mjs'", "'k6/http'", "'./http.mjs'", "'k6'", "'./k6.mjs'").Replace(string(text))
	for name, text := range map[string]string{
		"load.mjs": "const __ENV = {};\n" + script,
		"tcp.mjs": "globalThis.sent = []; globalThis.connected = 0;\n" +
			"export default { connect: () => ++globalThis.connected, write: (s, bytes) => globalThis.sent.push(bytes.map((b) => b.toString(16).padStart(2, '0')).join('')), read: (s, n) => new Uint8Array(n) };\n",
		"http.mjs": "export default { get: () => ({ status: 200, body: 'modbus_pdu_total{driver_id=\"a\",func=\"3\",result=\"err\"} 1' }) };\n",
		"k6.mjs": "globalThis.failed = 0;\n" +
			"export const check = (v, checks) => { for (const f of Object.values(checks)) if (!f(v)) globalThis.failed++; };\n",
		"main.mjs": stubs,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command("node", filepath.Join(dir, "main.mjs")).CombinedOutput()
	if err != nil {
		t.Fatalf("node: %v (scripts/setup installs it)\n%s", err, out)
	}
	const request = "000100000006010300000002" // transaction 1, protocol 0, 6 bytes, unit 1, function 3, from 0, two registers
	if want := request + " " + request + " 1 0\n1\n"; string(out) != want {
		t.Errorf("got %q, want %q", out, want)
	}
}
