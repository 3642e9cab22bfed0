package e2e

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/peer"
)

// TestRefusals holds what edge-gw says, and with which exit code, about each kind
// of start that cannot work.
func TestRefusals(t *testing.T) {
	good := tables("127.0.0.1:1", 2, "1s")
	with := func(name, text string) map[string]string {
		m := map[string]string{}
		for k, v := range good {
			m[k] = v
		}
		m[name] = text
		return m
	}
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()

	cases := []struct {
		name   string
		extra  string            // of gateway.yml
		tables map[string]string // nil: good
		break_ func(g *peer.Gateway)
		args   []string
		want   []string // all must be in the output
		code   int
	}{
		{name: "no config", break_: func(g *peer.Gateway) { must(t, os.Remove(filepath.Join(g.Dir, "gateway.yml"))) },
			want: []string{"gateway.yml", "no such file"}, code: 1},
		{name: "config is a directory", break_: func(g *peer.Gateway) {
			must(t, os.Remove(filepath.Join(g.Dir, "gateway.yml")))
			must(t, os.Mkdir(filepath.Join(g.Dir, "gateway.yml"), 0o700))
		}, want: []string{"gateway.yml", "directory"}, code: 1},
		{name: "unknown key", extra: "bus: {wal_flush: 10}\n", want: []string{"gateway.yml:8:", "wal_flush", "wal_flush_ms"}, code: 1},
		{name: "wrong type", extra: "bus: {ring_pow: big}\n", want: []string{"gateway.yml:8:", "ring_pow", "big"}, code: 1},
		{name: "not YAML", extra: "bus: {ring_pow: [\n", want: []string{"gateway.yml:"}, code: 1},
		{name: "duplicate tag", tables: with("variables.yml", good["variables.yml"]+good["variables.yml"]),
			want: []string{"variables.yml:15:", "line.r0000", "first at line 1"}, code: 1},
		{name: "driver missing", tables: with("drivers.yml", strings.Replace(good["drivers.yml"], "line:", "lime:", 1)),
			want: []string{"variables.yml:2:", "there is no driver line", "did you mean lime?"}, code: 1},
		{name: "endpoint missing", tables: with("drivers.yml", strings.Replace(good["drivers.yml"], "endpoint_id: plc", "endpoint_id: plx", 1)),
			want: []string{"drivers.yml:3:", "there is no endpoint plx", "did you mean plc?"}, code: 1},
		{name: "metrics port in use", args: []string{"--metrics-listen", busy.Addr().String()},
			want: []string{"metrics.listen", busy.Addr().String(), "in use"}, code: 1},
		{name: "wrong flag", args: []string{"--no-such-flag"}, want: []string{"--no-such-flag"}, code: 64},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			tab := c.tables
			if tab == nil {
				tab = good
			}
			gw := peer.NewGateway(t, c.extra, tab)
			if c.break_ != nil {
				c.break_(gw)
			}
			gw.Start(t, c.args...)
			code := gw.Wait(t, 10*time.Second)
			out := gw.Output()
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, w := range c.want {
				if !strings.Contains(out, w) {
					t.Errorf("output lacks %q:\n%s", w, out)
				}
			}
			if strings.Contains(out, "panic") || strings.Contains(out, "goroutine ") {
				t.Errorf("it panicked:\n%s", out)
			}
		})
	}
}

// TestDataDirLocked starts a second gateway on the data directory of a running
// one, with the same port for metrics: the directory is what is told.
func TestDataDirLocked(t *testing.T) {
	first := peer.NewGateway(t, "", tables("127.0.0.1:1", 2, "1s"))
	first.Start(t)
	peer.WaitFor(t, 10*time.Second, "the first gateway", func() bool {
		_, ok := first.Metric("cfg_revision_current")
		return ok
	})
	second := peer.NewGateway(t, "", tables("127.0.0.1:1", 2, "1s"))
	second.Start(t, "--data-dir", filepath.Join(first.Dir, "data"), "--metrics-listen", first.Metrics)
	if code := second.Wait(t, 10*time.Second); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	for _, w := range []string{filepath.Join(first.Dir, "data"), "a gateway that runs uses it; stop that one"} {
		if !strings.Contains(second.Output(), w) {
			t.Errorf("output lacks %q:\n%s", w, second.Output())
		}
	}
	if _, code := first.Stop(t); code != 0 {
		t.Errorf("the first gateway ended with %d", code)
	}
}

// TestNobodyThere starts a gateway whose broker and PLC are both unreachable: it
// runs, says so, tries again, and stops cleanly.
func TestNobodyThere(t *testing.T) {
	plc, broker := peer.FreeAddr(t), peer.FreeAddr(t)
	gw := peer.NewGateway(t, connector("mqtt://"+broker, ""), tables(plc, 2, "100ms"))
	gw.Start(t)
	peer.WaitFor(t, 15*time.Second, "both to be reported", func() bool {
		out := gw.Output()
		return strings.Contains(out, plc) && strings.Contains(out, broker)
	})
	peer.WaitFor(t, 15*time.Second, "a retry", func() bool {
		n, ok := gw.Metric("mqtt_retry_total")
		return ok && n >= 2
	})
	if took, code := gw.Stop(t); code != 0 || took > 5*time.Second {
		t.Errorf("stopped in %s with %d; want within 5 s with 0", took, code)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestConfigCheckSeesTopics: what a connector would refuse at the start, the check
// refuses before it, with its place.
func TestConfigCheckSeesTopics(t *testing.T) {
	gw := peer.NewGateway(t, "connectors: {mqtt: {kind: mqtt5, topic: \"/edge/{line}\"}}\n", tables("127.0.0.1:1", 2, "1s"))
	file := filepath.Join(gw.Dir, "gateway.yml")
	out, err := exec.CommandContext(t.Context(), gw.Bin, "config", "check", "--config", file).CombinedOutput()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), file+":8:") ||
		!strings.Contains(string(out), "nothing fills in {line}") {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = exec.CommandContext(t.Context(), gw.Bin, "config", "check", "--config", file, "--set", "connectors.mqtt.topic=/edge/{device}").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "OK") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestBrokenTablesAtFirstStart: a gateway whose etcd is empty and whose tables are
// broken runs nothing, says why, is not ready, and goes on when they are mended.
func TestBrokenTablesAtFirstStart(t *testing.T) {
	t.Parallel()
	tab := tables("127.0.0.1:1", 2, "1s")
	good := tab["drivers.yml"]
	tab["drivers.yml"] = strings.Replace(good, "kind:", "knd:", 1)
	gw := peer.NewGateway(t, "", tab)
	gw.Start(t, "--set", "config.source=etcd")
	peer.WaitFor(t, 15*time.Second, "the status to say why", func() bool {
		out, err := exec.CommandContext(t.Context(), peer.Build(t, "edge-ctl"), "--socket", gw.Socket(), "status").CombinedOutput()
		return err == nil && strings.Contains(string(out), "config waiting: no configuration runs yet: ") && strings.Contains(string(out), "unknown key knd")
	})
	answer, err := http.Get("http://" + gw.Metrics + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(text), "no configuration runs yet") {
		t.Errorf("readyz: %s %s %v", answer.Status, text, err)
	}
	gw.WriteFile(t, "config/drivers.yml", good)
	peer.WaitFor(t, 20*time.Second, "the mended tables to run", func() bool {
		n, ok := gw.Metric("cfg_revision_current")
		return ok && n > 0
	})
}
