package lint

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
)

// TestInsecureSetUps: each is told, with a rule of its own, and refused with security:
// strict; the safe ones beside them are not.
func TestInsecureSetUps(t *testing.T) {
	for _, x := range []struct {
		text string
		rule string // "" for none; with a ! behind it, it is refused whatever security says
	}{
		{"page: {listen: ':9443'}", "open-page!"},
		{"page: {listen: '10.0.0.5:9443', tls: {cert: c.pem, key: k.pem}}", "open-page!"},
		{"page: {listen: '[::]:9443', token: '${file:t}'}", "plain-page!"},
		{"page: {listen: ':9443', tls: {cert: c.pem}, token: '${file:t}'}", "value!"},
		{"page: {listen: ':9443', tls: {cert: c.pem, key: k.pem}, token: '${file:t}'}", ""},
		{"page: {listen: ':9443', tls: {cert: c.pem, key: k.pem}, users: {ann: '$2y$05$xxxx'}}", ""},
		{"page: {listen: '127.0.0.1:9443'}", ""},
		{"page: {listen: 'localhost:9443', users: {ann: '${file:ann}'}}", ""},
		{"page: {token: '${file:t}'}", "page-unused"},
		{"connectors: {m: {kind: mqtt5, endpoint: 'mqtt://broker:1883', username: u, password: p}}", "plain-credentials"},
		{"connectors: {m: {kind: mqtt5, endpoint: 'mqtts://a, ws://broker', password: '${file:p}'}}", "plain-credentials"},
		{"connectors: {m: {kind: mqtt5, endpoint: 'mqtts://broker', password: '${file:p}'}}", ""},
		{"connectors: {m: {kind: mqtt5, endpoint: 'mqtt://127.0.0.1', password: '${file:p}'}}", ""},
		{"connectors: {m: {kind: mqtt5, endpoint: 'mqtt://broker:1883'}}", ""},
		{"connectors: {m: {kind: mqtt5, endpoint: 'mqtts://b', commands: {enable: true, allow: ['*']}}}", "commands-allow-all"},
		{"connectors: {m: {kind: mqtt5, endpoint: 'mqtts://b', commands: {enable: true, allow: ['plant.*']}}}", ""},
		{"connectors: {m: {kind: mqtt5, endpoint: 'mqtts://b', commands: {enable: false, allow: ['*']}}}", ""},
		{"connectors: {m: {kind: mqtt5, endpoint: 'ws://b', commands: {enable: true, allow: ['a']}}}", "plain-commands"},
		{"config: {etcd: {listen: '0.0.0.0:2379'}}", "open-etcd"},
		{"config: {etcd: {listen: ':2379'}}", "open-etcd"},
		{"config: {etcd: {listen: '127.0.0.1:2379'}}", ""},
		{"config: {etcd: {endpoints: ['etcd:2379']}}", "plain-etcd"},
		{"config: {etcd: {endpoints: ['etcd:2379'], tls: {ca: /ca.pem}}}", ""},
		{"config: {etcd: {endpoints: ['127.0.0.1:2379']}}", ""},
		{"admin: {mode: '0666'}", "wide-socket"},
		{"admin: {mode: '0660'}", ""},
		{"data_dir: wide", "wide-directory"},
		{"secrets_dir: wide", "wide-directory"},
		{"secrets_dir: shown", "wide-secret"},
		{"secrets_dir: good", ""},
	} {
		for _, level := range []string{"normal", "strict"} {
			dir := t.TempDir()
			for name, mode := range map[string]os.FileMode{"wide": 0o755, "shown": 0o700, "good": 0o700} {
				if err := os.Mkdir(filepath.Join(dir, name), mode); err != nil {
					t.Fatal(err)
				}
			}
			for name, mode := range map[string]os.FileMode{"shown/p": 0o644, "good/p": 0o600} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), mode); err != nil {
					t.Fatal(err)
				}
			}
			rule, always := strings.CutSuffix(x.rule, "!")
			text := "gateway_id: gw\nsecurity: " + level + "\n" + x.text + "\n"
			for _, key := range []string{"data_dir", "secrets_dir"} {
				if !strings.Contains(text, key) {
					text += key + ": absent\n"
				}
			}
			path := filepath.Join(dir, "gateway.yml")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			g, err := bootstrap.Load(path, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			found := Security(g)
			if told := slices.ContainsFunc(found, func(f config.Finding) bool { return f.Rule == rule }); told != (rule != "") || rule == "" && len(found) > 0 {
				t.Errorf("%s: %v, want %q", x.text, found, rule)
			}
			if (found.Err() != nil) != (rule != "" && (always || level == "strict")) {
				t.Errorf("%s, %s: %v", x.text, level, found.Err())
			}
			res := Paths(path)
			if told := slices.ContainsFunc(res.Findings, func(f config.Finding) bool { return f.Rule == rule }); told != (rule != "") {
				t.Errorf("lint of %s: %v", x.text, res.Findings)
			}
		}
	}
}
