package bootstrap

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/edge-gateway/edge-gateway/pkg/config"
)

// write puts a gateway.yml into a directory of its own.
func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gateway.yml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaults(t *testing.T) {
	g, err := Load(write(t, "gateway_id: gw-1\nconnectors:\n  mqtt: {kind: mqtt5}\n"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	base := g.Config.Dir[:len(g.Config.Dir)-len("/config")]
	want := Gateway{
		GatewayID: "gw-1", Tenant: "default", Device: "gw-1", DataDir: "/var/lib/edge-gw", SecretsDir: "/etc/edge-gw/secrets",
		DriversDir: "/usr/lib/edge-gw/drivers", DriverMemory: 256 * config.MiB,
		Security: "normal", Policy: Policy{DocumentMemory: config.GiB, Hosts: []string{}, Serial: []string{}, Certificates: []string{}, Signers: []string{}, SecretsDir: "/etc/edge-gw/secrets/tables"},
		Log: Log{"info", "json"}, Clock: Clock{NotBefore: config.Date(time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC))}, Metrics: Metrics{Listen: ":9100"}, Page: Page{Local: true}, Admin: Admin{"/var/lib/edge-gw/admin.sock", "0600", "", Roles{[]string{}, []string{}, []string{}, []string{}}},
		Config: Config{Source: "etcd", Dir: filepath.Join(base, "config"), Etcd: Etcd{Endpoints: []string{}, Listen: "unix", Prefix: "/edge/config/v1"},
			Rollback: "auto", Verify: "connect", VerifyTimeout: config.Duration(10 * time.Second)},
		Bus: map[string]any{"ring_pow": int64(16), "pause_hi": 0.8, "resume_lo": 0.6, "wal_dir": "/var/lib/edge-gw/log", "wal_flush_ms": int64(100), "wal_sync_rate": int64(0), "wal_max_bytes": "4G",
			"min_free": "256M", "overflow": "spill", "retain": "1h", "retain_bytes": "1G"},
		ConnectorNames: []string{"mqtt"},
	}
	got := *g
	got.Connectors, got.sources, got.values = nil, sources{}, nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	m := g.Connectors["mqtt"]
	for key, want := range map[string]any{
		"endpoint": "mqtt://127.0.0.1:1883", "client_id": "gw-1", "username": "", "password": "", "topic": "/edge/{tenant}/{device}/data",
		"qos": int64(2), "payload": "json+zstd", "max_frames": int64(32), "max_bytes": int64(1 << 20), "max_interval": "1s", "keepalive": "30s",
		"session_expiry": "1d", "backoff": map[string]any{"base": "500ms", "max": "2m"}, "live_first": false, "timestamp_unit": "ms", "start": "oldest",
		"tls":     map[string]any{"ca": "", "client_cert": "", "client_key": "", "client_key_password": "", "server_name": "", "alpn": []any{}},
		"version": "5", "envelope": "auto", "message_expiry": "0s", "proxy": "", "follow_redirect": false,
		"status": map[string]any{"enable": true, "topic": "/edge/status/{tenant}/{device}", "retain": true},
		"commands": map[string]any{"enable": false, "topic": "/edge/cmd/{tenant}/{device}/#", "reply": "/edge/cmd-result/{tenant}/{device}",
			"reply_below": []any{}, "allow": []any{}, "rate": "10/s", "dedup": "24h"},
	} {
		if !reflect.DeepEqual(m[key], want) {
			t.Errorf("connectors.mqtt.%s: got %#v, want %#v", key, m[key], want)
		}
	}
}

// TestLayers lays every source over the one below it.
func TestLayers(t *testing.T) {
	path := write(t, "gateway_id: gw-1\nbus:\n  wal_flush_ms: 50\n  retain: 2h\n  ring_pow: 17\nconnectors:\n  mqtt: {kind: mqtt5}\n")
	env := []string{"EDGE_GW_BUS_RETAIN=3h", "EDGE_GW_BUS_RING_POW=18", "EDGE_GW_CONNECTORS_MQTT_QOS=1",
		"EDGE_GW_CONFIG_ETCD_ENDPOINTS=10.0.0.1:2379, 10.0.0.2:2379", "EDGE_GW_TENANT=", "PATH=/bin"}
	g, err := Load(path, map[string]string{"bus.ring_pow": "19", "bus.pause_hi": "0.9", "connectors.mqtt.live_first": "true"}, env)
	if err != nil {
		t.Fatal(err)
	}
	g, err = g.WithSettings(map[string]map[string]any{
		"bus":              {"wal_flush_ms": int64(20), "retain": "4h", "overflow": "pause"},
		"connectors.mqtt":  {"max_frames": int64(64), "qos": int64(0), "backoff": map[string]any{"max": "5m"}},
		"connectors.other": {"qos": int64(0)}, // of another gateway under the same tables
	})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]struct {
		value  any
		origin string
	}{
		"bus.wal_flush_ms":             {int64(20), "settings"},
		"bus.overflow":                 {"pause", "settings"},
		"bus.retain":                   {"3h", "EDGE_GW_BUS_RETAIN"},
		"bus.ring_pow":                 {int64(19), "flag"},
		"bus.pause_hi":                 {0.9, "flag"},
		"bus.min_free":                 {"256M", "default"},
		"gateway_id":                   {"gw-1", "gateway.yml:1"},
		"tenant":                       {"default", "default"},
		"config.etcd.endpoints":        {[]any{"10.0.0.1:2379", "10.0.0.2:2379"}, "EDGE_GW_CONFIG_ETCD_ENDPOINTS"},
		"connectors.mqtt.qos":          {int64(1), "EDGE_GW_CONNECTORS_MQTT_QOS"},
		"connectors.mqtt.max_frames":   {int64(64), "settings"},
		"connectors.mqtt.backoff.max":  {"5m", "settings"},
		"connectors.mqtt.backoff.base": {"500ms", "default"},
		"connectors.mqtt.live_first":   {true, "flag"},
		"connectors.mqtt.kind":         {"mqtt5", "gateway.yml:7"},
	} {
		found := false
		for _, v := range g.Values() {
			if v.Key == key {
				found = true
				if !reflect.DeepEqual(v.Value, want.value) {
					t.Errorf("%s: got %#v, want %#v", key, v.Value, want.value)
				}
			}
		}
		if got := g.Origin(key); !found || got != want.origin {
			t.Errorf("%s (listed: %t): from %q, want %q", key, found, got, want.origin)
		}
	}
	if _, ok := g.Connectors["other"]; ok {
		t.Error("settings made a connector")
	}
	if back, err := g.WithSettings(nil); err != nil || back.Bus["wal_flush_ms"] != int64(50) {
		t.Errorf("without settings: %v, %v", back, err)
	}
	if g.Origin("bus.nothing") != "" {
		t.Error("a key that doesn't exist has an origin")
	}
}

func TestPaths(t *testing.T) {
	path := write(t, "gateway_id: g\ndata_dir: data\nsecrets_dir: ../secrets\nconfig: {dir: tables}\n"+
		"connectors:\n  m: {kind: mqtt5, tls: {ca: ca.pem, client_key: \"${file:key}\"}}\n")
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	g, err := Load(path, map[string]string{"config.dir": "here"}, []string{"EDGE_GW_BUS_WAL_DIR=wal"})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	tls, _ := g.Connectors["m"]["tls"].(map[string]any)
	for what, p := range map[string][2]any{
		"data_dir":       {g.DataDir, filepath.Join(dir, "data")},
		"secrets_dir":    {g.SecretsDir, filepath.Join(filepath.Dir(dir), "secrets")},
		"admin.socket":   {g.Admin.Socket, filepath.Join(dir, "data/admin.sock")},
		"config.dir":     {g.Config.Dir, filepath.Join(wd, "here")}, // a flag: the working directory's
		"bus.wal_dir":    {g.WALDir(), filepath.Join(wd, "wal")},
		"tls.ca":         {tls["ca"], filepath.Join(dir, "ca.pem")},
		"tls.client_key": {tls["client_key"], "${file:key}"},
	} {
		if p[0] != p[1] {
			t.Errorf("%s: got %v, want %v", what, p[0], p[1])
		}
	}
}

func TestErrors(t *testing.T) {
	for name, c := range map[string]struct {
		file  string
		flags map[string]string
		env   []string
		want  []string
	}{
		"everything at once": {file: "tenent: x\nbus: {wal_flsh_ms: 3, ring_pow: 40}\nlog: {level: inf}\nmetrics: 5\nadmin: {mode: 600}\n", want: []string{
			"gateway.yml:1:1: error: unknown key tenent; did you mean tenant? (unknown-key)",
			"gateway.yml:1:1: error: key gateway_id is missing (missing-key)",
			"gateway.yml:2:7: error: unknown key wal_flsh_ms; did you mean wal_flush_ms? (unknown-key)",
			"gateway.yml:2:33: error: bus.ring_pow: expected a number from 14 to 22, got 40 (value)",
			"gateway.yml:3:14: error: log.level: expected one of debug, info, warn, error, got \"inf\"; did you mean info? (value)",
			"gateway.yml:4:10: error: metrics: expected a mapping, got 5 (type)",
			"gateway.yml:5:15: error: admin.mode: expected an octal mode in quotes, such as \"0600\", got \"600\" (value)"}},
		"connector": {file: "gateway_id: g\nconnectors:\n  a: {}\n  b: {kind: mqtt5, pasword: x, endpoint: \"mqtt://u:p@h\", qos: 3}\n", want: []string{
			"gateway.yml:3:3: error: key connectors.a.kind is missing (missing-key)",
			"gateway.yml:4:20: error: unknown key pasword; did you mean password? (unknown-key)",
			"gateway.yml:4:42: error: connectors.b.endpoint: expected a broker's URL without credentials, such as mqtt://127.0.0.1:1883 or mqtts://broker:8883, got \"mqtt://…@h\" (value)",
			"gateway.yml:4:63: error: connectors.b.qos: expected a number from 0 to 2, got 3 (value)"}},
		"one word, as a number and as a text": {file: "gateway_id: g\nconnectors:\n  b: {kind: mqtt5, version: 4}\n", want: []string{
			"gateway.yml:3:29: error: connectors.b.version: expected one of 5, 3.1.1, auto, got 4 (value)"}},
		"one client id twice": {file: "gateway_id: g\nconnectors:\n  a: {kind: mqtt5, endpoint: \"mqtt://b:1883\", topic: x}\n  b: {kind: mqtt5, endpoint: \"mqtt://b:1883\", topic: y}\n", want: []string{
			`gateway.yml:4:6: error: connectors.b.client_id: "g" is the client id of connectors.a at the same broker; give one of them another (value)`}},
		"water marks": {file: "gateway_id: g\nbus: {resume_lo: 0.9}\n", want: []string{
			"gateway.yml:2:18: error: bus.resume_lo: expected less than pause_hi (0.8), got 0.9 (value)"}},
		"socket":           {file: "gateway_id: g\ndata_dir: /" + strings.Repeat("d", 120) + "\n", want: []string{"a socket's path can have 107: set admin.socket or a shorter data_dir (value)"}},
		"secret":           {file: "gateway_id: g\ndata_dir: ${env:EDGE_SECRET_X}\n", want: []string{"secrets are not filled in here"}},
		"env":              {file: "gateway_id: g\n", env: []string{"EDGE_GW_BUS_WAL_FLUSH_MS=soon"}, want: []string{"EDGE_GW_BUS_WAL_FLUSH_MS: error: bus.wal_flush_ms: expected a whole number, got \"soon\" (type)"}},
		"flag":             {file: "gateway_id: g\n", flags: map[string]string{"log.level": "loud"}, want: []string{"flag log.level: error: log.level: expected one of debug, info, warn, error, got \"loud\" (value)"}},
		"flag for nothing": {file: "gateway_id: g\n", flags: map[string]string{"log.levl": "info"}, want: []string{"there is no such key; did you mean log.level? (unknown-key)"}},
		"ambiguous variable": {file: "gateway_id: g\nconnectors: {a-b: {kind: mqtt5}, a_b: {kind: mqtt5}}\n", env: []string{"EDGE_GW_CONNECTORS_A_B_QOS=1"},
			want: []string{"EDGE_GW_CONNECTORS_A_B_QOS: error: stands for both connectors.a-b.qos and connectors.a_b.qos; rename one of the connectors (ambiguous)"}},
		"300 years": {file: "gateway_id: g\nbus: {retain: 110000d}\n", want: []string{"gateway.yml:2:15: error: bus.retain: expected a duration of at most 36500d, got \"110000d\" (value)"}},
		"not YAML":  {file: "gateway_id: [\n", want: []string{"gateway.yml:", "not YAML"}},
		"a list":    {file: "- a\n", want: []string{"gateway.yml:1:1: error: expected a mapping, got a list (type)"}},
	} {
		t.Run(name, func(t *testing.T) {
			g, err := Load(write(t, c.file), c.flags, c.env)
			var fs config.Findings
			if g != nil || !errors.As(err, &fs) {
				t.Fatalf("got %v, %v; want findings", g, err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got\n%v\nwithout\n%s", err, want)
				}
			}
			if n := strings.Count(err.Error(), "\n") + 1; n != max(len(c.want), 1) && name != "not YAML" {
				t.Errorf("%d findings:\n%v", n, err)
			}
		})
	}
	_, err := Load(filepath.Join(t.TempDir(), "gateway.yml"), nil, nil)
	if err == nil || !strings.Contains(err.Error(), "gateway.yml: error: cannot be read: no such file or directory") {
		t.Errorf("got %v", err)
	}
}

// TestEmptySections: commenting out all keys of a section leaves its defaults.
func TestEmptySections(t *testing.T) {
	g, err := Load(write(t, "gateway_id: g\nbus:\n#  ring_pow: 17\nlog:\n  level:\nconnectors:\n"), nil, nil)
	if err != nil || g.Bus["ring_pow"] != int64(16) || g.Log.Level != "info" || len(g.Connectors) != 0 {
		t.Errorf("got %+v, %v", g, err)
	}
}

func TestWithoutFile(t *testing.T) {
	g, err := Load("", map[string]string{"gateway_id": "demo", "data_dir": "/tmp/d"}, nil)
	if err != nil || g.GatewayID != "demo" || g.WALDir() != "/tmp/d/log" || g.Origin("gateway_id") != "flag" {
		t.Errorf("got %+v, %v", g, err)
	}
}

func TestWarnings(t *testing.T) {
	g, err := Load(write(t, "gateway_id: g\nconnectors:\n  m: {kind: mqtt5, username: edge, password: hunter2}\n"), nil,
		[]string{"EDGE_GW_BUS_WAL_FLSH_MS=3", "EDGE_GW_SERVICE_HOST=10.0.0.1", "EDGE_GW_CONFIG=gateway.yml"})
	if err != nil {
		t.Fatal(err)
	}
	got := g.Warnings.Error()
	for _, want := range []string{"did you mean EDGE_GW_BUS_WAL_FLUSH_MS?", "gateway.yml:3:46: warning: connectors.m.password: a secret stands here for everyone to read"} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwithout %s", got, want)
		}
	}
	if len(g.Warnings) != 2 {
		t.Errorf("got\n%s", got)
	}
}

// TestPrint: what is printed says the same as what was read, but for secrets.
func TestPrint(t *testing.T) {
	g, err := Load(write(t, "gateway_id: g\nconnectors:\n  a: {kind: mqtt5, password: hunter2}\n  b: {kind: mqtt5, client_id: g-b, password: \"${file:pw}\"}\n  c: {kind: other, x: {y.z: [1]}}\n"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, origin := range []bool{false, true} {
		var buf bytes.Buffer
		if err := g.Print(&buf, origin); err != nil {
			t.Fatal(err)
		}
		text := buf.String()
		if strings.Contains(text, "hunter2") || !strings.Contains(text, "${file:pw}") {
			t.Errorf("secrets:\n%s", text)
		}
		if strings.Contains(text, "# default") != origin || strings.Contains(text, "# gateway.yml:3") != origin {
			t.Errorf("origin %t:\n%s", origin, text)
		}
		var tree map[string]any
		if err := yaml.Unmarshal(buf.Bytes(), &tree); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		again, err := Load(write(t, text), nil, nil)
		if err != nil || !reflect.DeepEqual(again.Bus, g.Bus) || !reflect.DeepEqual(again.Connectors["b"], g.Connectors["b"]) || !reflect.DeepEqual(again.Connectors["c"], g.Connectors["c"]) {
			t.Errorf("the print is not the configuration: %v\n%s", err, text)
		}
	}
}

func TestInit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "plant")
	if err := Init(dir, Starter{}); err != nil {
		t.Fatal(err)
	}
	g, err := Load(filepath.Join(dir, "gateway.yml"), nil, nil)
	if err != nil || len(g.Warnings) != 0 || g.Config.Source != "etcd" {
		t.Fatalf("gateway.yml: %+v, %v", g, err)
	}
	if from := g.Origin("log.format"); from != "default" { // so that a terminal gets text
		t.Errorf("log.format comes from the %s", from)
	}
	s, err := config.LoadDir(g.Config.Dir)
	if err != nil || len(s.Variables) == 0 {
		t.Errorf("tables: %+v, %v", s, err)
	}
	if st, err := os.Stat(g.SecretsDir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("secrets: %v, %v", st, err)
	}
	mine := []byte("gateway_id: mine\n")
	if err := os.WriteFile(filepath.Join(dir, "gateway.yml"), mine, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "config")); err != nil {
		t.Fatal(err)
	}
	if err := Init(dir, Starter{}); err == nil || !strings.Contains(err.Error(), "gateway.yml exists; nothing was written") {
		t.Errorf("got %v", err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "gateway.yml")); err != nil || !bytes.Equal(b, mine) {
		t.Errorf("overwritten: %s, %v", b, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "config")); err == nil {
		t.Error("something was written beside what was there")
	}
}

func TestInitForAPackage(t *testing.T) {
	dir := t.TempDir()
	if err := Init(dir, Starter{GatewayID: "press-7", DataDir: "/var/lib/with space # and more"}); err != nil {
		t.Fatal(err)
	}
	g, err := Load(filepath.Join(dir, "gateway.yml"), nil, nil)
	if err != nil || g.GatewayID != "press-7" || g.DataDir != "/var/lib/with space # and more" {
		t.Errorf("gateway.yml: %+v, %v", g, err)
	}
	if err := Init(t.TempDir(), Starter{GatewayID: "press 7"}); err == nil || !strings.Contains(err.Error(), `expected an id of letters, digits, _ and -, got "press 7"`) {
		t.Errorf("got %v", err)
	}
}

// TestStarterIsTheExample: what init writes is what examples/minimal shows.
func TestStarterIsTheExample(t *testing.T) {
	files, err := StarterFiles()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join("../../../examples/minimal", name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("examples/minimal/%s differs from pkg/config/bootstrap/starter/%s: %v", name, name, err)
		}
	}
}

func FuzzLoad(f *testing.F) {
	files, err := StarterFiles()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(files["gateway.yml"], "EDGE_GW_BUS_RETAIN=3h")
	f.Add([]byte("gateway_id: g\nconnectors: {a: {kind: mqtt5, backoff: {max: 1s}}}\n"), "EDGE_GW_CONNECTORS_A_QOS=1")
	f.Fuzz(func(t *testing.T, src []byte, env string) {
		path := filepath.Join(t.TempDir(), "gateway.yml")
		if err := os.WriteFile(path, src, 0o600); err != nil {
			t.Fatal(err)
		}
		g, err := Load(path, nil, []string{env})
		if err != nil {
			return
		}
		if err := g.Print(&bytes.Buffer{}, true); err != nil {
			t.Error(err)
		}
	})
}

// TestPrintHidesCredentials: an address with a password in it is shown without, whatever
// key it stands in.
func TestPrintHidesCredentials(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gateway.yml")
	text := `gateway_id: gw
config: {etcd: {endpoints: ["http://ann:s3cret@etcd:2379", "etcd-2:2379"]}}
connectors:
  mqtt: {kind: mqtt5, endpoint: "mqtt://b1:1883", proxy: "http://ann:s3cret@p:1"}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	g, err := Load(path, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := g.Print(&out, true); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "s3cret") || !strings.Contains(out.String(), "…@etcd:2379") {
		t.Errorf("printed:\n%s", out.String())
	}
	for _, v := range g.Values() {
		if strings.Contains(fmt.Sprint(v.Value), "s3cret") {
			t.Errorf("%s: %v", v.Key, v.Value)
		}
	}
}
