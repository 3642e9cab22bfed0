package tables

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
	"github.com/edge-gateway/edge-gateway/pkg/driver/modbus"
	"github.com/edge-gateway/edge-gateway/pkg/endpoint"
	"github.com/edge-gateway/edge-gateway/pkg/number"
)

// numberReaders are all the ways that a number has into the system. Each reads text
// as a whole number from 1 to 9999.
func numberReaders(t *testing.T) map[string]func(text string) (int64, error) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	addr := func(format string) func(text string) (int64, error) {
		return func(text string) (int64, error) {
			snap, _, findings := config.ReadFiles(write("variables.yml", fmt.Sprintf(format, text)))
			findings = slices.DeleteFunc(findings, func(f config.Finding) bool { return f.Rule == "reference" })
			if err := findings.Err(); err != nil {
				return 0, err
			}
			return int64(snap.Variables[0].Address.Addr), nil
		}
	}
	item := "- tag: a\n  driver_id: d\n  access: R\n  datatype: uint16\n"
	gateway := func(file string, flags map[string]string, env []string) (int64, error) {
		g, err := bootstrap.Load(write("gateway.yml", "gateway_id: g\n"+file), flags, env)
		if err != nil {
			return 0, err
		}
		return g.Bus["wal_flush_ms"].(int64), nil
	}
	setting := Key{Table: config.Settings, ID: "bus", Field: []string{"wal_flush_ms"}}
	return map[string]func(text string) (int64, error){
		"table":       addr(item + "  address: {type: holding, addr: %s}\n"),
		"table block": addr(item + "  address:\n    type: holding\n    addr: %s # here\n"),
		"by library":  addr("- {\"tag\": a, driver_id: d, access: R, datatype: uint16,\n   address: {type: holding, addr: %s}}\n"),
		"forced": func(text string) (int64, error) {
			path := write("variables.yml", item+"  address: {type: holding, addr: "+text+"}\n")
			items, err := rawItems(path, config.Variables)
			if err != nil {
				return 0, err
			}
			v, err := config.DecodeVariable("a", items[0].JSON)
			return int64(v.Address.Addr), err
		},
		"JSON": func(text string) (int64, error) {
			v, err := config.DecodeVariable("a", []byte(`{"tag":"a","driver_id":"d","access":"R","datatype":"uint16","address":{"type":"holding","addr":`+text+`}}`))
			return int64(v.Address.Addr), err
		},
		"endpoints": func(text string) (int64, error) {
			snap, _, findings := config.ReadFiles(write("endpoints.yml", "e: {scheme: tcp, host: h, port: "+text+"}\n"))
			return int64(snap.Endpoints["e"].Port), findings.Err()
		},
		"option": func(text string) (int64, error) {
			snap, _, findings := config.ReadFiles(write("endpoints.yml", "e: {scheme: tcp, host: h, opts: {burst: "+text+", rate: 9pps}}\n"))
			if err := findings.Err(); err != nil {
				return 0, err
			}
			u, err := endpoint.FromTable("tcp", "h", 1, snap.Endpoints["e"].Opts)
			return int64(u.Options().Burst), err
		},
		"drivers": func(text string) (int64, error) {
			snap, _, findings := config.ReadFiles(write("drivers.yml", "d: {kind: static, endpoint_id: e, proto: x, cfg: {n: "+text+"}}\n"))
			if err := findings.Err(); err != nil {
				return 0, err
			}
			n, ok := snap.Drivers["d"].Cfg["n"].(int64)
			if !ok {
				return 0, fmt.Errorf("read as %v", snap.Drivers["d"].Cfg["n"])
			}
			return n, nil
		},
		"gateway.yml": func(text string) (int64, error) { return gateway("bus: {wal_flush_ms: "+text+"}\n", nil, nil) },
		"variable": func(text string) (int64, error) {
			return gateway("", nil, []string{"EDGE_GW_BUS_WAL_FLUSH_MS=" + text})
		},
		"setting": func(text string) (int64, error) { return gateway("", map[string]string{"bus.wal_flush_ms": text}, nil) },
		"set": func(text string) (int64, error) {
			v, err := setting.parseValue(map[string]any{}, text)
			if err != nil {
				return 0, err
			}
			raw, err := json.Marshal(map[string]any{"wal_flush_ms": v})
			if err != nil {
				return 0, err
			}
			s, err := config.DecodeSettings("bus", raw)
			n, _ := s["wal_flush_ms"].(int64)
			return n, err
		},
		"CSV": func(text string) (int64, error) {
			s, _, err := ReadSheet([]byte("tag,addr\na,\""+text+"\"\n"), SheetOptions{})
			if err != nil {
				return 0, err
			}
			row := map[string]any{}
			if err := s.variable(s.rows[0], row); err != nil {
				return 0, err
			}
			n, _ := config.ValueAt(row, []string{"address", "addr"}).(json.Number)
			return n.Int64()
		},
		"question": func(text string) (int64, error) {
			q, err := modbus.ParseQuestion("holding:" + text + ":1")
			return int64(q.Addr), err
		},
		"flag": func(text string) (n int64, err error) {
			var value int
			root := &cobra.Command{Use: "x", RunE: func(*cobra.Command, []string) error { return nil }}
			root.Flags().IntVar(&value, "n", 0, "")
			root.SetArgs([]string{"--n=" + text})
			root.SetErr(&bytes.Buffer{})
			root.SetOut(&bytes.Buffer{})
			if code := cli.Execute(context.Background(), root, "X"); code != 0 {
				return 0, fmt.Errorf("exit code %d", code)
			}
			return int64(value), nil
		},
	}
}

// FuzzNumbers feeds the same text to every reader: all read the same number, or all
// refuse it.
func FuzzNumbers(f *testing.F) {
	for _, text := range []string{"17", "00017", "0100", "010", "0o17", "0b1", "0x1F", "1_000", "1e3", "1.5e3", "10.0", "1:30", "+5", "-0", ".5", "5.",
		"yes", "no", "on", "off", "true", "1234567890123456789012", "0x", "1d", "١", "١٢", "0x1p3", "inf", ".inf", ".nan", "1,5", "2024-01-02", "-", "+", ".", "0.1e1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if text == "" || strings.Trim(text, "0123456789abcdefABCDEFxXo_+-.:,~nulys١٢") != "" || len(text) > 40 || strings.HasSuffix(text, ":") {
			return // what would be YAML's own, or a shell's
		}
		if text == "~" || strings.EqualFold(text, "null") {
			return // nothing, which gateway.yml has a default for
		}
		want, err := number.Int(text, 1, 9999)
		if v, perr := number.Parse(text); perr == nil && err != nil {
			if n, whole := number.Whole(v); whole && n >= 0 {
				return // a number that some readers have room for
			}
		}
		for name, read := range numberReaders(t) {
			switch got, rerr := read(text); {
			case name == "JSON" && err == nil && !json.Valid([]byte(text)):
				if rerr == nil {
					t.Errorf("%s reads %q, which is no JSON, as %d", name, text, got)
				}
			case strings.Contains(text, ",") && rerr == nil && got < 10000 && name != "CSV":
				// two things in braces
			case (err == nil) != (rerr == nil):
				t.Errorf("%s reads %q as %d, %v; the grammar as %d, %v", name, text, got, rerr, want, err)
			case err == nil && got != want:
				t.Errorf("%s reads %q as %d, want %d", name, text, got, want)
			}
		}
	})
}

// TestTextStays: where the schema wants text, the source's own characters are kept.
func TestTextStays(t *testing.T) {
	dir := t.TempDir()
	for _, text := range []string{"0123456", "0123", "1e5", "1234567890123456789012", "0x1F", "1_000", "0o17", "0b1", "1:30", "+5", "-0", ".5", "5.", "1.50",
		"yes", "no", "on", "off", "true", "False", "2024-01-02", ".inf", "42"} {
		path := filepath.Join(dir, "variables.yml")
		if err := os.WriteFile(path, []byte("- tag: a\n  driver_id: d\n  access: R\n  datatype: uint16\n  address: {type: holding, addr: 1}\n  unit: "+text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		snap, _, _ := config.ReadFiles(path)
		if len(snap.Variables) != 1 || snap.Variables[0].Unit != text {
			t.Errorf("unit: %s is read as %+v", text, snap.Variables)
		}
		endpoints := filepath.Join(dir, "endpoints.yml")
		src := fmt.Sprintf("e:\n  scheme: tcp\n  host: h\n  opts: {username: %s, password: %s, server_name: %s, ca: %s}\n", text, text, text, text)
		if err := os.WriteFile(endpoints, []byte(src), 0o600); err != nil {
			t.Fatal(err)
		}
		snap, _, findings := config.ReadFiles(endpoints)
		for _, key := range []string{"username", "password", "server_name", "ca"} {
			if got := snap.Endpoints["e"].Opts[key]; got != text {
				t.Errorf("%s: %s is read as %q: %v", key, text, got, findings)
			}
		}
		if !slices.ContainsFunc(findings, func(f config.Finding) bool { return f.Rule == "secret-literal" }) {
			t.Errorf("password: %s: no warning of a literal secret: %v", text, findings)
		}
		gateway := filepath.Join(dir, "gateway.yml")
		src = fmt.Sprintf("gateway_id: g\nconnectors:\n  m: {kind: mqtt5, client_id: %s, password: %s}\n", text, text)
		if err := os.WriteFile(gateway, []byte(src), 0o600); err != nil {
			t.Fatal(err)
		}
		g, err := bootstrap.Load(gateway, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if m := g.Connectors["m"]; m["client_id"] != text || m["password"] != text {
			t.Errorf("gateway.yml reads %s as %v and %v", text, m["client_id"], m["password"])
		}
		if !slices.ContainsFunc(g.Warnings, func(f config.Finding) bool { return f.Rule == "secret-literal" }) {
			t.Errorf("gateway.yml, password: %s: no warning of a literal secret: %v", text, g.Warnings)
		}
		unit := Key{Table: config.Variables, ID: "a", Field: []string{"unit"}}
		if v, err := unit.parseValue(map[string]any{}, text); err != nil || v != text {
			t.Errorf("set unit=%s gives %v, %v", text, v, err)
		}
	}
}
