package lint

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// writePlant writes the tables of a plant with n variables over n/100 drivers.
func writePlant(tb testing.TB, n int) string {
	tb.Helper()
	dir := tb.TempDir()
	var endpoints, drivers, variables bytes.Buffer
	for i := range n / 100 {
		fmt.Fprintf(&endpoints, "plc_%d:\n  scheme: tcp\n  host: 10.0.%d.%d\n  port: 502\n  opts: { timeout: 1s }\n", i, i/256, i%256)
		fmt.Fprintf(&drivers, "modbus_%d:\n  kind: static\n  endpoint_id: plc_%d\n  proto: modbus\n  cfg: { unit_id: 1, polling: 1s }\n", i, i)
	}
	for i := range n {
		fmt.Fprintf(&variables, "- tag: plant.area%d.flow_%06d\n  driver_id: modbus_%d\n  access: R\n"+
			"  address: { type: holding, addr: %d, len: 1 }\n  datatype: uint16\n  scale: \"value / 10\"\n  unit: m3_h\n\n",
			i%100, i, i/100, 40001+i%100)
	}
	for name, b := range map[string]*bytes.Buffer{"endpoints.yml": &endpoints, "drivers.yml": &drivers, "variables.yml": &variables} {
		if err := os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	return dir
}

// BenchmarkLint100k checks 100,000 variables, 1,000 drivers and 1,000 endpoints
// from files: at most 3 s.
func BenchmarkLint100k(b *testing.B) {
	dir := writePlant(b, 100_000)
	b.ReportAllocs()
	for b.Loop() {
		res := Paths(dir)
		if len(res.Findings) > 0 || len(res.Snapshot.Variables) != 100_000 {
			b.Fatalf("%d variables, findings %v", len(res.Snapshot.Variables), res.Findings[:min(3, len(res.Findings))])
		}
	}
}
