package lint

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// TestManyFindings: whoever pushes tables chooses how much is wrong with them, and in
// what way. No way takes time with the square of it.
func TestManyFindings(t *testing.T) {
	const n = 1000
	const limit = 10 * time.Second // of 100,000 that are shown; of so few, generous
	const endpoint = "p1: {scheme: tcp, host: 127.0.0.1, port: 502}\n"
	const driver = "m1: {kind: static, proto: modbus, endpoint_id: p1, cfg: {unit_id: 1, polling: 1s}}\n"
	each := func(format string, args int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, []any{i, i, i}[:args]...)
		}
		return b.String()
	}
	for name, files := range map[string]map[string]string{
		"unknown keys":              {"endpoints": endpoint, "drivers": driver, "variables": each("t%d: {driver_id: m1, bogus: 1}\n", 1)},
		"in a list":                 {"endpoints": endpoint, "drivers": driver, "variables": each("- tag: t%d\n  driver_id: m1\n  bogus: 1\n", 1)},
		"indented":                  {"variables": each("  t%d: {driver_id: m1, bogus: 1}\n", 1)},
		"in one line":               {"variables": "{" + strings.ReplaceAll(each("t%d: {driver_id: m1, bogus: 1}\n", 1), "\n", ", ") + "}"},
		"in one item":               {"variables": "t1:\n  driver_id: m1\n" + each("  b%d: 1\n", 1)},
		"in one cfg":                {"endpoints": endpoint, "drivers": strings.TrimSuffix(driver, "}}\n") + strings.ReplaceAll(each(", z%d: 1", 1), "\n", "") + "}}\n"},
		"repeats":                   {"endpoints": endpoint, "variables": strings.Repeat("t1: {driver_id: m1}\n", n)},
		"no such endpoint":          {"endpoints": each("p%d: {scheme: tcp, host: 127.0.0.1, port: 502}\n", 1), "drivers": each("m%d: {kind: static, proto: modbus, endpoint_id: q%d, cfg: {unit_id: 1}}\n", 2)},
		"no such driver":            {"drivers": each("m%d: {kind: static, proto: modbus, endpoint_id: p1}\n", 1), "variables": each("t%d: {driver_id: n%d, address: {type: holding, addr: 1}, datatype: int16}\n", 2)},
		"all on one endpoint":       {"endpoints": endpoint, "drivers": each("m%d: {kind: static, proto: modbus, endpoint_id: p1, cfg: {unit_id: 1}}\n", 1)},
		"all on one address":        {"endpoints": endpoint, "drivers": driver, "variables": each("t%d: {driver_id: m1, address: {type: holding, addr: 5}, datatype: int16}\n", 1)},
		"all endpoints at one host": {"endpoints": each("p%d: {scheme: tcp, host: 127.0.0.1, port: 502}\n", 1), "drivers": each("m%d: {kind: static, proto: modbus, endpoint_id: p%d, cfg: {unit_id: 1}}\n", 2)},
		"settings":                  {"settings": each("connectors.x%d: {topic: \"a/{b}\"}\n", 1)},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for table, text := range files {
				if err := os.WriteFile(filepath.Join(dir, table+".yml"), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			began := time.Now()
			res := Paths(dir)
			if err := WriteText(io.Discard, res.Findings, Style{Source: true}); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > limit {
				t.Errorf("%d findings took %s", len(res.Findings), took)
			}
		})
	}
	// Showing them, with many more.
	for name, line := range map[string]string{"list": "  - a: 1\n", "flat": "a: 1\n", "blank": " \n", "deep": "          a: 1\n"} {
		path := filepath.Join(t.TempDir(), "variables.yml")
		if err := os.WriteFile(path, []byte(strings.Repeat(line, 100_000)), 0o600); err != nil {
			t.Fatal(err)
		}
		fs := make(config.Findings, 100_000)
		for i := range fs {
			fs[i] = config.Finding{File: path, Line: i + 1, Column: 3, Message: "m"}
		}
		began := time.Now()
		if err := WriteText(io.Discard, fs, Style{Source: true}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > limit {
			t.Errorf("%s: to show 100,000 findings took %s", name, took)
		}
	}
}
