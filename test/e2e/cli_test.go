package e2e

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/peer"
)

// run runs a command of the product and returns its standard output.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(peer.Build(t, name), args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}

// decode runs a command with -o json and decodes its output.
func decode[T any](t *testing.T, name string, args ...string) T {
	t.Helper()
	var v T
	out := run(t, name, append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return v
}

// TestToolsSeeTheGateway runs the tools against a real gateway: what they show is
// what the PLC holds and the broker got, and what edge-ctl writes arrives in the
// PLC.
func TestToolsSeeTheGateway(t *testing.T) {
	t.Parallel()
	plc := peer.StartPLC(t, "")
	broker := peer.StartMosquitto(t)
	sub := peer.Subscribe(t, broker.Addr, "tools", topic)
	tab := tables(plc.Addr, 3, "50ms")
	tab["drivers.yml"] = strings.Replace(tab["drivers.yml"], "unit_id: 1", "unit_id: 1, enable_write: true", 1)
	tab["variables.yml"] += `- tag: line.setpoint
  driver_id: line
  access: W
  address: {type: holding, addr: 41001}
  datatype: uint16
  scale: value / 10
`
	gw := peer.NewGateway(t, connector(broker.URL(), ""), tab)
	if out := run(t, "edge-cfg", "lint", filepath.Join(gw.Dir, "config")); out != "" && !strings.Contains(out, "OK") {
		t.Errorf("edge-cfg lint says: %s", out)
	}
	gw.Start(t)
	gw.WaitReady(t)
	peer.WaitFor(t, 10*time.Second, "the first frames", func() bool { return sub.Count() >= 50 })
	socket := []string{"--socket", gw.Socket()}

	status := decode[struct {
		Gateway, State string
		Problems       []any
	}](t, "edge-ctl", append(socket, "status")...)
	if status.Gateway != "gw-test" || status.State != "running" || len(status.Problems) != 0 {
		t.Errorf("edge-ctl status: %+v", status)
	}
	drivers := decode[[]struct {
		ID, State string
		Points    int
		Polls     uint64
	}](t, "edge-ctl", append(socket, "drivers")...)
	if len(drivers) != 1 || drivers[0].ID != "line" || drivers[0].State != "running" || drivers[0].Points != 4 || drivers[0].Polls == 0 {
		t.Errorf("edge-ctl drivers: %+v", drivers)
	}
	endpoints := decode[[]struct{ ID, URL, State string }](t, "edge-ctl", append(socket, "endpoints")...)
	if len(endpoints) != 1 || endpoints[0].State != "up" || !strings.Contains(endpoints[0].URL, plc.Addr) {
		t.Errorf("edge-ctl endpoints: %+v", endpoints)
	}
	tags := decode[[]struct {
		Tag, Quality string
		Value        any
	}](t, "edge-ctl", append(socket, "tags", "line.r*")...)
	if len(tags) != 3 || tags[0].Tag != tag(0) || tags[0].Quality != "good" {
		t.Errorf("edge-ctl tags: %+v", tags)
	}
	stats := decode[struct {
		Epoch      string
		LastSeq    uint64 `json:"last_seq"`
		DurableSeq uint64 `json:"durable_seq"`
		Consumers  []struct{ Name string }
	}](t, "edge-bus", append(socket, "stats")...)
	if stats.Epoch == "" || stats.DurableSeq == 0 || len(stats.Consumers) != 1 || stats.Consumers[0].Name != "mqtt" {
		t.Errorf("edge-bus stats: %+v", stats)
	}

	run(t, "edge-ctl", append(socket, "write", "line.setpoint", "12.3", "-y")...)
	if served := plc.Register(peer.Still); served != 123 {
		t.Errorf("the PLC holds %d after a write of 12.3 at scale value / 10; want 123", served)
	}
	if _, code := gw.Stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	offline := decode[struct {
		Epoch   string
		LastSeq uint64 `json:"last_seq"`
	}](t, "edge-bus", "--wal-dir", filepath.Join(gw.Dir, "data", "log"), "stats")
	if offline.Epoch != stats.Epoch || offline.LastSeq < stats.LastSeq {
		t.Errorf("edge-bus stats of the stopped gateway: %+v; the running one said %+v", offline, stats)
	}
}
