//go:build linux

// Package plugins runs the example drivers as their authors would: each is a module of its own,
// built to one file, installed, and used from the tables of a real gateway.
package plugins

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/driver/dyn"
	"github.com/edge-gateway/edge-gateway/pkg/driver/dyn/dyntest"
	"github.com/edge-gateway/edge-gateway/pkg/lint"
	"github.com/edge-gateway/edge-gateway/test/peer"
)

const patience = time.Minute

func TestMain(m *testing.M) {
	code := m.Run()
	peer.Cleanup()
	os.Exit(code)
}

// install builds an example and installs it.
func install(t *testing.T, dir, name string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	build := exec.Command("go", "build", "-o", path, ".")
	build.Dir = filepath.Join("../../examples/drivers", name)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	dyntest.Install(t, dir, name, path)
}

// tables has the driver of an example, and a Modbus driver beside it.
func tables(plc, cfg string, tags ...string) map[string]string {
	host, port, _ := strings.Cut(plc, ":")
	var vars strings.Builder
	for i, tag := range tags {
		fmt.Fprintf(&vars, "- {tag: %s, driver_id: made_up, access: R, address: {plugin: {from: %d, to: %d}}, datatype: float64, scale: value * 2}\n", tag, 10*i, 10*i+1)
	}
	vars.WriteString("- {tag: beside, driver_id: plc, access: R, address: {type: holding, addr: 1}, datatype: uint16}\n")
	return map[string]string{
		"endpoints.yml": fmt.Sprintf("plc: {scheme: tcp, host: %s, port: %s}\nnowhere: {scheme: tcp, host: 127.0.0.1, port: 9}\n", host, port),
		"drivers.yml": fmt.Sprintf("plc: {kind: static, endpoint_id: plc, proto: modbus, cfg: {unit_id: 1, polling: 50ms}}\n"+
			"made_up: {kind: dyn, path: random, endpoint_id: nowhere, proto: random, cfg: {polling: 50ms%s}}\n", cfg),
		"variables.yml": vars.String(),
	}
}

// process is that of a driver under a gateway; 0: none.
func process(t *testing.T, id string) int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		env, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if pid, no := strconv.Atoi(e.Name()); err == nil && no == nil && bytes.Contains(env, []byte("EDGE_GW_DRIVER_ID="+id+"\x00")) {
			return pid
		}
	}
	return 0
}

// TestRandom is the way of a driver that somebody else wrote: lint, run, hot apply, a crash,
// and the end of the gateway.
func TestRandom(t *testing.T) {
	dir := dyntest.Dir(t)
	plc := peer.StartPLC(t, peer.FreeAddr(t))
	t.Cleanup(plc.Stop)
	addr := plc.Addr
	tabs := tables(addr, "", "a", "b")
	gw := peer.NewGateway(t, fmt.Sprintf("drivers_dir: %s\nbus: {wal_flush_ms: 20}\n", dir), tabs)

	t.Setenv(dyn.DirVariable, dir)
	config := filepath.Join(gw.Dir, "config")
	said := func() string { return lint.Paths(config).Findings.Error() }
	if got := said(); !strings.Contains(got, "is not installed here") {
		t.Errorf("lint without the driver: %s", got)
	}
	install(t, dir, "random")
	if got := said(); got != "" && strings.Contains(got, "plugin") {
		t.Errorf("lint: %s", got)
	}
	gw.WriteFile(t, "config/drivers.yml", strings.Replace(tabs["drivers.yml"], "polling: 50ms}}\n", "pollign: 50ms}}\n", 2))
	gw.WriteFile(t, "config/variables.yml", strings.Replace(tabs["variables.yml"], "from: 0", "from: zero", 1))
	if got := said(); !strings.Contains(got, "cfg.pollign") || !strings.Contains(got, "address.from: expected number") {
		t.Errorf("lint of what the driver does not take: %s", got)
	}
	for name, text := range tabs {
		gw.WriteFile(t, "config/"+name, text)
	}

	metric := func(name string) float64 {
		v, _ := gw.Metric(name)
		return v
	}
	gw.Start(t)
	gw.WaitReady(t)
	peer.WaitFor(t, patience, "polls of both drivers", func() bool {
		return metric(`driver_polls_total{driver_id="made_up"}`) > 5 && metric(`driver_polls_total{driver_id="plc"}`) > 5
	})
	if bad := metric(`driver_bad_points{driver_id="made_up"}`); bad != 0 {
		t.Errorf("%v points are bad", bad)
	}
	first := process(t, "made_up")

	gw.WriteFile(t, "config/variables.yml", tables(addr, "", "a", "b", "c")["variables.yml"])
	peer.WaitFor(t, patience, "the third tag", func() bool { return metric(`driver_points{driver_id="made_up"}`) == 3 })
	if now := process(t, "made_up"); first == 0 || now != first {
		t.Errorf("process %d, and %d after a variable came", first, now)
	}

	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	peer.WaitFor(t, patience, "another process", func() bool {
		now := process(t, "made_up")
		return now != 0 && now != first && metric(`driver_state{driver_id="made_up",state="running"}`) == 1
	})
	if errors := metric(`driver_poll_errors_total{driver_id="plc"}`); errors != 0 {
		t.Errorf("the driver beside it had %v errors", errors)
	}

	last := process(t, "made_up")
	gw.Kill(t)
	peer.WaitFor(t, patience, "the end of the driver with the gateway's", func() bool { return process(t, "made_up") != last })
}
