package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/cli"
	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
)

// runIt runs edge-gw and returns its standard output and exit code.
func runIt(t *testing.T, args ...string) (string, int) {
	t.Helper()
	root, out := newRoot(), new(bytes.Buffer)
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(new(bytes.Buffer)) // what it says to people
	code := cli.Execute(t.Context(), root, "EDGE_GW")
	return out.String(), code
}

func gatewayYML(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "gateway.yml")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const goodYML = "gateway_id: gw-1\ndata_dir: DIR/data\nconnectors:\n  mqtt: {kind: mqtt5, endpoint: 'mqtt://127.0.0.1:1883', password: hunter2}\n"

// TestConfigJSON: what config print and check say is there for programs, secrets masked.
func TestConfigJSON(t *testing.T) {
	path := gatewayYML(t, goodYML)
	text, code := runIt(t, "config", "print", "--config", path, "-o", "json")
	var tree map[string]any
	if err := json.Unmarshal([]byte(text), &tree); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v: %s", code, err, text)
	}
	if log, _ := tree["log"].(map[string]any); tree["gateway_id"] != "gw-1" || log["format"] != "json" || strings.Contains(text, "hunter2") {
		t.Errorf("print: %s", text)
	}
	text, _ = runIt(t, "config", "print", "--config", path, "-o", "json", "--origin", "--set", "log.level=warn")
	var values []bootstrap.Value
	if err := json.Unmarshal([]byte(text), &values); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	origins := map[string]string{}
	for _, v := range values {
		origins[v.Key] = v.Origin
	}
	if origins["gateway_id"] != "gateway.yml:1" || origins["log.level"] != "flag" || origins["log.format"] != "default" {
		t.Errorf("origins: %v", origins)
	}
}

func TestCheckJSON(t *testing.T) {
	for name, c := range map[string]struct {
		yml, rule string
		code      int
	}{
		"unreadable":  {"gateway_id: gw-1\nlog: {level: loud}\n", "schema", cli.Failed},
		"can't start": {goodYML + "admin: {socket: " + strings.Repeat("x", 200) + "}\n", "", cli.Failed},
		"a literal":   {goodYML, "", cli.OK},
	} {
		text, code := runIt(t, "config", "check", "--config", gatewayYML(t, c.yml), "-o", "json")
		var found config.Findings
		if err := json.Unmarshal([]byte(text), &found); err != nil || code != c.code || len(found) == 0 {
			t.Errorf("%s: exit code %d, want %d; %v: %s", name, code, c.code, err, text)
			continue
		}
		if c.rule != "" && (found[0].Line != 2 || found[0].Message == "") {
			t.Errorf("%s: %+v", name, found[0])
		}
	}
}

// TestLogFormat: text for a person at a terminal, unless somebody said what he wants.
func TestLogFormat(t *testing.T) {
	for _, c := range []struct {
		flag     map[string]string
		terminal bool
		want     string
	}{{nil, false, "json"}, {nil, true, "text"}, {map[string]string{"log.format": "json"}, true, "json"}, {map[string]string{"log.format": "text"}, false, "text"}} {
		cfg, err := bootstrap.Load(gatewayYML(t, goodYML), c.flag, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := logFormat(cfg, c.terminal); got != c.want {
			t.Errorf("%v on a terminal (%v): %s, want %s", c.flag, c.terminal, got, c.want)
		}
	}
}
