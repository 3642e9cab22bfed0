package docs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/test/peer"
)

func TestMain(m *testing.M) {
	code := m.Run()
	peer.Cleanup()
	os.Exit(code)
}

// runnable finds a block of shell that is run, or says why it isn't.
var runnable = regexp.MustCompile("(?ms)^<!-- (run|shown)(?:: ([^\n]*))? -->\n```\n(.*?)^```$")

// TestTroubleshootingRuns runs each block of docs/troubleshooting.md on a gateway with its
// own configuration center, a device that refuses one address, and a broker.
func TestTroubleshootingRuns(t *testing.T) {
	page, err := os.ReadFile("../../docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := runnable.FindAllStringSubmatch(string(page), -1)
	if all := blockOf.FindAllString(string(page), -1); len(blocks) != len(all) {
		t.Errorf("%d of %d blocks say whether they are run", len(blocks), len(all))
	}
	g := plant(t)
	for _, b := range blocks {
		if b[1] == "shown" {
			continue
		}
		codes := []int{0}
		if b[2] == "0 or 1" {
			codes = append(codes, 1)
		}
		for line := range strings.Lines(b[3]) {
			if out, code := g.sh(t, line); !slices.Contains(codes, code) {
				t.Errorf("%sexit code %d\n%s", line, code, out)
			}
		}
	}
}

// workplace is a directory with a gateway that runs, as an operator has it.
type workplace struct {
	*peer.Gateway
	env []string
}

func plant(t *testing.T) workplace {
	t.Helper()
	device, broker := peer.StartPLC(t, ""), peer.StartMosquitto(t)
	host, port, _ := strings.Cut(device.Addr, ":")
	g := peer.NewGateway(t, fmt.Sprintf("connectors: {mqtt: {kind: mqtt5, endpoint: %q}}\n", broker.URL()), map[string]string{
		"endpoints.yml": fmt.Sprintf("line1: {scheme: tcp, host: %s, port: %s, opts: {timeout: 5s}}\n", host, port),
		"drivers.yml":   "line1: {kind: static, endpoint_id: line1, proto: modbus, cfg: {unit_id: 1, polling: 1s}}\n",
		"variables.yml": "- {tag: line1.counter, driver_id: line1, access: R, address: {type: holding, addr: 40001}, datatype: uint16}\n" +
			"- {tag: line1.temperature, driver_id: line1, access: R, address: {type: holding, addr: 40011}, datatype: int16, scale: value / 10}\n" +
			"- {tag: line1.refused, driver_id: line1, access: R, address: {type: coil, addr: 7}, datatype: bool}\n",
	})
	text, err := os.ReadFile(filepath.Join(g.Dir, "gateway.yml"))
	if err != nil {
		t.Fatal(err)
	}
	g.WriteFile(t, "gateway.yml", strings.Replace(string(text), "{source: dir, dir: ./config}", "{source: etcd, dir: ./config}", 1))
	dir := ""
	for _, name := range []string{"edge-cfg", "edge-bus", "edge-ctl"} {
		dir = filepath.Dir(peer.Build(t, name))
	}
	g.Start(t)
	g.WaitReady(t)
	return workplace{g, append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "HOME="+g.Dir, "EDGE_CTL_SOCKET="+g.Socket(),
		"EDGE_BUS_SOCKET="+g.Socket(), "EDGE_CFG_ENDPOINTS=unix:"+filepath.Join(g.Dir, "data", "etcd.sock"))}
}

// sh runs a line of shell.
func (w workplace) sh(t *testing.T, line string) (out string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", line)
	cmd.Dir, cmd.Env = w.Dir, w.env
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return string(text), exit.ExitCode()
	case err != nil:
		t.Fatalf("%s: %v", line, err)
	}
	return string(text), 0
}
