package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/config"
	"github.com/edge-gateway/edge-gateway/pkg/config/bootstrap"
)

// plantDir makes the files of a small gateway; text is added to gateway.yml.
func plantDir(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"gateway.yml":          "gateway_id: gw-check\ndata_dir: ./data\nmetrics: {listen: \"\"}\nconfig: {source: dir, dir: ./tables}\n" + text,
		"tables/endpoints.yml": "plc: {scheme: tcp, host: 127.0.0.1, port: 1}\n", "tables/variables.yml": "[]\n",
		"tables/drivers.yml": "d: {kind: static, proto: modbus, endpoint_id: plc, cfg: {unit_id: 1, polling: 1s}}\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// checked returns what edge-gw config check says of a file with the given keys set.
func checked(t *testing.T, file string, set map[string]string) (*bootstrap.Gateway, error) {
	t.Helper()
	cfg, err := bootstrap.Load(file, set, nil)
	if err != nil {
		return nil, err
	}
	return cfg, Check(t.Context(), cfg).Err()
}

// started starts a gateway up to where its connectors run, and stops it.
func started(t *testing.T, file string, set map[string]string) error {
	t.Helper()
	cfg, err := bootstrap.Load(file, set, nil)
	if err != nil {
		return err
	}
	g, err := Open(cfg, Options{Log: slog.New(slog.DiscardHandler), Level: new(slog.LevelVar)})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	for g.state.Load() == "starting" {
		select {
		case err := <-done:
			cancel()
			return err
		case <-time.After(time.Millisecond): // the state is not announced
		}
	}
	cancel()
	return <-done
}

// TestCheckAndStartAgree feeds every setting its bounds and what lies just beyond, as
// the schema has them, to the check and to a start.
func TestCheckAndStartAgree(t *testing.T) {
	t.Parallel()
	dir := plantDir(t, "connectors: {mqtt: {kind: mqtt5, endpoint: \"mqtt://127.0.0.1:1\"}}\n")
	file := filepath.Join(dir, "gateway.yml")
	tree := map[string]any{"connectors": map[string]any{"mqtt": map[string]any{"kind": "mqtt5"}}}
	together := map[string]string{ // settings that bound each other
		"connectors.mqtt.backoff.base": "connectors.mqtt.backoff.max=1d", "connectors.mqtt.backoff.max": "connectors.mqtt.backoff.base=1ms",
	}
	tried, refused, n := 0, 0, 0
	for _, f := range config.Fields("gateway", tree) {
		for _, c := range boundary(&f) {
			n++
			set := map[string]string{f.Key(): c.text}
			if other, value, ok := strings.Cut(together[f.Key()], "="); ok {
				set[other] = value
			}
			if f.Key() != "data_dir" { // each start has a log of its own
				set["data_dir"] = filepath.Join(dir, fmt.Sprint("d", n))
			}
			_, checkErr := checked(t, file, set)
			startErr := started(t, file, set)
			tried++
			if checkErr != nil {
				refused++
			}
			if (checkErr == nil) != (startErr == nil) {
				t.Errorf("%s = %q: the check says %v, the start %v", f.Key(), c.text, checkErr, startErr)
			}
			if c.out && checkErr == nil {
				t.Errorf("%s = %q lies beyond its bounds and is accepted", f.Key(), c.text)
			}
			if c.in && checkErr != nil {
				t.Errorf("%s = %q lies within its bounds: %v", f.Key(), c.text, checkErr)
			}
		}
	}
	if tried < 120 || refused < 30 {
		t.Errorf("%d values were tried and %d refused; the schema has more", tried, refused)
	}
}

// probe is a value to try; in and out say what the schema promises.
type probe struct {
	text    string
	in, out bool
}

// boundary returns values on the edge of what a setting allows.
func boundary(f *config.Field) []probe {
	own := map[string]bool{"data_dir": true, "bus.wal_dir": true, "admin.socket": true, "config.dir": true, "secrets_dir": true, "config.source": true, "config.etcd.listen": true}
	if own[f.Key()] { // places; see TestCheckOfPlaces
		return nil
	}
	var out []probe
	add := func(v any, step int64, outside bool) {
		text := fmt.Sprint(v)
		if d, err := config.ParseDuration(text); err == nil && strings.ContainsAny(text, "smhd") {
			out = append(out, probe{text: text, in: true}, probe{text: (d + config.Duration(step)).String(), out: true})
			return
		}
		if s, err := config.ParseSize(text); err == nil {
			if n := int64(s) + step; n >= 0 {
				out = append(out, probe{text: fmt.Sprint(n), out: true})
			}
			out = append(out, probe{text: text, in: !outside, out: outside})
			return
		}
		out = append(out, probe{text: text, out: outside}, probe{text: fmt.Sprint(v.(float64) + float64(step)), out: true})
	}
	if f.Min != nil {
		add(f.Min, -1, f.MinOut)
	}
	if f.Max != nil {
		add(f.Max, 1, f.MaxOut)
	}
	if f.MaxLen > 0 {
		out = append(out, probe{text: strings.Repeat("x", f.MaxLen+1), out: true})
	}
	for _, e := range f.Enum {
		out = append(out, probe{text: e})
	}
	if len(f.Enum) > 0 {
		out = append(out, probe{text: "none-of-these", out: true})
	}
	switch {
	case slices.Contains(f.Types, "array"):
		out = append(out, probe{text: "[a"}, probe{text: "a,b"}, probe{text: "http://x:1"}, probe{text: "::"})
	case slices.Contains(f.Types, "boolean"):
		out = append(out, probe{text: "true"}, probe{text: "maybe", out: true})
	case f.Default != nil && f.Min == nil && len(f.Enum) == 0:
		for _, text := range []string{"${file:nope}", "x{y}", "a/#/b", "ü\x00", "not a host:1", "9999999999999999999/s", "999999d"} {
			out = append(out, probe{text: text})
		}
	}
	return out
}

// TestCheckRefusesWhatEndsTheStart names what was found in the field, and what needs
// two settings to be wrong.
func TestCheckRefusesWhatEndsTheStart(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"session expiry", "connectors: {m: {kind: mqtt5, session_expiry: 0s}}", "gateway.yml:5:47: error: connectors.m.session_expiry: expected a duration from 1s to 36500d, got \"0s\""},
		{"keepalive", "connectors: {m: {kind: mqtt5, keepalive: 20h}}", "expected a duration from 1s to 65535s"},
		{"backoff", "connectors: {m: {kind: mqtt5, backoff: {base: 5m}}}", "gateway.yml:5:47: error: connectors.m.backoff.base"},
		{"interval", "connectors: {m: {kind: mqtt5, max_interval: 2h}}", "expected a duration from 1ms to 1h"},
		{"bytes", "connectors: {m: {kind: mqtt5, max_bytes: 100}}", "expected a size from 1024 to 268435455"},
		{"half a pair", "connectors: {m: {kind: mqtt5, tls: {client_cert: c.pem}}}", "client_cert and client_key go together"},
		{"glob", "connectors: {m: {kind: mqtt5, commands: {allow: ['[a']}}}", "is not a glob"},
		{"dedup", "connectors: {m: {kind: mqtt5, commands: {dedup: 0s}}}", "expected a duration from 1s to 365d"},
		{"filter", "connectors: {m: {kind: mqtt5, commands: {topic: 'a/#/b'}}}", "expected a topic filter"},
		{"log", "bus: {wal_max_bytes: 64K}", "expected a size of at least 1M"},
		{"resume", "bus: {resume_lo: 0}", "resume_lo"},
		{"kind", "connectors: {m: {kind: mqtt, endpoint: 'mqtt://h'}}", "not built in"},
		{"group", "admin: {group: no-such-group}", "no-such-group"},
		{"socket", "admin: {socket: gateway.yml/x.sock}", "is not a directory"},
		{"log's place", "bus: {wal_dir: gateway.yml}", "is not a directory"},
		{"two at one broker", "connectors: {a: {kind: mqtt5}, b: {kind: mqtt5}}", "give one of them another"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(plantDir(t, c.text+"\n"), "gateway.yml")
			_, err := checked(t, file, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("check: %v; want %q", err, c.want)
			}
			if err := started(t, file, nil); err == nil {
				t.Error("it starts")
			}
		})
	}
}

// TestCheckRefusesEtcdSettings is for those that only a gateway with etcd uses.
func TestCheckRefusesEtcdSettings(t *testing.T) {
	for set, want := range map[string]string{
		"config.etcd.password=${file:nope}": "nope", "config.etcd.tls.client_key=k.pem": "client_cert",
		"config.etcd.endpoints=::": "HOST:PORT", "config.etcd.listen=x:70000": "listen",
	} {
		key, value, _ := strings.Cut(set, "=")
		file := filepath.Join(plantDir(t, ""), "gateway.yml")
		flags := map[string]string{"config.source": "etcd", key: value}
		if _, err := checked(t, file, flags); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", set, err, want)
		}
		if err := started(t, file, flags); err == nil {
			t.Errorf("%s: it starts", set)
		}
	}
}

// TestCheckLooksAround: what is missing but may come later is a warning, to the check
// and to the start.
func TestCheckLooksAround(t *testing.T) {
	file := filepath.Join(plantDir(t, `connectors: {m: {kind: mqtt5, password: "${file:nope}", topic: $SYS/x, tls: {ca: nope.pem}}}
bus: {min_free: 900000G}
`), "gateway.yml")
	cfg, err := checked(t, file, nil)
	if err != nil {
		t.Fatal(err)
	}
	found := Check(t.Context(), cfg)
	text := found.Error()
	for _, want := range []string{"connectors.m.password", "connectors.m.tls.ca: nothing is encrypted", "connectors.m.topic", "bus.min_free"} {
		if !strings.Contains(text, want) {
			t.Errorf("nothing of %s in:\n%s", want, text)
		}
	}
	if _, err := os.Stat(cfg.DataDir); err == nil {
		t.Error("the check has made data_dir")
	}
	if err := started(t, file, nil); err != nil { // and waits for room on the disk
		t.Errorf("it does not start: %v", err)
	}
}

// TestCheckReadsTables: with config.source dir the tables can end the start too.
func TestCheckReadsTables(t *testing.T) {
	dir := plantDir(t, "")
	file := filepath.Join(dir, "gateway.yml")
	if err := os.WriteFile(filepath.Join(dir, "tables/drivers.yml"), []byte("d: {kind: static, proto: bacnet, endpoint_id: plc, cfg: {}}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := checked(t, file, nil); err == nil || !strings.Contains(err.Error(), "bacnet") {
		t.Errorf("a driver that is not built in: %v", err)
	}
	if err := started(t, file, nil); err == nil {
		t.Error("it starts")
	}
}
