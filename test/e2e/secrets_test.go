package e2e

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/peer"
)

// TestSecretsStayInside plants secrets in every place that takes one and looks for
// them in everything that comes out: each answer of the admin API, each file of a
// support archive, the log at its most talkative, the metrics.
func TestSecretsStayInside(t *testing.T) {
	const planted = "PLANTED-"
	t.Setenv("EDGE_SECRET_PLC", planted+"environment")
	plc := peer.StartPLC(t, "")
	broker := peer.StartMosquitto(t)
	tab := tables(plc.Addr, 2, "50ms")
	tab["endpoints.yml"] = strings.Replace(tab["endpoints.yml"], "{timeout: 1s}", "{timeout: 1s, username: maint, password: "+planted+"literal}", 1) +
		"other:\n  scheme: tcp\n  host: 127.0.0.1\n  port: 9\n  opts: {username: maint, password: \"${env:EDGE_SECRET_PLC}\"}\n"
	tab["drivers.yml"] += "other:\n  kind: static\n  endpoint_id: other\n  proto: modbus\n  cfg: {unit_id: 1, polling: 100ms}\n"
	tab["variables.yml"] += "- {tag: other.a, driver_id: other, access: R, address: {type: holding, addr: 40001}, datatype: uint16}\n"
	gw := peer.NewGateway(t, "log: {level: debug}\n"+connector(broker.URL(), `    username: edge
    password: ${file:mqtt_password}
`)+`  second:
    kind: mqtt5
    endpoint: mqtt://127.0.0.1:9
    client_id: second
    topic: /x
    username: edge
    password: `+planted+`broker
`, tab)
	if err := os.MkdirAll(filepath.Join(gw.Dir, "secrets"), 0o700); err != nil {
		t.Fatal(err)
	}
	gw.WriteFile(t, "secrets/mqtt_password", planted+"file\n")
	gw.Start(t)
	peer.WaitFor(t, 10*time.Second, "the gateway", func() bool {
		return exec.Command(peer.Build(t, "edge-ctl"), "--socket", gw.Socket(), "read", tag(0)).Run() == nil
	})
	look := func(where, text string) {
		t.Helper()
		if at := strings.Index(text, planted); at >= 0 {
			t.Errorf("%s shows a secret: …%s…", where, text[max(0, at-80):min(len(text), at+40)])
		}
	}
	for _, args := range []string{
		"status", "endpoints", "drivers", "tags", "connector", "connector mqtt stats", "connector mqtt test", "connector second test",
		"connector second reconnect", "config status", "config history", "config reload", "drivers restart other", "drivers diag line",
		"read other.a --live", "probe plc", "probe other", "log level debug", "version",
	} {
		cmd := exec.Command(peer.Build(t, "edge-ctl"), append([]string{"--socket", gw.Socket()}, strings.Fields(args)...)...)
		out, err := cmd.CombinedOutput() // some of these must fail
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		look("edge-ctl "+args, string(out))
	}
	run(t, "edge-ctl", "--socket", gw.Socket(), "bundle", filepath.Join(gw.Dir, "bundle.tar.gz"))
	files := untar(t, filepath.Join(gw.Dir, "bundle.tar.gz"))
	for name, data := range files {
		look("bundle: "+name, data)
	}
	for _, name := range []string{"status.json", "endpoints.json", "drivers.json", "tags.json", "bus.json", "connectors.json", "config.json",
		"metrics.txt", "goroutines.txt", "files/gateway.yml", "files/tables.json", "files/log.txt"} {
		if files["edge-gateway/"+name] == "" {
			t.Errorf("the bundle has no %s, or an empty one", name)
		}
	}
	if _, code := gw.Stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	look("the log", gw.Output())
}

// untar returns the files of a gzipped archive.
func untar(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = string(data)
	}
}
