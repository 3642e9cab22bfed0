package peer

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/edge-gateway/edge-gateway/pkg/logtest"
	"github.com/edge-gateway/edge-gateway/test/faults"
)

// Gateway is edge-gw as a child process.
type Gateway struct {
	Dir     string // holds gateway.yml, config/ and data/
	Metrics string // HOST:PORT of /metrics
	Bin     string

	cmd  *exec.Cmd
	out  logtest.Buffer
	done chan struct{}
	peak float64 // of the runs that have ended
}

// Build builds the named command once per test process and returns its path.
func Build(t testing.TB, name string) string {
	t.Helper()
	builds.mu.Lock()
	defer builds.mu.Unlock()
	if path, ok := builds.paths[name]; ok {
		return path
	}
	if builds.dir == "" {
		dir, err := os.MkdirTemp("", "edge-gateway-test-*")
		if err != nil {
			t.Fatal(err)
		}
		builds.dir, builds.paths = dir, map[string]string{}
	}
	path := filepath.Join(builds.dir, name)
	out, err := exec.Command("go", "build", "-o", path, "github.com/edge-gateway/edge-gateway/cmd/"+name).CombinedOutput()
	if err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	builds.paths[name] = path
	return path
}

// builds remembers what this test process has built.
var builds struct {
	mu    sync.Mutex
	dir   string
	paths map[string]string
}

// Cleanup removes what Build made; call it at the end of TestMain.
func Cleanup() {
	builds.mu.Lock()
	defer builds.mu.Unlock()
	if builds.dir != "" {
		_ = os.RemoveAll(builds.dir) // in the temporary directory anyway
		builds.dir, builds.paths = "", nil
	}
}

// NewGateway writes a gateway's directory: gateway.yml with the given extra YAML
// (bus:, connectors:, …) and the tables by file name. Nothing is started.
func NewGateway(t testing.TB, extra string, tables map[string]string) *Gateway {
	t.Helper()
	g := &Gateway{Dir: t.TempDir(), Metrics: FreeAddr(t), Bin: Build(t, "edge-gw")}
	g.WriteFile(t, "gateway.yml", fmt.Sprintf(`gateway_id: gw-test
tenant: acme
device: line-1
data_dir: ./data
secrets_dir: ./secrets
metrics: {listen: "%s"}
config: {source: dir, dir: ./config}
%s`, g.Metrics, extra))
	for name, text := range tables {
		g.WriteFile(t, filepath.Join("config", name), text)
	}
	t.Cleanup(func() {
		if g.cmd != nil {
			g.Kill(t)
		}
		if t.Failed() {
			t.Logf("edge-gw said:\n%s", g.Output())
		}
	})
	return g
}

// WriteFile writes a file below the gateway's directory.
func (g *Gateway) WriteFile(t testing.TB, name, text string) {
	t.Helper()
	path := filepath.Join(g.Dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Socket is the admin socket's path.
func (g *Gateway) Socket() string { return filepath.Join(g.Dir, "data", "admin.sock") }

// Start starts edge-gw run with extra arguments; it does not wait for readiness.
func (g *Gateway) Start(t testing.TB, args ...string) {
	t.Helper()
	g.cmd = exec.Command(g.Bin, append([]string{"run", "--config", filepath.Join(g.Dir, "gateway.yml")}, args...)...)
	g.cmd.Stdout, g.cmd.Stderr = &g.out, &g.out
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	cmd := g.cmd
	go func() {
		defer close(done)
		_ = cmd.Wait() // how it ended stands in ProcessState
	}()
	g.done = done
}

// WaitReady waits until /readyz answers 200.
func (g *Gateway) WaitReady(t testing.TB) {
	t.Helper()
	WaitFor(t, 20*time.Second, "edge-gw to be ready", func() bool {
		_, code := g.get("/readyz")
		return code == http.StatusOK
	})
}

// Ended says whether the process has ended by itself.
func (g *Gateway) Ended() bool {
	select {
	case <-g.done:
		return true
	default:
		return false
	}
}

// Stop sends SIGTERM and returns how long the process took to end and its exit
// code.
func (g *Gateway) Stop(t testing.TB) (time.Duration, int) {
	t.Helper()
	begin := time.Now()
	g.peak = g.Peak()
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	code := g.Wait(t, 20*time.Second)
	return time.Since(begin), code
}

// Wait waits for the process to end by itself and returns its exit code.
func (g *Gateway) Wait(t testing.TB, limit time.Duration) int {
	t.Helper()
	select {
	case <-g.done:
	case <-time.After(limit):
		t.Fatalf("edge-gw did not end in %s", limit)
	}
	code := g.cmd.ProcessState.ExitCode()
	g.cmd = nil
	return code
}

// Kill ends the process with SIGKILL.
func (g *Gateway) Kill(t testing.TB) {
	t.Helper()
	g.peak = g.Peak()
	_ = g.cmd.Process.Kill() // it may have ended by itself
	g.Wait(t, 10*time.Second)
}

// Signal sends the process a signal.
func (g *Gateway) Signal(t testing.TB, s os.Signal) {
	t.Helper()
	if err := g.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// Output is what the process wrote to stdout and stderr, over all its starts.
func (g *Gateway) Output() string { return g.out.String() }

// Peak is the largest resident memory that the process has had in any of its runs, in MiB.
func (g *Gateway) Peak() float64 {
	if g.cmd == nil {
		return g.peak
	}
	return max(g.peak, faults.PeakOf(g.cmd.Process.Pid))
}

// Proc is what /proc tells of the running process.
func (g *Gateway) Proc() Proc { return Proc(g.cmd.Process.Pid) }

// Metric returns the value of one sample of /metrics, named as it is written
// there, labels included; ok is false where there is none.
func (g *Gateway) Metric(sample string) (value float64, ok bool) {
	body, code := g.get("/metrics")
	if code != http.StatusOK {
		return 0, false
	}
	for line := range strings.Lines(body) {
		if rest, found := strings.CutPrefix(line, sample+" "); found {
			_, err := fmt.Sscan(rest, &value)
			return value, err == nil
		}
	}
	return 0, false
}

func (g *Gateway) get(path string) (string, int) {
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get("http://" + g.Metrics + path)
	if err != nil {
		return "", 0
	}
	defer func() { _ = resp.Body.Close() }() // read whole below
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", 0
	}
	return string(body), resp.StatusCode
}

// Readyz returns whether the gateway says that it is ready, and what it says.
func (g *Gateway) Readyz() (ready bool, text string) {
	body, code := g.get("/readyz")
	return code == http.StatusOK, body
}

// Tables returns the tables of one driver with n registers on a PLC.
func Tables(plc string, n int, polling string) map[string]string {
	host, port, _ := strings.Cut(plc, ":")
	var vars strings.Builder
	for i := range n {
		fmt.Fprintf(&vars, `- tag: %s
  driver_id: line
  access: R
  address: {type: holding, addr: %d}
  datatype: uint16
  scale: value / 10
  unit: bar
`, Tag(i), 40001+i)
	}
	return map[string]string{
		"endpoints.yml": fmt.Sprintf("plc:\n  scheme: tcp\n  host: %s\n  port: %s\n  opts: {timeout: 1s}\n", host, port),
		"drivers.yml":   fmt.Sprintf("line:\n  kind: static\n  endpoint_id: plc\n  proto: modbus\n  cfg: {unit_id: 1, polling: %s}\n", polling),
		"variables.yml": vars.String(),
	}
}

// Tag is the name of register i of [Tables].
func Tag(i int) string { return fmt.Sprintf("line.r%04d", i) }
